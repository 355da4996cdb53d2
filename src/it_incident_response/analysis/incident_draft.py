"""An incident while alerts are being sorted into it, and the index that finds candidates fast."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from it_incident_response.analysis.affinity import Identity, Match, label_weight
from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.incident import AlertLink, Footprint, Incident
from it_incident_response.domain.severity import Severity

LABEL_NAMES_MAX = 48
LABEL_VALUES_MAX = 24
LABEL_VALUE_LENGTH_MAX = 256
ALERT_NAMES_MAX = 128
SYSTEMS_MAX = 50
TAGS_MAX = 32
TITLE_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 4_000

OPENED_REASON = "opened this incident"

LabelPair = tuple[str, str]


class Draft:
    """A working copy of an incident: sets instead of frozen sets, and what happened to it."""

    def __init__(self, incident: Incident, *, is_new: bool = False) -> None:
        footprint = incident.footprint
        self.incident = incident
        self.is_new = is_new
        self.is_changed = is_new
        self.core: set[Entity] = set(footprint.core)
        self.entities: set[Entity] = set(footprint.entities)
        self.labels: dict[str, set[str]] = {n: set(v) for n, v in footprint.labels.items()}
        self.alert_names: set[str] = set(footprint.alert_names)
        self.first_at: datetime | None = footprint.first_alert_at
        self.last_at: datetime | None = footprint.last_alert_at
        self.severity: Severity = incident.severity
        self.tags: list[str] = list(incident.tags)
        self.firing = incident.firing_alerts
        self.total = incident.total_alerts
        self.is_flapping = incident.is_flapping
        self.links: list[AlertLink] = []
        self.joined = 0
        self.resolved = 0
        self.title_alert: Alert | None = None
        if not self.entities:  # opened by hand: only the names of the systems are known
            named = [
                Entity(kind, name)
                for name in incident.affected_systems
                for kind in (EntityKind.SERVICE, EntityKind.HOST)
            ]
            self.core.update(named)
            self.entities.update(named)
            self.first_at = self.last_at = incident.opened_at

    def add(self, alert: Alert, who: Identity, match: Match, limits: CorrelationSettings) -> None:
        """Take an alert in; only what it shares with the core may widen the core."""
        self._grow(who, match, limits)
        self._note(alert)
        is_worse = alert.severity.rank > self.severity.rank
        is_first = self.is_new and self.total == 0
        if is_first or (is_worse and self.total):  # a title given by hand stays
            self.title_alert = alert
        self.severity = max(self.severity, alert.severity, key=lambda severity: severity.rank)
        self.total += 1
        self.firing += 1
        self.joined += 1
        self.is_changed = True

    def _grow(self, who: Identity, match: Match, limits: CorrelationSettings) -> None:
        room = limits.entities_max - len(self.entities)
        fresh = [entity for entity in who.all if entity not in self.entities]
        self.entities.update(fresh[: max(0, room)])
        if match.widens_core and len(self.core) < limits.core_max:
            self.core.update(who.core)

    def _note(self, alert: Alert) -> None:
        if len(self.alert_names) < ALERT_NAMES_MAX:
            self.alert_names.add(alert.name)
        for name, value in label_pairs(alert):
            values = self.labels.get(name)
            if values is None and len(self.labels) < LABEL_NAMES_MAX:
                self.labels[name] = {value}
            elif values is not None and len(values) < LABEL_VALUES_MAX:
                values.add(value)
        self.first_at = min(self.first_at or alert.starts_at, alert.starts_at)
        self.last_at = max(self.last_at or alert.starts_at, alert.starts_at)
        for tag in alert.tags:
            if tag not in self.tags and len(self.tags) < TAGS_MAX:
                self.tags.append(tag)

    def absorb(self, other: "Draft", limits: CorrelationSettings, why: str) -> None:
        """Take over everything of another draft of the same batch, which `why` shows to be this."""
        self.entities.update(sorted(other.entities)[: limits.entities_max - len(self.entities)])
        self.core.update(sorted(other.core)[: max(0, limits.core_max - len(self.core))])
        self.alert_names.update(sorted(other.alert_names))
        for name, values in other.labels.items():
            if name in self.labels or len(self.labels) < LABEL_NAMES_MAX:
                self.labels.setdefault(name, set()).update(values)
        moments = [at for at in (self.first_at, other.first_at) if at]
        self.first_at = min(moments, default=None)
        self.last_at = max((at for at in (self.last_at, other.last_at) if at), default=None)
        if other.severity.rank > self.severity.rank:
            self.severity, self.title_alert = other.severity, other.title_alert
        self.tags = list(dict.fromkeys([*self.tags, *other.tags]))[:TAGS_MAX]
        self.firing += other.firing
        self.total += other.total
        self.joined += other.joined
        self.is_flapping = self.is_flapping or other.is_flapping
        self.links += [self._adopted(link, why) for link in other.links]
        self.is_changed = True

    def _adopted(self, link: AlertLink, why: str) -> AlertLink:
        reason = why if link.reason == OPENED_REASON else link.reason
        return link.model_copy(update={"incident_id": self.incident.id, "reason": reason})

    def finished(self, now: datetime) -> Incident:
        """Return the incident with all that was added."""
        changes: dict[str, object] = {
            "severity": self.severity,
            "tags": tuple(self.tags),
            "updated_at": now,
            "firing_alerts": self.firing,
            "total_alerts": self.total,
            "is_flapping": self.is_flapping,
            "footprint": self._footprint(),
        }
        if self.joined:
            changes["affected_systems"] = self._systems()
        if self.title_alert is not None:
            changes["title"] = title_of(self.title_alert)
            changes["description"] = description_of(self.title_alert)
        return self.incident.model_copy(update=changes)

    def _footprint(self) -> Footprint:
        return Footprint(
            entities=frozenset(self.entities),
            core=frozenset(self.core),
            labels={name: frozenset(values) for name, values in self.labels.items()},
            alert_names=frozenset(self.alert_names),
            first_alert_at=self.first_at,
            last_alert_at=self.last_at,
        )

    def _systems(self) -> tuple[str, ...]:
        kinds = (EntityKind.SERVICE, EntityKind.HOST, EntityKind.NODE, EntityKind.POD)
        names = [
            entity.name
            for group in (self.core, self.entities - self.core)
            for kind in kinds
            for entity in sorted(group)
            if entity.kind is kind
        ]
        return tuple(dict.fromkeys([*self.incident.affected_systems, *names]))[:SYSTEMS_MAX]


class DraftIndex:
    """Finds the open drafts that share an entity or a label with an alert."""

    def __init__(self, drafts: Iterable[Draft]) -> None:
        self.by_entity: dict[Entity, set[Draft]] = defaultdict(set)
        self.by_core: dict[Entity, set[Draft]] = defaultdict(set)
        self.by_label: dict[LabelPair, set[Draft]] = defaultdict(set)
        for draft in drafts:
            self.update(draft)

    def update(self, draft: Draft) -> None:
        """Enter all of a draft."""
        self.add(draft, draft.entities, _pairs(draft.labels))

    def add(self, draft: Draft, entities: Iterable[Entity], pairs: Iterable[LabelPair]) -> None:
        """Enter these entities and labels of a draft, as far as the draft kept them."""
        for entity in entities:
            if entity in draft.entities:
                self.by_entity[entity].add(draft)
            if entity in draft.core:
                self.by_core[entity].add(draft)
        for pair in pairs:
            if pair[1] in draft.labels.get(pair[0], ()):
                self.by_label[pair].add(draft)

    def replace(self, old: Draft, new: Draft) -> None:
        """Let `new`, which absorbed `old`, be found in its place."""
        for entity in old.entities:
            self.by_entity[entity].discard(old)
            self.by_core[entity].discard(old)
        for pair in _pairs(old.labels):
            self.by_label[pair].discard(old)
        self.update(new)


def _pairs(labels: Mapping[str, set[str]]) -> Iterator[LabelPair]:
    return ((name, value) for name, values in labels.items() for value in values)


def label_pairs(alert: Alert) -> Iterator[LabelPair]:
    """Return the labels of an alert that can say something when another alert shares them."""
    for name, value in alert.labels.items():
        if len(value) <= LABEL_VALUE_LENGTH_MAX and label_weight(name) > 0:
            yield name, value


def one_line(text: str, length: int = TITLE_LENGTH_MAX) -> str:
    """Return text on one line without control and direction characters, safe in a terminal."""
    kept = (
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char
        for char in text[: length * 4]
        if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn")
    )
    line = " ".join("".join(kept).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def title_of(alert: Alert) -> str:
    """Return a title: the alert's name, where, and its summary if it has one."""
    kinds = (EntityKind.SERVICE, EntityKind.POD, EntityKind.HOST, EntityKind.NODE)
    where = next((name for kind in kinds for name in alert.names(kind)), "")
    summary = alert.annotations.get("summary") or alert.annotations.get("title") or ""
    subject = f"{alert.name} on {where}" if where else alert.name
    return one_line(f"{subject}: {summary}" if summary else subject)


def description_of(alert: Alert) -> str:
    """Return what the alert's author wrote about it."""
    texts = (alert.annotations.get(name, "") for name in ("description", "message", "summary"))
    text = next((text for text in texts if text.strip()), "")
    return one_line(text, DESCRIPTION_LENGTH_MAX)
