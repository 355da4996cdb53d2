"""A fleet that answers at once: N hosts with one service each, down until it is restarted.

It stands in for the simulated world, whose one shop has a dozen services: what is measured beside
it is ours. It is asked through the same ports and counts what is really carried out.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.alerts import NEVER
from it_incident_response.actions import RestartService
from it_incident_response.domain.action import Action
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import Signal, SignalSeries
from it_incident_response.domain.execution import CommandResult
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.ports import (
    ConditionReading,
    MetricRequest,
    Outcome,
    Preview,
    Probe,
    SystemClock,
)

POLICY = """version: 1
roles: {operator: ["*"]}
limits: {max_actions_per_hour: 10000, max_actions_per_target_per_hour: 3, max_fleet_share: 1.0}
rules:
  - {name: any-change, effect: approve, reason: A person approves every change.}
"""
"""The shipped limit of 20 actions an hour would end the measurement after 20 incidents."""

_POINTS = 40


class Fleet:
    """Metrics, alert conditions and executor of the hosts; one object for all three."""

    name = "ssh"

    def __init__(self, size: int) -> None:
        hosts = tuple(
            HostEntry(
                name=f"host-{n}",
                address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
                user="deploy",
                services=(ServiceEntry(name=f"service-{n}", unit=f"service-{n}.service"),),
            )
            for n in range(size)
        )
        self.inventory = Inventory(hosts=hosts)
        self.restarts: Counter[str] = Counter()
        """How often each host's unit was really restarted."""

    async def condition(self, alert: Alert) -> ConditionReading:
        """An alert holds until its service was restarted."""
        number = alert.labels["service"].rpartition("-")[2]
        return ConditionReading(holds=not self.restarts[f"host-{number}"], query="up == 0")

    async def series(self, request: MetricRequest) -> Sequence[SignalSeries]:
        """`up` of each service that is asked for; nothing else is known here."""
        if Signal.UP not in request.signals:
            return ()
        end = request.window.end.timestamp()
        start = request.window.start.timestamp()
        step = (end - start) / _POINTS
        times = tuple(start + step * n for n in range(_POINTS))
        found = []
        for entity in request.entities:
            if entity.kind != EntityKind.SERVICE:
                continue
            is_up = bool(self.restarts[f"host-{entity.name.rpartition('-')[2]}"])
            values = (1.0,) * _POINTS if is_up else (*(1.0,) * (_POINTS - 8), *(0.0,) * 8)
            found.append(
                SignalSeries(
                    signal=Signal.UP,
                    entity=entity,
                    source="fleet",
                    query=f'up{{service="{entity.name}"}}',
                    times=times,
                    values=values,
                )
            )
        return found

    async def preview(self, action: Action) -> Preview:
        """The commands of the action itself."""
        return Preview(commands=action.commands(), where=f"deploy@{action.host}")

    async def execute(self, action: Action, *, key: str) -> Outcome:
        """Restart the unit; counted, so that doing it twice is seen."""
        if not isinstance(action, RestartService):
            raise TypeError(f"the fleet cannot {action.kind}")
        self.restarts[action.host] += 1
        ran = CommandResult(command=action.commands()[0], exit_status=0, output="", duration_s=0.0)
        return Outcome(succeeded=True, results=(ran,))

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """What `systemctl show` would say: another invocation after each restart."""
        number = self.restarts[action.host or ""]
        shown = (f"ActiveState={'active' if number else 'failed'}\nInvocationID={number + 1:032x}",)
        took_effect = action.took_effect(shown, before)
        return Probe(took_effect=took_effect, detail="as the fleet says", outputs=shown)


def alert_body(number: int) -> bytes:
    """Return an Alertmanager webhook body: the service of one host is down since a minute ago."""
    since = SystemClock().now().replace(microsecond=0).isoformat()
    alert: dict[str, Any] = {
        "status": "firing",
        "labels": {
            "alertname": "ServiceDown",
            "service": f"service-{number}",
            "severity": "critical",
        },
        "annotations": {"summary": f"service-{number} does not answer"},
        "startsAt": since,
        "endsAt": NEVER,
        "generatorURL": "",
    }
    return json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()
