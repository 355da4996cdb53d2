"""Run by test_crash.py: the receiver on the real SQLite store, until it is killed."""

import asyncio
import sys

from it_incident_response.config import Settings
from it_incident_response.integrations import check_alerts, check_webhook
from it_incident_response.ports.clock import SystemClock
from it_incident_response.servers import Intake, create_app, serving
from it_incident_response.storage import open_store


async def main(path: str) -> None:
    clock = SystemClock()
    store = open_store(f"sqlite:///{path}", clock=clock)
    await store.open()
    settings = Settings.model_validate({"server": {"port": 0}}).server
    checks = {"alertmanager": check_webhook, "alerts": check_alerts}
    async with Intake(store, clock) as intake:
        app = create_app(intake, settings=settings, checks=checks)
        async with serving(app, settings) as url:
            sys.stdout.write(url + "\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
