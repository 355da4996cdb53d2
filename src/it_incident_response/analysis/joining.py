"""Chooses the incident that a new alert belongs to, or opens one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping
from datetime import datetime, timedelta

from it_incident_response.analysis.affinity import (
    BROAD_LABEL,
    LABELS_WEIGHT_MAX,
    SAME_CORE,
    SAME_MOMENT,
    SAME_MOMENT_S,
    SAME_NAME,
    SAME_SHARED_NODE,
    SAME_TOUCHED,
    Evidence,
    Identity,
    Match,
    combine,
    identity,
    label_weight,
    rarity,
    time_gap_s,
)
from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.analysis.incident_draft import (
    OPENED_REASON,
    Draft,
    DraftIndex,
    label_pairs,
    title_of,
)
from it_incident_response.analysis.reach import Link, Reach
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import AlertLink, Incident
from it_incident_response.domain.topology import Topology

UNITE_SCORE = 0.6
"""Incidents of one batch become one if an alert shares a service or host with both this well."""
REASON_LENGTH_MAX = 600
CROWD = 3
"""With no more incidents growing at once than this, none is near by chance."""
SHARERS_MAX = 16
"""A label or touched entity that more open incidents share leads to none of them."""
IDENTITY_SOFTNESS = 0.25
FADE_FLOOR = 0.75
"""What is left of a score, however late, while the incident's other alerts still fire."""
OPENED = Match(1.0, OPENED_REASON, is_identity=True, widens_core=True)


