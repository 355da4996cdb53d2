"""What has happened in a world since somebody last asked, for people who watch it run."""

from dataclasses import dataclass
from datetime import datetime

from it_incident_response.domain.alert import Alert
from it_incident_response.ports.clock import utc
from it_incident_response.simulation.world import Incident, SimulatedWorld


@dataclass(frozen=True)
class NewsItem:
    """One thing that happened."""

    at: datetime
    what: str
    """fault_began, fault_ended, alert_firing, alert_resolved."""
    about: str
    detail: str


class News:
    """Compares the world with what it was at the last look."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._firing: dict[str, Alert] = {}
        self._told: set[tuple[int, bool]] = set()

    def latest(self) -> list[NewsItem]:
        """Return what is new, oldest first."""
        items = [*self._of_faults(), *self._of_alerts()]
        return sorted(items, key=lambda item: item.at)

    def _of_faults(self) -> list[NewsItem]:
        items = []
        for number, incident in enumerate(self._world.incidents):
            if (number, False) not in self._told:
                self._told.add((number, False))
                items.append(_began(incident))
            if incident.ended_at is not None and (number, True) not in self._told:
                self._told.add((number, True))
                by = incident.healed_by or "by itself"
                items.append(
                    NewsItem(utc(incident.ended_at), "fault_ended", incident.fault.kind, by)
                )
        return items

    def _of_alerts(self) -> list[NewsItem]:
        now = {alert.fingerprint: alert for alert in self._world.firing()}
        items = [
            NewsItem(alert.starts_at, "alert_firing", alert.name, alert.annotations["summary"])
            for key, alert in now.items()
            if key not in self._firing
        ]
        at = utc(self._world.state.at)
        items += [
            NewsItem(at, "alert_resolved", alert.name, alert.annotations["summary"])
            for key, alert in self._firing.items()
            if key not in now
        ]
        self._firing = now
        return items


def _began(incident: Incident) -> NewsItem:
    fault = incident.fault
    remedy = fault.remedy
    helps = "nothing we can do helps"
    if remedy is not None:
        where = " ".join(part for part in (remedy.service, remedy.host) if part)
        helps = f"{remedy.action} of {where} helps"
    detail = f"{fault.story} ({fault.target}); {helps}"
    return NewsItem(utc(incident.began_at), "fault_began", fault.kind, detail)
