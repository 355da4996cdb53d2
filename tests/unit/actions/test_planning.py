"""Planning: the right target, the right order, and honest words where we cannot act."""

from datetime import UTC, datetime

import pytest

from it_incident_response.actions.planning import MAX_STEPS, make_plan, manual_steps
from it_incident_response.domain.diagnosis import (
    CauseKind,
    Diagnosis,
    Hypothesis,
    Suggestion,
    Verdict,
)
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.severity import Severity

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHECKOUT = Entity(EntityKind.SERVICE, "checkout")
PAYMENTS = Entity(EntityKind.SERVICE, "payments")
WEB_1, WEB_2 = (Entity(EntityKind.HOST, f"web-{number}") for number in (1, 2))


def _host(number: int, *services: str, **more: object) -> HostEntry:
    entries = tuple(
        ServiceEntry(name=n, unit=f"{n}.service", aliases=(f"http://web-{number}/{n}",))
        for n in services
    )
    return HostEntry(
        name=f"web-{number}",
        address=f"10.0.0.{number}",
        services=entries,
        **more,  # type: ignore[arg-type]
    )


INVENTORY = Inventory(
    hosts=(
        _host(1, "checkout", "payments", cleanable_paths=("/srv/data/cache", "/var/cache/old")),
        _host(2, "checkout"),
        *(_host(number, "checkout") for number in range(3, 7)),
    )
)
RESTART = Suggestion(text="Restart it.", action="restart_service")
ROLLBACK = Suggestion(text="Roll it back.", action="rollback_deployment")
CALL = Suggestion(text="Call the vendor.")


def _diagnosis(
    *suggestions: Suggestion, entity: Entity | None = None, verdict: Verdict = Verdict.LIKELY
) -> Diagnosis:
    top = Hypothesis(
        cause_id="service-down",
        cause="The service is down.",
        kind=CauseKind.PROCESS,
        entity=entity,
        confidence=0.9,
        suggestions=suggestions,
    )
    return Diagnosis(
        id="d1",
        incident_id=IncidentId("i1"),
        made_at=NOW,
        verdict=verdict,
        hypotheses=(top,),
        summary="",
    )


def _plan(
    diagnosis: Diagnosis, *entities: Entity, executors: tuple[str, ...] = ("ssh",)
) -> Plan | None:
    incident = Incident(
        id=IncidentId("i1"),
        key="INC-000001",
        title="x",
        severity=Severity.HIGH,
        opened_at=NOW,
        updated_at=NOW,
    )
    return make_plan(
        incident=incident,
        diagnosis=diagnosis,
        entities=entities,
        inventory=INVENTORY,
        available_executors=executors,
        now=NOW,
        plan_id="p1",
    )


def _units(plan: Plan | None) -> list[str]:
    assert plan is not None
    return [step.target.name for step in plan.steps]


def _advice(diagnosis: Diagnosis, *entities: Entity) -> tuple[str, ...]:
    return manual_steps(
        diagnosis=diagnosis,
        entities=entities,
        inventory=INVENTORY,
        available_executors=("ssh",),
    )


def test_a_step_holds_all_that_a_person_needs_to_judge_it() -> None:
    plan = _plan(_diagnosis(RESTART), CHECKOUT, WEB_1)
    assert plan is not None
    (step,) = plan.steps
    assert step.number == 1
    assert step.executor == "ssh"
    assert step.host == "web-1"
    assert step.commands == (("systemctl", "restart", "--", "checkout.service"),)
    assert step.action.parameters == {"host": "web-1", "unit": "checkout.service"}
    assert step.description == "Restart checkout.service on web-1; its open connections are cut."
    assert {check.kind for check in step.checks} == {"probe_succeeds", "alerts_cleared"}
    assert plan.reason == "The service is down. (90% likely). Restart it."
    assert plan.needs_approval


def test_the_digest_follows_the_commands_and_not_the_plan_s_id() -> None:
    first, second = (_plan(_diagnosis(RESTART), CHECKOUT, host) for host in (WEB_1, WEB_2))
    again = _plan(_diagnosis(RESTART), CHECKOUT, WEB_1)
    assert first is not None
    assert second is not None
    assert again is not None
    assert first.digest != second.digest
    assert first.digest == again.model_copy(update={"id": "p2", "reason": "other"}).digest