class Joiner:
    """Sorts new alerts into drafts; drafts opened in the same batch may still be united."""

    def __init__(
        self,
        drafts: MutableMapping[IncidentId, Draft],
        topology: Topology,
        settings: CorrelationSettings,
        now: datetime,
    ) -> None:
        self._drafts = drafts
        self._topology = topology
        self._settings = settings
        self._now = now
        self._reach = Reach(topology)
        self._absorbed: dict[str, IncidentId] = {}
        taking = [draft for draft in drafts.values() if draft.incident.status.is_open]
        self._index = DraftIndex(taking)
        recent = now - timedelta(seconds=settings.neighbour_window_s)
        self._active = sum(d.last_at is not None and d.last_at >= recent for d in taking)
        """Incidents that are growing now: among many, near ones are near by chance."""

    def admit(self, draft: Draft) -> None:
        """Let a reopened incident take alerts again."""
        self._index.update(draft)

    def final_id(self, incident_id: IncidentId) -> IncidentId:
        """Return the incident that this one has become part of, or itself."""
        while incident_id in self._absorbed:
            incident_id = self._absorbed[incident_id]
        return incident_id

    def join(self, alert: Alert) -> Draft:
        """Put a firing alert that is in no open incident where it belongs; returns that draft."""
        who = identity(alert, self._topology)
        matches = self._matches(alert, who)
        if matches and matches[0][0].score >= self._settings.join_score:
            match, draft = matches[0]
            draft = self._unite(alert, match, draft, matches[1:])
        else:
            match, draft = OPENED, self._open(alert)
        self._widen_core(draft, who)
        draft.add(alert, who, match, self._settings)
        draft.links.append(
            AlertLink(
                incident_id=draft.incident.id,
                fingerprint=alert.fingerprint,
                joined_at=self._now,
                reason=match.reason,
                score=match.score,
            )
        )
        self._index.add(draft, who.all, label_pairs(alert))
        return draft

    def _matches(self, alert: Alert, who: Identity) -> list[tuple[Match, Draft]]:
        evidence: dict[Draft, list[Evidence]] = defaultdict(list)
        identical: set[Draft] = set()
        for draft, piece in self._by_entities(who):
            evidence[draft].append(piece)
            identical.add(draft)
        links = self._by_links(alert, who, identical)
        for draft, link in links.items():
            evidence[draft].append(Evidence(link.weight, link.reason))
        for draft, pieces in self._by_labels(alert).items():
            evidence[draft] += pieces
        scored = [
            (self._score(alert, who, draft, pieces, links.get(draft)), draft)
            for draft, pieces in evidence.items()
        ]
        # Of equally good incidents the oldest wins, so that the result does not depend on hashing.
        return sorted(scored, key=lambda pair: (-pair[0].score, pair[1].incident.id))

    def _by_entities(self, who: Identity) -> Iterator[tuple[Draft, Evidence]]:
        best: dict[Draft, Evidence] = {}
        for entity in who.all:
            sharers = self._index.by_entity.get(entity, ())
            if len(sharers) > SHARERS_MAX:
                sharers = self._index.by_core.get(entity, ())
            distinctive = rarity(len(sharers), IDENTITY_SOFTNESS)
            for draft in sharers:
                weight = self._identity_weight(entity, who, draft) * distinctive
                if draft not in best or weight > best[draft].weight:
                    best[draft] = Evidence(weight, f"same {entity}")
        yield from best.items()

    @staticmethod
    def _identity_weight(entity: Entity, who: Identity, draft: Draft) -> float:
        if entity in draft.core:
            # The host is what is sick there: anything on it may suffer from it.
            return SAME_CORE
        if entity.kind is EntityKind.NODE and who.has_service:
            return SAME_SHARED_NODE
        # An alert about the host itself explains trouble of what runs there.
        return SAME_CORE if entity in who.core and not who.has_service else SAME_TOUCHED

    def _by_links(self, alert: Alert, who: Identity, besides: set[Draft]) -> dict[Draft, Link]:
        """Return the best link of the topology to each draft that is near in time.

        Where much is going on at once, a neighbour in trouble may be a coincidence: a link's weight
        is divided by one more than the number of incidents that chance puts as near.
        """
        best: dict[Draft, Link] = {}
        others = max(0, self._active - CROWD)
        for entity, link, draft in self._near(alert, who):
            if draft in besides:
                continue
            if not link.is_dedicated:
                expected = others * self._reach.chance(entity, link.steps)
                link = link._replace(weight=link.weight / (1 + expected))
            if draft not in best or link.weight > best[draft].weight:
                best[draft] = link
        return best

    def _near(self, alert: Alert, who: Identity) -> Iterator[tuple[Entity, Link, Draft]]:
        for entity in who.core:
            links = self._reach.links(entity)
            for other in links.keys() & self._index.by_core.keys():
                for draft in self._index.by_core[other]:
                    gap = time_gap_s(alert.starts_at, draft.first_at, draft.last_at)
                    is_next = links[other].steps == 1
                    if gap <= (self._settings.neighbour_window_s if is_next else SAME_MOMENT_S):
                        yield entity, links[other], draft

    def _by_labels(self, alert: Alert) -> dict[Draft, list[Evidence]]:
        found: dict[Draft, list[Evidence]] = defaultdict(list)
        for name, value in label_pairs(alert):
            sharers = self._index.by_label.get((name, value), ())
            if not 0 < len(sharers) <= SHARERS_MAX:
                continue
            weight = label_weight(name) * rarity(len(sharers))
            for draft in sharers:
                found[draft].append(Evidence(weight, f"shares {name}={value[:60]}"))
        return {draft: _capped(pieces) for draft, pieces in found.items()}

    def _score(
        self,
        alert: Alert,
        who: Identity,
        draft: Draft,
        pieces: list[Evidence],
        link: Link | None,
    ) -> Match:
        gap = time_gap_s(alert.starts_at, draft.first_at, draft.last_at)
        if gap <= SAME_MOMENT_S:
            pieces.append(Evidence(SAME_MOMENT, "began at the same time"))
        if alert.name in draft.alert_names:
            pieces.append(Evidence(SAME_NAME, f"also {alert.name[:60]}"))
        is_shared = not draft.entities.isdisjoint(who.all)
        is_identity = is_shared or (link is not None and link.is_dedicated)
        match = combine(pieces, fade=self._fade(gap, draft), is_identity=is_identity)
        return match._replace(
            side=link.side if link else 0,
            widens_core=is_identity and _is_of_the_core(who, draft),
        )

    def _fade(self, gap_s: float, draft: Draft) -> float:
        late = gap_s - self._settings.join_window_s
        if late <= 0:
            return 1.0
        faded = 2 ** (-late / (3 * self._settings.join_window_s))
        return float(max(faded, FADE_FLOOR)) if draft.firing else float(faded)

    def _unite(
        self, alert: Alert, match: Match, best: Draft, others: Iterable[tuple[Match, Draft]]
    ) -> Draft:
        """Unite drafts of this batch that an alert shows to be one; stored ones are left alone."""
        for other_match, other in others:
            if not self._are_one(match, other_match):
                continue
            keep, give = (other, best) if best.is_new and not other.is_new else (best, other)
            if give.is_new and self._has_room(keep, give):
                why = f"{title_of(alert)} belongs to both: {other_match.reason}; {match.reason}"
                keep.absorb(give, self._settings, why[:REASON_LENGTH_MAX])
                self._absorbed[give.incident.id] = keep.incident.id
                del self._drafts[give.incident.id]
                self._active -= 1
                self._index.replace(give, keep)
                best = keep
        return best

    def _are_one(self, one: Match, other: Match) -> bool:
        """Return whether an alert that matches two incidents so well makes them one.

        It does if it shares a service or host with both, or stands between them in a chain of
        dependencies: one at what it calls, the other at what calls it.
        """
        if one.is_identity and other.is_identity:
            return min(one.score, other.score) >= UNITE_SCORE
        is_between = {one.side, other.side} == {1, -1} or one.is_identity != other.is_identity
        return is_between and min(one.score, other.score) >= self._settings.join_score

    def _has_room(self, one: Draft, other: Draft) -> bool:
        return len(one.core | other.core) <= self._settings.core_max

    def _widen_core(self, draft: Draft, who: Identity) -> None:
        """Let what the core depends on into the core: it may be the cause that others share."""
        fresh = [entity for entity in who.core if entity not in draft.core]
        if not fresh or len(draft.core) >= self._settings.core_max:
            return
        for entity in fresh:
            if any(self._reach.extends(one, entity) for one in draft.core):
                draft.core.add(entity)
                draft.entities.add(entity)
                self._index.by_core[entity].add(draft)

    def _open(self, alert: Alert) -> Draft:
        incident = Incident(
            id=IncidentId(new_id(self._now)),
            key="",
            title=title_of(alert),
            severity=alert.severity,
            opened_at=self._now,
            updated_at=self._now,
        )
        draft = Draft(incident, is_new=True)
        self._drafts[incident.id] = draft
        self._active += 1
        return draft


def _is_of_the_core(who: Identity, draft: Draft) -> bool:
    """Return whether an alert is about the core, not merely about something on its hosts."""
    return not who.has_service or not draft.core.isdisjoint(who.core)


def _capped(pieces: list[Evidence]) -> list[Evidence]:
    """Return the pieces so that labels alone, however many, weigh no more than their limit.

    Of labels that name a place (job, namespace...) one counts: they come together.
    """
    broad = [piece for piece in pieces if piece.weight <= BROAD_LABEL]
    pieces = [piece for piece in pieces if piece.weight > BROAD_LABEL] + sorted(broad)[-1:]
    match = combine(pieces, fade=1.0, is_identity=False)
    if match.score <= LABELS_WEIGHT_MAX:
        return pieces
    return [Evidence(LABELS_WEIGHT_MAX, match.reason)]
