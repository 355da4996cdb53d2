"""Turns alerts into incidents: one incident a cause, one alert in one incident."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from it_incident_response.analysis.alert_history import Report, is_flapping, judge, with_change
from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.analysis.incident_draft import Draft, title_of
from it_incident_response.analysis.joining import Joiner
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.topology import Topology
from it_incident_response.ports.store import IngestOutcome, KnownAlert

__all__ = ["CorrelationSettings", "correlate"]

ACTOR = "agent:detection"


def correlate(
    alerts: Sequence[Alert],
    known: Mapping[str, KnownAlert],
    candidates: Sequence[Incident],
    topology: Topology,
    settings: CorrelationSettings,
    now: datetime,
) -> IngestOutcome:
    """Return what these alerts, in the order they came, change.

    `known` are the stored alerts of the same fingerprints; `candidates` the open incidents and
    those that ended within the reopen window. New incidents have an empty `key`, which the caller
    fills. Only what changed is in the outcome. A resolution of an alert never seen firing is
    left out: there is no incident that it could end.
    """
    sorting = _Sorting(known, candidates, topology, settings, now)
    for alert in alerts:
        sorting.take(alert)
    return sorting.outcome()


class _Sorting:
    """One run over one batch of alerts."""

    def __init__(
        self,
        known: Mapping[str, KnownAlert],
        candidates: Sequence[Incident],
        topology: Topology,
        settings: CorrelationSettings,
        now: datetime,
    ) -> None:
        self._settings = settings
        self._now = now
        self._known = dict(known)
        self._written: dict[str, KnownAlert] = {}
        self._events: list[AuditEvent] = []
        self._woken: set[IncidentId] = set()
        self._drafts = {incident.id: Draft(incident) for incident in candidates}
        self._joiner = Joiner(self._drafts, topology, settings, now)

    def take(self, alert: Alert) -> None:
        known = self._known.get(alert.fingerprint)
        if known is None:
            if alert.is_firing:
                self._place(alert, None)
            return
        report = judge(known.alert, alert, self._settings)
        if report is Report.REPEATED:
            self._repeat(known, alert)
        elif report is Report.RESOLVED:
            self._resolve(known, alert)
        elif report is Report.FIRED_AGAIN:
            self._fire_again(known, alert)

    def outcome(self) -> IngestOutcome:
        drafts = [draft for draft in self._drafts.values() if draft.is_changed]
        for draft in drafts:
            self._explain(draft)
        woken = {self._joiner.final_id(incident_id) for incident_id in self._woken}
        return IngestOutcome(
            alerts=tuple(self._with_final_incident(known) for known in self._written.values()),
            incidents=tuple(draft.finished(self._now) for draft in drafts),
            links=tuple(link for draft in drafts for link in draft.links),
            events=tuple(self._of_final_incident(event) for event in self._events),
            wake=tuple(draft.incident.id for draft in drafts if draft.incident.id in woken),
        )

    def _with_final_incident(self, known: KnownAlert) -> KnownAlert:
        final = self._joiner.final_id(known.incident_id)
        if final == known.incident_id:
            return known
        return known.model_copy(update={"incident_id": final})

    def _of_final_incident(self, event: AuditEvent) -> AuditEvent:
        final = self._joiner.final_id(IncidentId(event.incident_id or ""))
        return event.model_copy(update={"incident_id": final})

    def _draft_of(self, known: KnownAlert) -> Draft | None:
        return self._drafts.get(self._joiner.final_id(known.incident_id))

    def _repeat(self, known: KnownAlert, alert: Alert) -> None:
        draft = self._draft_of(known)
        if alert.is_firing and self._still_fires_after_the_end(draft, alert):
            self._fire_again(known, alert)
            return
        is_other_episode = alert.starts_at > known.alert.starts_at
        is_stale = alert.received_at - known.alert.received_at >= timedelta(
            seconds=self._settings.refresh_s
        )
        if not (is_other_episode or is_stale or alert.annotations != known.alert.annotations):
            return
        changes = with_change(known, alert) if is_other_episode else known.changes
        self._write(KnownAlert(alert=alert, incident_id=known.incident_id, changes=changes))
        if draft is not None:
            self._note_flapping(draft, known, changes)

    def _still_fires_after_the_end(self, draft: Draft | None, alert: Alert) -> bool:
        if draft is None:
            return True
        ended = draft.incident.resolved_at
        if draft.incident.status is not IncidentStatus.RESOLVED or ended is None:
            return False  # open; or closed by a person, who knew that it fires
        return alert.received_at - ended >= timedelta(seconds=self._settings.still_firing_s)

    def _resolve(self, known: KnownAlert, alert: Alert) -> None:
        changes = with_change(known, alert)
        self._write(KnownAlert(alert=alert, incident_id=known.incident_id, changes=changes))
        draft = self._draft_of(known)
        if draft is None:
            return
        draft.firing = max(0, draft.firing - 1)
        draft.resolved += 1
        draft.is_changed = True
        self._note_flapping(draft, known, changes)
        if draft.firing == 0 and draft.incident.status.is_open:
            self._wake(draft)

    def _fire_again(self, known: KnownAlert, alert: Alert) -> None:
        draft = self._draft_of(known)
        changes = with_change(known, alert)
        if draft is None or not (draft.incident.status.is_open or self._may_reopen(draft)):
            self._place(
                alert, KnownAlert(alert=alert, incident_id=known.incident_id, changes=changes)
            )
            return
        if not draft.incident.status.is_open:
            self._reopen(draft, alert)
        if not known.alert.is_firing or draft.firing == 0:
            draft.firing += 1
        draft.is_changed = True
        self._write(KnownAlert(alert=alert, incident_id=draft.incident.id, changes=changes))
        self._note_flapping(draft, known, changes)
        self._wake(draft)

    def _may_reopen(self, draft: Draft) -> bool:
        ends = (draft.incident.closed_at, draft.incident.resolved_at, draft.incident.updated_at)
        ended = next(moment for moment in ends if moment is not None)
        return self._now - ended <= timedelta(seconds=self._settings.reopen_window_s)

    def _reopen(self, draft: Draft, alert: Alert) -> None:
        ended_as = draft.incident.status
        draft.incident = draft.incident.moved_to(IncidentStatus.INVESTIGATING, self._now)
        self._joiner.admit(draft)
        self._tell(
            draft,
            "incident.reopened",
            f"{title_of(alert)} fires again after the incident was {ended_as}",
            {"fingerprint": alert.fingerprint},
        )

    def _place(self, alert: Alert, before: KnownAlert | None) -> None:
        draft = self._joiner.join(alert)
        changes = before.changes if before else (alert.starts_at,)
        self._write(KnownAlert(alert=alert, incident_id=draft.incident.id, changes=changes))
        if is_flapping(changes, self._now, self._settings):
            draft.is_flapping = True
        self._wake(draft)

    def _note_flapping(self, draft: Draft, before: KnownAlert, changes: Sequence[datetime]) -> None:
        flaps = is_flapping(changes, self._now, self._settings)
        flapped = is_flapping(before.changes, before.alert.received_at, self._settings)
        if flaps != draft.is_flapping and (flaps or flapped):
            draft.is_flapping = flaps
            draft.is_changed = True
            verb = "began" if flaps else "ceased"
            self._tell(
                draft, f"incident.flapping_{verb}", f"{before.alert.name} {verb} to flap", {}
            )

    def _write(self, known: KnownAlert) -> None:
        self._known[known.alert.fingerprint] = known
        self._written[known.alert.fingerprint] = known

    def _wake(self, draft: Draft) -> None:
        self._woken.add(draft.incident.id)

    def _explain(self, draft: Draft) -> None:
        for kind, summary, count in _changes_in(draft):
            self._tell(draft, kind, summary, {"alerts": count})

    def _tell(self, draft: Draft, kind: str, summary: str, details: dict[str, int | str]) -> None:
        self._events.append(
            AuditEvent(
                at=self._now,
                actor=ACTOR,
                kind=kind,
                incident_id=draft.incident.id,
                summary=summary,
                details=dict(details),
            )
        )


def _changes_in(draft: Draft) -> Iterator[tuple[str, str, int]]:
    if draft.is_new and draft.title_alert is not None:
        more = f" and {draft.joined - 1} more" if draft.joined > 1 else ""
        yield "incident.opened", f"opened by {title_of(draft.title_alert)}{more}", draft.joined
    elif draft.joined:
        yield "incident.alerts_joined", f"{draft.joined} alerts joined", draft.joined
    if draft.resolved:
        left = f"{draft.firing} still fire" if draft.firing else "none fires any more"
        yield (
            "incident.alerts_resolved",
            f"{draft.resolved} alerts resolved, {left}",
            draft.resolved,
        )