def test_a_blamed_service_is_not_replaced_by_one_that_suffers() -> None:
    assert _units(_plan(_diagnosis(RESTART, entity=PAYMENTS), CHECKOUT, PAYMENTS)) == [
        "web-1/payments.service"
    ]
    stranger = Entity(EntityKind.SERVICE, "stranger")
    assert _plan(_diagnosis(RESTART, entity=stranger), CHECKOUT) is None


def test_affected_hosts_narrow_a_service_down() -> None:
    plan = _plan(_diagnosis(RESTART, entity=CHECKOUT), CHECKOUT, WEB_2)
    assert _units(plan) == ["web-2/checkout.service"]


def test_an_instance_stands_for_what_the_inventory_says_it_is() -> None:
    instance = Entity(EntityKind.INSTANCE, "http://web-1/payments")
    assert _units(_plan(_diagnosis(RESTART, entity=instance))) == ["web-1/payments.service"]


def test_an_unknown_device_falls_back_to_the_affected_systems() -> None:
    pod = Entity(EntityKind.POD, "checkout-7d9f")
    assert _units(_plan(_diagnosis(RESTART, entity=pod), WEB_2)) == ["web-2/checkout.service"]
    assert len(_units(_plan(_diagnosis(RESTART, entity=pod), CHECKOUT))) == MAX_STEPS


def test_a_host_alone_is_enough_only_if_it_runs_one_service() -> None:
    assert _units(_plan(_diagnosis(RESTART), WEB_2)) == ["web-2/checkout.service"]
    assert _plan(_diagnosis(RESTART), WEB_1) is None


def test_a_plan_is_bounded_and_says_what_it_leaves() -> None:
    plan = _plan(_diagnosis(RESTART), CHECKOUT)
    assert len(_units(plan)) == MAX_STEPS
    assert plan is not None
    assert [step.number for step in plan.steps] == [1, 2, 3]
    assert "3 more targets are left" in plan.reason


def test_the_first_suggestion_that_can_be_carried_out_wins() -> None:
    both = _diagnosis(CALL, ROLLBACK, RESTART)
    assert _units(_plan(both, CHECKOUT, WEB_1)) == ["web-1/checkout.service"]
    with_both = _plan(both, CHECKOUT, WEB_1, executors=("ssh", "deployment"))
    assert _units(with_both) == ["checkout"]
    assert with_both is not None
    assert with_both.steps[0].commands == ()


def test_a_mount_point_chooses_the_folder_below_it() -> None:
    clean = _diagnosis(Suggestion(text="Clean up.", action="clean_disk"))
    below = Entity(EntityKind.MOUNT, "/srv/data")
    assert _units(_plan(clean, WEB_1, below)) == ["web-1:/srv/data/cache"]
    assert _units(_plan(clean, WEB_1, Entity(EntityKind.MOUNT, "/"))) == [
        "web-1:/srv/data/cache",
        "web-1:/var/cache/old",
    ]
    beside = Entity(EntityKind.MOUNT, "/srv/dat")
    assert _plan(clean, WEB_1, beside) is None


@pytest.mark.parametrize(
    ("suggestion", "because"),
    [
        (CALL, "only a person can do this"),
        (ROLLBACK, "no 'deployment' executor is configured"),
        (Suggestion(text="Dance.", action="dance"), "there is no action 'dance'"),
        (Suggestion(text="Look.", action="run_diagnostic_command"), "this only looks"),
        (Suggestion(text="Renew.", action="renew_certificate"), "knows no target"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_reason(suggestion: Suggestion, because: str) -> None:
    diagnosis = _diagnosis(suggestion)
    assert _plan(diagnosis, CHECKOUT, WEB_1) is None
    (text,) = _advice(diagnosis, CHECKOUT, WEB_1)
    assert text.startswith(suggestion.text)
    assert because in text


def test_what_can_be_done_is_not_left_to_people() -> None:
    assert _advice(_diagnosis(RESTART), CHECKOUT, WEB_1) == ()


def test_an_inconclusive_diagnosis_gives_no_plan() -> None:
    assert _plan(_diagnosis(RESTART, verdict=Verdict.INCONCLUSIVE), CHECKOUT, WEB_1) is None
    empty = _diagnosis().model_copy(update={"hypotheses": ()})
    assert _plan(empty, CHECKOUT) is None
    assert _advice(empty, CHECKOUT) == ()
