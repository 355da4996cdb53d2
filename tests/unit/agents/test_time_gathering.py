"""Alerts whose sender's clock is wrong are looked into like any other."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.agents.gathering import Gatherer, GatherSettings, KnownTopology, Sources
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import LogLevel, LogLine, LogPattern
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.topology import Topology
from it_incident_response.ports import LogBatch
from it_incident_response.safety.redaction import Redactor
from it_incident_response.simulation import VirtualClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Logs:
    """Keeps what it is asked; has one line a minute old."""

    def __init__(self):
        self.windows = []

    async def lines(self, query):
        self.windows.append(query.window)
        line = LogLine(
            at=NOW - timedelta(minutes=1),
            message="connection refused by the database",
            level=LogLevel.ERROR,
            service="shop",
        )
        inside = query.window.start <= line.at < query.window.end
        return LogBatch(lines=(line,) if inside else (), query="q", is_truncated=False)


@pytest.mark.parametrize("ahead", [timedelta(hours=h) for h in (-1, 0, 1, 23)])
async def test_a_senders_clock_decides_neither_whether_nor_when_we_look(ahead):
    alert = Alert(
        fingerprint="a",
        name="Down",
        status=AlertStatus.FIRING,
        severity=Severity.HIGH,
        labels={},
        entities=(Entity(EntityKind.SERVICE, "shop"),),
        starts_at=NOW + ahead,
        received_at=NOW,
        source="test",
    )
    incident = Incident(
        id=IncidentId("i"),
        key="INC-000001",
        title="down",
        severity=Severity.HIGH,
        opened_at=NOW,
        updated_at=NOW,
    )
    logs = Logs()
    clock = VirtualClock(NOW)
    gatherer = Gatherer(
        Sources(logs={"logs": logs}),
        clock,
        GatherSettings(),
        Redactor(),
        KnownTopology(Topology(), {}, clock),
    )
    evidence = (await gatherer.gather(incident, [alert])).evidence
    assert all(window.start < window.end <= NOW for window in logs.windows)
    patterns = [e.finding for e in evidence if isinstance(e.finding, LogPattern)]
    assert [(p.service, p.count) for p in patterns] == [("shop", 1)]
