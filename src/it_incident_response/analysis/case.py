"""The evidence of one incident, sorted so that a thousand rules can be judged quickly."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    AlertFact,
    Change,
    CommandOutput,
    Evidence,
    LogPattern,
    MetricFinding,
    Shape,
    Signal,
    SourceGap,
)
from it_incident_response.domain.labels import words_of
from it_incident_response.domain.model import Value
from it_incident_response.domain.topology import Topology

TEXT_LENGTH_MAX = 4_000
OUTPUT_LENGTH_MAX = 65_536
GRAM = 4
"""Letters that a phrase and a text must share for a rule to be worth judging."""
_TEXT_ANNOTATIONS = ("summary", "description", "message", "title")
_TOKEN = re.compile(r"[a-z0-9]{1,64}")


@dataclass(frozen=True)
class SeenAlert:
    """A firing alert, its words and text ready for comparison."""

    evidence: Evidence
    fact: AlertFact
    words: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class SeenLog:
    """A log pattern or the output of a command, its text in lower case."""

    evidence: Evidence
    pattern: LogPattern | None
    text: str


@dataclass
class Case:
    """All evidence of one incident by kind, and which sources were silent."""

    now: datetime
    topology: Topology = field(default_factory=Topology)
    alerts: list[SeenAlert] = field(default_factory=list)
    logs: list[SeenLog] = field(default_factory=list)
    metrics: dict[Signal, list[tuple[Evidence, MetricFinding]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    changes: list[tuple[Evidence, Change]] = field(default_factory=list)
    commands: list[tuple[Evidence, CommandOutput]] = field(default_factory=list)
    gaps: list[Evidence] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    """Words seen in alerts and logs, signals and names of facts: what the rule index looks up."""
    focus: str | None = None
    """Name of the one service or host that this part of a case is about."""
    whole: "Case | None" = None
    """The case that this is a part of."""
    _parts: dict[tuple[str, str], "Case"] = field(default_factory=dict)

    def keys(self) -> set[str]:
        """Return the tokens, and every run of four characters in the words among them."""
        grams = {
            token[start : start + GRAM] for token in self.tokens for start in range(len(token) - 3)
        }
        return self.tokens | grams

    def silent(self, source: str) -> str | None:
        """Return why a kind of source (metrics, logs...) was silent, or None if it was not."""
        for evidence in self.gaps:
            finding = evidence.finding
            if isinstance(finding, SourceGap) and finding.source.split(" ")[0] == source:
                return finding.reason
        return None

    @property
    def began(self) -> datetime:
        """When the first alert of the whole case began, or now."""
        alerts = (self.whole or self).alerts
        return min((alert.fact.starts_at for alert in alerts), default=self.now)

    def services(self) -> frozenset[str]:
        """Return the services that the alerts name; for a part, the one it is about."""
        if self.focus is not None:
            return frozenset([self.focus])
        return frozenset(
            entity.name
            for alert in self.alerts
            for entity in alert.fact.entities
            if entity.kind is EntityKind.SERVICE
        )

    def related(self) -> set[str]:
        """Return the names of what alerts and of what it depends on, two calls deep."""
        if self.focus is not None:
            return {self.focus}
        names = {entity.name for seen in self.alerts for entity in seen.fact.entities}
        calls = self.topology.calls
        for _ in range(2):
            names |= {callee for name in names for callee in calls.get(name, ())}
        return names

    def near(self, where: str) -> "Case":
        """Return the part of the case about dependencies, or callers, of its services."""
        own = self.services()
        if where == "dependency":
            names = {name for service in own for name in self.topology.calls.get(service, ())}
        else:
            names = {name for service in own for name in self.topology.callers(service)}
        own_hosts = self._hosts_of(own)
        near = (names - own) | (self._hosts_of(names - own) - own_hosts)
        return (self.whole or self)._part(where, frozenset(near), own)

    def _hosts_of(self, services: Iterable[str]) -> set[str]:
        return {host for name in services for host in self.topology.runs_on.get(name, ())}

    def about(self, name: str) -> "Case":
        """Return the part of the case that names this service or host."""
        part = (self.whole or self)._part("about", frozenset([name]), frozenset())
        part.focus, part.whole = name, self.whole or self
        return part

    def subjects(self) -> tuple[Entity, ...]:
        """Return the services and hosts that the evidence names, each once."""
        kinds = (EntityKind.SERVICE, EntityKind.HOST, EntityKind.NODE)
        named = (entity for item in self._everything() for entity in blamed(item, self))
        return tuple(dict.fromkeys(entity for entity in named if entity.kind in kinds))

    def _part(self, sort: str, names: frozenset[str], besides: frozenset[str]) -> "Case":
        key = (sort, "\0".join(sorted(names | besides)))
        if key not in self._parts:
            kept = [
                item
                for item in self._everything()
                if names.intersection(entity.name for entity in blamed(item, self))
            ]
            self._parts[key] = build_case([*kept, *self.gaps], self.topology, self.now)
        return self._parts[key]

    def _everything(self) -> Iterable[Evidence]:
        yield from (seen.evidence for seen in self.alerts)
        yield from (seen.evidence for seen in self.logs if seen.pattern)
        yield from (evidence for found in self.metrics.values() for evidence, _ in found)
        yield from (evidence for evidence, _ in self.changes)
        yield from (evidence for evidence, _ in self.commands)


def build_case(evidence: Sequence[Evidence], topology: Topology, now: datetime) -> Case:
    """Sort evidence by kind; alerts that no longer fire are left out."""
    case = Case(now=now, topology=topology)
    for item in evidence:
        _ADDERS[type(item.finding)](case, item, item.finding)
    return case


def _add_alert(case: Case, evidence: Evidence, fact: AlertFact) -> None:
    if not fact.is_firing:
        return
    text = " ".join(fact.annotations.get(name, "") for name in _TEXT_ANNOTATIONS)
    text = text[:TEXT_LENGTH_MAX].lower()
    words = words_of(fact.name)
    case.alerts.append(SeenAlert(evidence, fact, words, text))
    case.tokens.update(words, _TOKEN.findall(text))
    case.tokens.update(f"label:{name}" for name in fact.labels)


def _add_pattern(case: Case, evidence: Evidence, pattern: LogPattern) -> None:
    text = " \n".join((pattern.template, *pattern.examples)).lower()
    _add_log(case, evidence, pattern, text[:TEXT_LENGTH_MAX])


def _add_metric(case: Case, evidence: Evidence, finding: MetricFinding) -> None:
    case.metrics[finding.signal].append((evidence, finding))
    if finding.shape is not Shape.NO_DATA:
        case.tokens.add(f"signal:{finding.signal}")


def _add_change(case: Case, evidence: Evidence, change: Change) -> None:
    case.changes.append((evidence, change))
    case.tokens.add(f"change:{change.what}")


def _add_gap(case: Case, evidence: Evidence, gap: SourceGap) -> None:
    case.gaps.append(evidence)


def _add_log(case: Case, evidence: Evidence, pattern: LogPattern | None, text: str) -> None:
    case.logs.append(SeenLog(evidence, pattern, text))
    case.tokens.update(_TOKEN.findall(text))


def _add_command(case: Case, evidence: Evidence, finding: CommandOutput) -> None:
    case.commands.append((evidence, finding))
    case.tokens.update(f"fact:{name.partition(':')[0]}" for name in finding.facts)
    if finding.command.startswith("journalctl"):
        _add_log(case, evidence, None, finding.output[:OUTPUT_LENGTH_MAX].lower())


_ADDERS: Mapping[type[Value], Callable[[Case, Evidence, Any], None]] = {
    AlertFact: _add_alert,
    LogPattern: _add_pattern,
    MetricFinding: _add_metric,
    Change: _add_change,
    CommandOutput: _add_command,
    SourceGap: _add_gap,
}


def entities_of(evidence: Evidence) -> tuple[Entity, ...]:
    """Return the things that a piece of evidence is about."""
    finding = evidence.finding
    if isinstance(finding, AlertFact):
        return finding.entities
    if isinstance(finding, LogPattern):
        named: Mapping[EntityKind, str | None] = {
            EntityKind.SERVICE: finding.service,
            EntityKind.HOST: finding.host,
        }
        return tuple(Entity(kind, name) for kind, name in named.items() if name)
    if isinstance(finding, MetricFinding | CommandOutput):
        return (finding.entity,)
    if isinstance(finding, Change) and finding.entity is not None:
        return (finding.entity,)
    return ()


def time_of(evidence: Evidence) -> datetime | None:
    """Return when what was seen began, or None if that is not known."""
    finding = evidence.finding
    if isinstance(finding, AlertFact):
        return finding.starts_at
    if isinstance(finding, MetricFinding):
        return finding.onset
    if isinstance(finding, LogPattern):
        return finding.first_at
    if isinstance(finding, Change):
        return finding.at
    return None


def lasted(since: datetime | None, case: Case, seconds: float) -> bool:
    """Return whether something that began then has lasted at least so long."""
    if seconds <= 0:
        return True
    return since is not None and case.now - since >= timedelta(seconds=seconds)


def blamed(evidence: Evidence, case: Case) -> tuple[Entity, ...]:
    """Return the things that a piece of evidence points at.

    A look at a unit is about `HOST/UNIT`: that means the host, and the service that the unit runs.
    """
    if not isinstance(evidence.finding, CommandOutput):
        return entities_of(evidence)
    entity = evidence.finding.entity
    host, slash, unit = entity.name.partition("/")
    if not slash:
        return (entity,)
    service = _service_of(unit, host, case)
    place = Entity(EntityKind.HOST, host)
    return (Entity(EntityKind.SERVICE, service), place) if service else (place,)


def _service_of(unit: str, host: str, case: Case) -> str | None:
    stem = unit.rpartition(".")[0] or unit
    here = [name for name, hosts in case.topology.runs_on.items() if host in hosts]
    if stem in here or stem in case.services():
        return stem
    if len(here) == 1:
        return here[0]
    named = [name for name in sorted(case.services()) if name in here]
    return named[0] if len(named) == 1 else None
