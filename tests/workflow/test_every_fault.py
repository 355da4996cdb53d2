"""Every fault of the world, played to its end and judged by what the world knows."""

import pytest

from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.simulation import FAULTS
from it_incident_response.system.scenario import play
from tests.workflow.theatre import kinds

# A dependency outage is only told from a dead service by hours of quiet before it.
PAST_S = {"dependency_outage": 8100.0}


async def consent(view):
    return True


async def look_away(events):
    return


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_right_action_heals_and_where_there_is_none_a_human_is_asked(theatre, fault):
    stage = theatre(past_s=PAST_S.get(fault, 2700.0), approval={"timeout": "24h"})
    async with stage.open() as runtime:
        played = await play(runtime, fault, decide=consent, watch=look_away)
        view, remedy = played.view, stage.truth.fault.remedy
        assert view is not None, "no alert came of it"
        if remedy is None:
            assert view.incident.status.is_open
            assert view.incident.escalation
            assert stage.ran == []
            assert view.executions == ()
            assert not played.is_healed
            return
        assert {action.kind for action in stage.ran} == {remedy.action}
        assert remedy.host is None or remedy.host in {action.host for action in stage.ran}
        assert view.incident.status is IncidentStatus.RESOLVED
        assert view.verification.result == "verified"
        assert played.is_healed
        assert stage.truth.healed_by == remedy.action
        told = await kinds(runtime, view.incident)
        wanted = [
            "incident.opened",
            "evidence.gathered",
            "diagnosis.made",
            "approval.requested",
            "approval.approved",
            "action.started",
            "action.finished",
            "verification.verified",
            "incident.resolved",
        ]
        assert [kind for kind in dict.fromkeys(told) if kind in wanted] == wanted
        cited = {item.id for item in view.evidence}
        assert set(view.diagnosis.top.supporting) <= cited
        assert (await runtime.store.verify_chain()).is_intact
