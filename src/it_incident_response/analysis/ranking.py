"""Ranks suspected services, metrics and changes by all that was seen; no rule is asked."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from it_incident_response.analysis.blame import Blame, blame, either
from it_incident_response.analysis.change_blame import SuspectChange, suspect_changes
from it_incident_response.analysis.symptoms import Symptom, symptoms_of
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import Evidence, MetricFinding
from it_incident_response.domain.suspect import Suspect, SuspectKind
from it_incident_response.domain.topology import Topology

CHANGED = 0.35
"""How much a change that fits in time and place adds to the blame of the place."""
SHOWN_MAX = 10
"""Suspects of each kind."""
REASONS_MAX = 6
CITED_MAX = 12
WORDS_MAX = 200


def rank(
    evidence: Sequence[Evidence],
    topology: Topology | None = None,
    *,
    began: datetime | None = None,
) -> tuple[Suspect, ...]:
    """Return the suspected services (hosts among them), metrics and changes.

    Services come first, then metrics, then changes; of each kind at most ten, the likeliest first.
    Works with whatever there is: without a topology the strength and order of the symptoms
    decide; without metrics the logs and traces do. `evidence` are metric findings, log patterns
    and rates, span findings, changes, alerts and command outputs; the rest is passed over. `began`
    is when the trouble began as far as is known (first alert, start of the incident); it is used
    where no symptom has an onset of its own. Pure: the same input gives the same ranking.
    """
    graph = topology or Topology()
    blamed = blame(symptoms_of(evidence), graph)
    onset = _onset(blamed, began)
    sick = {item.entity: item.score for item in blamed}
    changes = suspect_changes(evidence, sick, onset, graph) if onset else []
    services = _with_changes(blamed, changes)
    return (
        *_shown(_service(item, score, change) for item, score, change in services),
        *_shown(_metrics(services)),
        *_shown(_change(item) for item in changes),
    )


def _onset(blamed: Sequence[Blame], began: datetime | None) -> datetime | None:
    """Return when the trouble of the first suspect began, else `began`."""
    known = [item.onset for item in blamed[:3] if item.onset]
    return min([*known, *([began] if began else [])], default=None)


def _with_changes(
    blamed: Sequence[Blame], changes: Sequence[SuspectChange]
) -> list[tuple[Blame, float, SuspectChange | None]]:
    best: dict[Entity, SuspectChange] = {}
    for change in changes:
        if change.place is not None:
            best.setdefault(change.place, change)
    scored = []
    for item in blamed:
        own = best.get(item.entity)
        bonus = CHANGED * own.score if own else 0.0
        scored.append((item, either(item.score, bonus), own))
    return sorted(scored, key=lambda entry: (-entry[1], entry[0].entity))


def _service(item: Blame, score: float, change: SuspectChange | None) -> Suspect:
    reasons = list(_reasons(item, change))
    cited = [symptom.evidence.id for symptom in item.symptoms]
    if change:
        cited.insert(0, change.evidence.id)
    return Suspect(
        kind=SuspectKind.SERVICE,
        name=item.entity.name,
        entity=item.entity,
        score=round(score, 4),
        onset=item.onset,
        reasons=tuple(reasons[:REASONS_MAX]),
        evidence=tuple(dict.fromkeys(cited))[:CITED_MAX],
    )


def _reasons(item: Blame, change: SuspectChange | None) -> Iterator[str]:
    if item.covers:
        names = ", ".join(entity.name for entity in item.covers[:5])
        yield f"{names}: in trouble too, and depending on {item.entity.name}"
    if item.explained_by is not None:
        yield f"its dependency {item.explained_by.name} is in trouble too and may be the reason"
    if item.is_first:
        yield "its trouble began first, as far as the clocks tell"
    if change is not None:
        yield _words(change)
    for symptom in item.symptoms:
        yield symptom.evidence.summary[:WORDS_MAX]


def _metrics(services: Sequence[tuple[Blame, float, SuspectChange | None]]) -> Iterator[Suspect]:
    found = [
        (score * symptom.strength, symptom, symptom.evidence.finding)
        for item, score, _ in services
        for symptom in item.symptoms
        if isinstance(symptom.evidence.finding, MetricFinding)
    ]
    for score, symptom, finding in sorted(found, key=lambda e: (-e[0], e[1].evidence.id)):
        yield _metric(score, symptom, finding)


def _metric(score: float, symptom: Symptom, finding: MetricFinding) -> Suspect:
    return Suspect(
        kind=SuspectKind.METRIC,
        name=f"{finding.title or finding.signal} of {finding.entity}",
        entity=symptom.entity,
        score=round(score, 4),
        onset=finding.onset,
        reasons=(symptom.evidence.summary[:WORDS_MAX],),
        evidence=(symptom.evidence.id,),
    )


def _change(item: SuspectChange) -> Suspect:
    return Suspect(
        kind=SuspectKind.CHANGE,
        name=item.change.change_id,
        entity=item.place,
        score=round(item.score, 4),
        onset=item.change.at,
        reasons=(_words(item),),
        evidence=(item.evidence.id,),
    )


def _words(item: SuspectChange) -> str:
    side = "before" if item.lead_s >= 0 else "after"
    parts = [f"{item.change.what} {abs(item.lead_s) / 60:.0f} min {side} the onset"]
    if item.place is None:
        parts.append("of no stated service")
    elif item.sick is None:
        parts.append(f"of {item.place.name}, which shows no symptom")
    elif item.sick != item.place:
        parts.append(f"of {item.place.name}, on which {item.sick.name} depends")
    else:
        parts.append(f"of {item.place.name}, which is in trouble")
    if item.rivals:
        parts.append(f"{item.rivals} more of the same place in the time looked at")
    return f"{', '.join(parts)}: {item.change.summary[:WORDS_MAX]}"


def _shown(suspects: Iterator[Suspect]) -> tuple[Suspect, ...]:
    return tuple(suspect for suspect, _ in zip(suspects, range(SHOWN_MAX), strict=False))
