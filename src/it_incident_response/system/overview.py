"""What people look at, put together from an opened runtime: one incident, or all that needs them.

Unlike the façade it also asks the engine, which takes a moment and may be away.
"""

from it_incident_response.config.settings import ApprovalSettings
from it_incident_response.ports import SystemClock
from it_incident_response.safety.judge import PolicyJudge
from it_incident_response.safety.reminders import EscalateTo, NoticeSettings
from it_incident_response.system.composition import Runtime
from it_incident_response.system.ops import ENGINE_POST, OpsReport, ops_report
from it_incident_response.system.views import IncidentView, incident_view
from it_incident_response.workflow.standing import EngineLook


def notice_settings(given: ApprovalSettings) -> NoticeSettings:
    """Return when people are reminded and to whom a request is escalated, as configured."""
    escalate = tuple(EscalateTo(after_s=step.after_s, to=step.to) for step in given.escalate)
    return NoticeSettings(reminders_s=given.reminders_in_time, escalate=escalate)


def engine_look(runtime: Runtime) -> EngineLook:
    """Return who asks the engine; it connects only when it is used."""
    # The engine's SDK takes long to import, and many commands need none of it.
    from it_incident_response.workflow.engine_look import ConfiguredEngineLook

    return ConfiguredEngineLook(runtime.store, runtime.settings.engine, ENGINE_POST)


async def view_of(runtime: Runtime, id_or_key: str) -> IncidentView:
    """Return one incident, with who may approve and what the engine does; raises `NotFound`."""
    judge = PolicyJudge(runtime.store, runtime.clock, runtime.policy, runtime.inventory)
    return await incident_view(
        runtime.store, runtime.clock, id_or_key, judge=judge, engine=engine_look(runtime)
    )


async def ops_of(runtime: Runtime) -> OpsReport:
    """Return what needs an operator now."""
    return await ops_report(
        runtime.store,
        runtime.clock.now(),
        notices=notice_settings(runtime.settings.approval),
        engine=engine_look(runtime),
        machine_time=SystemClock().now(),
    )
