"""One story in log lines, and what log rules of each kind must make of it in any log system."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.agents.log_detection_agent import LogDetectionSettings, LogDetector
from it_incident_response.analysis.correlation import CorrelationSettings
from it_incident_response.analysis.log_rules import LogRule, LogRuleKind
from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.labels import make_alert
from it_incident_response.ports import IncidentFilter, LogSource
from it_incident_response.storage import open_store

NOW = datetime(2026, 11, 20, 10, 30, 15, tzinfo=UTC)
ROUND = timedelta(seconds=60)

RULES = (
    LogRule(
        name="CardTrouble",
        kind=LogRuleKind.PATTERN,
        contains="card processor",
        services=("payments",),
        at_least=5,
    ),
    LogRule(name="ErrorSpike", kind=LogRuleKind.SPIKE, at_least=20, window_s=600.0, days=3),
    LogRule(
        name="BackupMissing",
        kind=LogRuleKind.ABSENCE,
        level=LogLevel.DEBUG,
        contains="backup finished",
        services=("backup",),
        window_s=3600.0,
    ),
    LogRule(name="NewErrors", kind=LogRuleKind.TEMPLATE, at_least=3, factor=5.0),
)


class HandClock:
    """A clock that the test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def line(at: datetime, message: str, level: LogLevel = LogLevel.ERROR, service: str = "payments"):
    return LogLine(at=at, message=message, level=level, service=service, host="web-1")


def usual_lines() -> list[LogLine]:
    """Three days and the last hour as they ought to be: one error every two minutes."""
    found = []
    for day in range(4):
        end = NOW if day == 0 else NOW.replace(minute=0, second=0) + timedelta(hours=1)
        hour = end - timedelta(days=day, hours=1, minutes=20 if day == 0 else 0)
        while hour < end - timedelta(days=day):
            number = int(hour.timestamp())
            found.append(line(hour, f"request {number} failed: timeout after 30 ms"))
            found.append(line(hour, f"request {number} served", LogLevel.INFO))
            hour += timedelta(minutes=2)
    found.append(line(NOW - timedelta(minutes=40), "backup finished", LogLevel.INFO, "backup"))
    return found


def trouble_lines() -> list[LogLine]:
    """The last four minutes: the card processor is gone, and the code has no answer to that."""
    began = NOW - timedelta(minutes=4)
    gone = [
        line(began + timedelta(seconds=2 * n), f"payment {n}: card processor gave no answer")
        for n in range(60)
    ]
    return [*gone, *(line(began + timedelta(seconds=n), "ledger is out of step") for n in range(5))]


def metric_alert():
    return make_alert(
        labels={"alertname": "HighErrorRate", "service": "payments", "severity": "critical"},
        annotations={},
        status=AlertStatus.FIRING,
        starts_at=NOW - timedelta(minutes=3),
        ends_at=None,
        received_at=NOW,
        source="prometheus",
    )


async def assert_the_story_is_told(folder: Path, quiet: LogSource, troubled: LogSource) -> None:
    """Look at the logs before and after the trouble began, by all rules, into a real record.

    `quiet` has the usual lines, `troubled` those of the trouble too.
    """
    clock = HandClock(NOW)
    store = open_store(f"sqlite:///{folder / 'iir.db'}", clock=clock)
    await store.open()
    try:
        agent = DetectionAgent(
            store, {}, clock, inventory=Inventory(), settings=CorrelationSettings()
        )
        settings = LogDetectionSettings(resolve_after=2)
        calm = LogDetector(RULES, {"logs": quiet}, store, clock, settings=settings)
        assert await agent.poll(calm, calm) == 0
        assert set(calm.problems.values()) == {()}

        await agent.absorb([metric_alert()])
        found = LogDetector(RULES, {"logs": troubled}, store, clock, settings=settings)
        await agent.poll(found, found)
        assert set(found.problems.values()) == {()}
        firing = [k.alert for k in await store.alerts(firing_only=True, limit=50)]
        from_logs = {a.name: a for a in firing if a.source == "logs"}
        assert set(from_logs) == {"CardTrouble", "ErrorSpike", "NewErrors"}
        assert len(firing) == 5  # two templates are new
        assert "card processor" in from_logs["CardTrouble"].annotations["examples"]
        assert "usual at this hour: 5 " in from_logs["ErrorSpike"].annotations["summary"]
        (incident,) = await store.incidents(IncidentFilter())
        assert incident.total_alerts == 5

        again = LogDetector(RULES, {"logs": troubled}, store, clock, settings=settings)
        assert await agent.poll(again, again) == 0

        clock.at += timedelta(minutes=40)  # no backup for over an hour by now
        for _ in range(3):
            await agent.poll(again, again)
            clock.at += ROUND
        left = [k.alert.name for k in await store.alerts(firing_only=True, limit=50)]
        assert sorted(left) == ["BackupMissing", "HighErrorRate"]
    finally:
        await store.close()
