"""A fix that does not fix is found out by measurement: the incident escalates, never succeeds."""

import asyncio

from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.domain.verification import VerificationResult
from tests.workflow.theatre import approve, kinds

YOUNG_S = 900.0

WRONG_RULE = """
- id: turn-it-off-and-on-again
  cause: Somebody believes that a restart helps against everything.
  kind: process
  when:
    any:
      - alert: {name: [service down]}
        strength: strong
      - alert: {name: [high error*]}
        strength: strong
  confidence: 0.99
  explains: [bad-deploy-errors, api-errors, dependency-failing, service-down]
  suggests:
    - {text: Restart it., action: restart_service}
  source: folklore
  examples:
    - matches: true
      evidence: [{alert: HighErrorRate, service: shop}]
    - matches: false
      evidence: [{alert: DiskFull, service: shop}]
"""


async def require_escalated_not_resolved(runtime, incident):
    view = await runtime.incident_view(incident.id)
    assert view.incident.status is IncidentStatus.IDENTIFIED
    assert view.verification.result is VerificationResult.FAILED
    assert view.incident.escalation == view.verification.reason
    assert "not recovered" in view.incident.escalation
    told = await kinds(runtime, incident)
    assert "verification.verified" not in told
    assert "incident.resolved" not in told
    assert told[-1] == "incident.escalated"


async def test_a_wrong_diagnosis_ends_with_a_human(theatre, tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "folklore.yaml").write_text(WRONG_RULE)
    stage = theatre(past_s=YOUNG_S, diagnosis={"rules_dirs": [rules]})
    async with stage.open() as runtime:
        assert runtime.rules.problems == ()
        incident = await stage.detect(runtime, "api_errors_after_deploy")
        await runtime.direct.drain()
        view = await runtime.incident_view(incident.id)
        assert view.diagnosis.top.cause_id == "turn-it-off-and-on-again"
        await approve(runtime, incident)
        await runtime.direct.drain()
        assert {action.kind for action in stage.ran} == {"restart_service"}
        assert stage.truth.ended_at is None
        await require_escalated_not_resolved(runtime, incident)
        rows = await runtime.store.executions_of(incident.id)
        assert {row.state for row in rows} == {StepState.FINISHED}
        await runtime.direct.drain()
        assert len(stage.ran) == len(rows), "it was tried again without a new approval"


async def test_a_fault_that_reappears_while_we_watch_is_no_success(theatre):
    stage = theatre(past_s=YOUNG_S)
    crashes = []

    async def crash_again():
        await stage.world.clock.sleep(40)
        stage.world.begin(stage.truth.fault)

    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        await approve(runtime, incident)
        stage.after_action = lambda: crashes.append(asyncio.create_task(crash_again()))
        await runtime.direct.drain()
        assert len(crashes) == len(stage.ran) == 1
        await require_escalated_not_resolved(runtime, incident)


async def test_an_action_that_fails_says_why_and_is_not_repeated(theatre):
    """The disk of the host is full, so the service that crashed does not come back."""
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        await approve(runtime, incident)
        instance = stage.truth.fault.instance
        mount = stage.world.state.hosts[instance.host].mount(instance.spec.data_mount)
        mount.used_bytes = mount.size_bytes
        await runtime.direct.drain()
        await runtime.direct.drain()
        view = await runtime.incident_view(incident.id)
        assert view.incident.status is IncidentStatus.IDENTIFIED
        assert "control process exited with error" in view.incident.escalation
        assert [e.state for e in view.executions] == [StepState.FAILED]
        assert len(stage.ran) == 1
        assert view.verification is None
