import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from it_incident_response.config import Settings
from it_incident_response.errors import StoreUnavailable
from it_incident_response.integrations import check_alerts, check_webhook
from it_incident_response.servers import Intake, create_app

CHECKS = {"alertmanager": check_webhook, "alerts": check_alerts}


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class FakeInbox:
    """Keeps what it accepts; can be told to fail, to wait, or to refuse one body."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, bytes]] = []
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.poison: bytes | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0

    async def accept(self, items: Sequence[tuple[str, bytes]], received_at: datetime) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison is not None and any(body == self.poison for _, body in items):
            raise RuntimeError("a bug")
        self.stored += items
        self.batches.append(len(items))

    async def inbox_depth(self) -> int:
        if self.failure is not None:
            raise StoreUnavailable("down")
        return len(self.stored)


@pytest.fixture
def inbox() -> FakeInbox:
    return FakeInbox()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def server_settings(**server: Any) -> Any:
    return Settings.model_validate({"server": server}).server


@pytest.fixture
def receiver(inbox, clock):
    """`async with receiver(**server settings) as client`: the application, in-process."""

    @asynccontextmanager
    async def run(
        *, checks: Any = None, intake_options: Any = None, **server: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        settings = server_settings(**server)
        async with Intake(inbox, clock, **(intake_options or {})) as intake:
            app = create_app(intake, settings=settings, checks=checks or CHECKS)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:9095"
            ) as client:
                client.intake = intake
                yield client

    return run


def webhook(*names: str, **fields: Any) -> bytes:
    """A webhook body, payload version 4, with one firing alert for each name."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": name, "instance": "web-1:9100"},
            "annotations": {},
            "startsAt": "2026-01-31T11:59:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://p/graph",
            "fingerprint": "0123456789abcdef",
        }
        for name in names
    ]
    document = {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "iir",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://a",
        "alerts": alerts,
    }
    return orjson.dumps({**document, **fields})


JSON = {"content-type": "application/json"}
WEBHOOK = "/webhooks/alertmanager"
ALERTS = "/api/v1/alerts"
