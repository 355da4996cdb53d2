"""IncidentResponseSystem: the synchronous façade of the integration guide."""

import getpass
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.severity import parse_severity
from it_incident_response.errors import InputRejected
from it_incident_response.ports import IncidentFilter
from it_incident_response.simulation import VirtualClock
from it_incident_response.system.adapters import make_world
from it_incident_response.system.composition import Runtime, open_configured
from it_incident_response.system.facade_settings import facade_settings
from it_incident_response.system.views import IncidentView, incident_view
from it_incident_response.workflow.stages import Stage

if TYPE_CHECKING:
    from it_incident_response.config import Settings

T = TypeVar("T")
Report = dict[str, Any]

VIA = "facade"


class IncidentResponseSystem:
    """The whole system behind plain, blocking calls; a context manager, or call `cleanup()`.

    `use_real_data` decides for every port that the configuration leaves open; it outranks the
    variable `USE_REAL_DATA`. `preload_incidents` starts five faults in the simulated world (it
    has no effect with real alerts). `config` is a file, a mapping of dotted keys to values, or
    settings; None reads the default files and the environment.
    """

    def __init__(
        self,
        use_real_data: bool = False,
        preload_incidents: bool = True,
        config: "str | Path | Mapping[str, object] | Settings | None" = None,
    ) -> None:
        self._exit = ExitStack()
        settings = facade_settings(config, use_real_data=use_real_data, exit_stack=self._exit)
        try:
            self._portal: BlockingPortal = self._exit.enter_context(start_blocking_portal())
            clock = VirtualClock() if settings.ports.is_all_simulated else None
            opened = self._portal.wrap_async_context_manager(
                open_configured(settings, make_world(settings, clock))
            )
            self._runtime: Runtime = self._exit.enter_context(opened)
            if preload_incidents:
                self._call(self._runtime.preload)
        except BaseException:
            self._exit.close()
            raise

    def create_incident(
        self,
        title: str,
        description: str,
        severity: str,
        affected_systems: Sequence[str],
        tags: Sequence[str] | None = None,
    ) -> str:
        """Open an incident and return its id; any common word for the severity is understood.

        Raises `InputRejected` for an empty title or text beyond the limits.
        """
        if isinstance(affected_systems, str):
            raise InputRejected("affected_systems is one string", hint="give a list of names")
        incident = self._call(
            lambda: self._runtime.desk.open_incident(
                title=title,
                description=description,
                severity=parse_severity(severity),
                affected_systems=affected_systems,
                tags=tags or (),
                by=getpass.getuser(),
            )
        )
        return incident.id

    def list_incidents(self) -> list[Report]:
        """Return the newest 1,000 incidents as dictionaries, newest first."""
        found = self._call(lambda: self._runtime.store.incidents(IncidentFilter(limit=1000)))
        return [_summary(incident) for incident in found]

    def get_incident_status(self, incident_id: str) -> Report:
        """Return `status` and what is known about the incident; raises `NotFound`."""
        view = self._view(incident_id)
        return _summary(view.incident) | {"now": view.now}

    def analyze_incident(self, incident_id: str) -> Report:
        """Gather fresh evidence, diagnose and plan; changes nothing outside.

        Returns `report_id`, `status`, `root_cause` (None if inconclusive), `confidence` (0 to 1),
        `evidence`, `recommended_actions`, and `missing`: what to look at when it is inconclusive.
        """
        self._call(lambda: self._runtime.analyze(incident_id))
        view = self._view(incident_id)
        if view.diagnosis is None:
            raise InputRejected(f"{view.incident.key} is {view.incident.status}: reopen it first")
        return _report(view, view.diagnosis)

    def implement_resolution(self, incident_id: str, approved_by: str | None = None) -> Report:
        """Carry out the incident's plan and verify it.

        Returns `status` (`resolved`, `awaiting_approval`, `dry_run`, `escalated`, `no_action`),
        `actions_taken`, `verification` and `message`. On real systems the plan must have been
        approved: pass `approved_by` only for a person who has seen exactly this plan, or approve
        it elsewhere (`iir approvals approve`). In the simulated world the call itself approves.
        """
        view = self._view(incident_id)
        is_reopened = view.plan is None and view.incident.status is IncidentStatus.INVESTIGATING
        if view.diagnosis is None or is_reopened:
            self.analyze_incident(incident_id)
            view = self._view(incident_id)
        approver = approved_by or (getpass.getuser() if self._runtime.is_world_only else None)
        if view.approval and view.approval.status is ApprovalStatus.PENDING and approver:
            request = view.approval
            self._call(
                lambda: self._runtime.approvals.approve(
                    request.id, by=approver, via=VIA, plan_digest=request.plan_digest
                )
            )
        self._call(lambda: self._runtime.direct.advance(view.incident.id))
        return _resolution(self._view(incident_id))

    def update_incident_status(
        self,
        incident_id: str,
        status: str,
        notes: str | None = None,
        remediation_steps: Sequence[str] | None = None,
    ) -> Report:
        """Change the status by hand; raises `IllegalTransition` with the reason.

        Setting the status it has already is no error: nothing changes.
        """
        wanted = _status(status)
        view = self._view(incident_id)
        if view.incident.status is not wanted:
            self._call(
                lambda: self._runtime.desk.set_status(
                    incident_id,
                    wanted,
                    by=getpass.getuser(),
                    notes=notes,
                    remediation_steps=remediation_steps or (),
                )
            )
        return self.get_incident_status(incident_id)

    def cleanup(self) -> None:
        """Close everything; further calls fail. May be called twice."""
        self._exit.close()

    def __enter__(self) -> Self:
        """Return the system itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        self.cleanup()

    def _view(self, incident_id: str) -> IncidentView:
        runtime = self._runtime
        return self._call(lambda: incident_view(runtime.store, runtime.clock, incident_id))

    def _call(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        result: T = self._portal.call(start)
        return result


def _status(text: str) -> IncidentStatus:
    try:
        return IncidentStatus(text.strip().lower())
    except ValueError as error:
        known = ", ".join(IncidentStatus)
        raise InputRejected(f"{text!r} is no status", hint=f"write one of: {known}") from error


def _summary(incident: Incident) -> Report:
    shown = incident.model_dump(mode="json", exclude={"footprint", "id"})
    return {"incident_id": incident.id, **shown}


def _report(view: IncidentView, diagnosis: Diagnosis) -> Report:
    top = diagnosis.top if diagnosis.verdict != "inconclusive" else None
    cited = {e.id: e for e in view.evidence}
    supporting = [cited[i] for i in top.supporting if i in cited] if top else list(view.evidence)
    planned = [step.description for step in view.plan.steps] if view.plan else []
    advised = [s.text for s in top.suggestions] if top else list(diagnosis.missing)
    return {
        "report_id": diagnosis.id,
        "incident_id": view.incident.id,
        "status": str(diagnosis.verdict),
        "root_cause": top.cause if top else None,
        "confidence": top.confidence if top else 0.0,
        "evidence": [
            {"id": e.id, "source": e.source, "summary": e.summary, "query": e.query}
            for e in supporting
        ],
        "recommended_actions": planned or advised,
        "missing": list(diagnosis.missing),
        "hypotheses": [h.model_dump(mode="json") for h in diagnosis.hypotheses],
    }


def _resolution(view: IncidentView) -> Report:
    status, message = _outcome(view)
    return {
        "status": status,
        "incident_id": view.incident.id,
        "actions_taken": [
            {
                "action": e.action.kind,
                "target": str(e.target),
                "state": str(e.state),
                "commands": [list(result.command) for result in e.results],
                "error": e.error,
            }
            for e in view.executions
        ],
        "verification": view.verification.model_dump(mode="json") if view.verification else None,
        "approval_id": view.approval.id if view.approval else None,
        "message": message,
    }


def _outcome(view: IncidentView) -> tuple[str, str]:
    if not view.incident.status.is_open:
        return "resolved", view.verification.reason if view.verification else view.now
    if any(e.state == "dry_run" for e in view.executions):
        return "dry_run", "nothing was changed; the commands are what would have run"
    if view.approval and view.approval.status is ApprovalStatus.PENDING:
        hint = f"approve it with: iir approvals approve {view.approval.id}"
        return Stage.AWAIT_APPROVAL.value.replace("await", "awaiting"), hint
    if view.plan is None:
        return "no_action", view.incident.escalation or "there is no plan"
    return "escalated", view.incident.escalation or view.now
