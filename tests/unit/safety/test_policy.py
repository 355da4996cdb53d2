"""Policy: which rule decides, what forbids, and how mistakes in the file are told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.actions import (
    ACTIONS,
    DiagnosticCommand,
    RestartService,
    RunDiagnosticCommand,
    ScaleService,
)
from it_incident_response.domain.action import Risk
from it_incident_response.domain.diagnosis import Verdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostEntry, Inventory
from it_incident_response.domain.plan import PlanStep
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import ConfigError
from it_incident_response.ports import FleetHistory
from it_incident_response.safety.gate_task import described_step
from it_incident_response.safety.glob import matches
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.people import person_name
from it_incident_response.safety.policy import Effect, Policy, PolicyContext, Ruling
from it_incident_response.safety.site import Site
from tests.unit.safety.world import INVENTORY, T0

EXAMPLE = Path(__file__).parents[3] / "config" / "policy.example.yaml"


def restart(host: str = "web-1") -> PlanStep:
    return described_step(RestartService(host=host, unit="nginx.service"), number=1)


def look(host: str = "web-1") -> PlanStep:
    action = RunDiagnosticCommand(
        host=host, command=DiagnosticCommand.UNIT_STATUS, unit="nginx.service"
    )
    return described_step(action, number=1)


def risky(step: PlanStep) -> PlanStep:
    return step.model_copy(update={"risk": Risk.HIGH})


def judge(policy: Policy, step: PlanStep, **facts: Any) -> Ruling:
    given = {"now": T0, "inventory": INVENTORY, "severity": Severity.HIGH}
    return policy.judge(step, PolicyContext(**given | facts))


def rules(*given: dict[str, Any], **others: Any) -> Policy:
    roles = {"operator": ["*"], "approver": ["alice"]}
    return Policy.model_validate({"roles": roles, "rules": list(given), **others})


AUTO = {"name": "all", "effect": "auto"}
ASK = {"name": "ask", "effect": "approve"}


def test_the_default_reads_freely_asks_for_changes_and_forbids_the_unknown() -> None:
    default = Policy.default()
    assert judge(default, look()).effect is Effect.AUTO
    change = judge(default, restart())
    assert (change.effect, change.approver_roles) == (Effect.APPROVE, ())
    high = judge(default, risky(restart()))
    assert (high.effect, high.approver_roles) == (Effect.APPROVE, ("approver",))
    assert not high.is_waivable
    unknown = judge(default, restart("web-99"))
    assert (unknown.effect, unknown.is_temporary) == (Effect.FORBID, False)
    assert "not in the inventory" in unknown.reason
    assert judge(default, look("web-99")).effect is Effect.FORBID
    assert default.roles_of("alice") == ("operator",)
    assert default.roles_of("agent:resolution") == ()


def test_every_ruling_is_a_sentence() -> None:
    for step in (look(), restart(), risky(restart()), restart("web-99")):
        reason = judge(Policy.default(), step).reason
        assert reason.endswith(".")
        assert reason[0].isupper() or reason[0].islower()


def test_the_first_rule_that_matches_decides_and_none_forbids() -> None:
    policy = rules(
        {"name": "one", "when": {"hosts": ["web-1"]}, "effect": "forbid"},
        {"name": "two", "when": {"hosts": ["web-*"]}, "effect": "auto"},
    )
    assert judge(policy, restart("web-1")).rule == "one"
    assert judge(policy, restart("web-2")).rule == "two"
    assert judge(policy, restart("stage-1")).effect is Effect.FORBID
    assert judge(Policy(), look()).effect is Effect.FORBID


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"actions": ["restart_service"]}, True),
        ({"actions": ["restart_*", "x"]}, True),
        ({"actions": ["scale_*"]}, False),
        ({"environments": ["production"]}, True),
        ({"environments": ["staging"]}, False),
        ({"hosts": ["WEB-?"]}, True),
        ({"hosts": ["web-1?"]}, False),
        ({"services": ["web"]}, True),
        ({"services": ["nginx.service"]}, True),
        ({"services": ["postgres*"]}, False),
        ({"risk_at_most": "medium"}, True),
        ({"risk_at_most": "low"}, False),
        ({"risk_at_least": "medium"}, True),
        ({"risk_at_least": "high"}, False),
        ({"severities": ["high", "critical"]}, True),
        ({"severities": ["low"]}, False),
        ({"confidence_at_least": 0.8}, True),
        ({"confidence_at_least": 0.9}, False),
        ({"verdict_at_least": "likely"}, True),
        ({"verdict_at_least": "confirmed"}, False),
        ({"hosts": ["web-1"], "severities": ["low"]}, False),
    ],
)
def test_each_condition(when: dict[str, Any], fits: bool) -> None:
    policy = rules({"name": "it", "when": when, "effect": "auto"})
    facts = {"confidence": 0.8, "verdict": Verdict.LIKELY}
    assert (judge(policy, restart(), **facts).effect is Effect.AUTO) is fits


@pytest.mark.parametrize(
    "when",
    [{"severities": ["high"]}, {"confidence_at_least": 0.1}, {"verdict_at_least": "inconclusive"}],
)
def test_what_is_unknown_grants_nothing_and_forbids(when: dict[str, Any]) -> None:
    unknown = {"severity": None, "confidence": None, "verdict": None}
    allow = rules({"name": "it", "when": when, "effect": "auto"})
    assert judge(allow, restart(), **unknown).effect is Effect.FORBID
    forbid = rules({"name": "it", "when": when, "effect": "forbid"}, AUTO)
    assert judge(forbid, restart(), **unknown).rule == "it"


def test_a_confidence_that_is_no_number_grants_nothing() -> None:
    policy = rules({"name": "it", "when": {"confidence_at_least": 0.0}, "effect": "auto"})
    assert judge(policy, restart(), confidence=float("nan")).effect is Effect.FORBID


def test_of_many_hosts_one_forbids_and_all_are_needed_to_permit() -> None:
    everywhere = described_step(ScaleService(service="web", replicas=2), number=1)
    one = rules({"name": "it", "when": {"hosts": ["stage-1"]}, "effect": "forbid"}, AUTO)
    assert judge(one, everywhere).rule == "it"
    some = rules({"name": "it", "when": {"environments": ["staging"]}, "effect": "auto"})
    assert judge(some, everywhere).effect is Effect.FORBID
    both = rules({"name": "it", "when": {"environments": ["s*", "p*"]}, "effect": "auto"})
    assert judge(both, everywhere).effect is Effect.AUTO


@pytest.mark.parametrize("name", ["stage-1", "stage.example.test:9100", "10.0.0.1", "STAGE-*"])
def test_a_forbidden_host_is_forbidden_under_all_its_names(name: str) -> None:
    policy = rules(AUTO, forbidden_hosts=[name])
    assert judge(policy, restart("stage-1")).rule == "forbidden_hosts"
    assert judge(policy, look("stage-1")).rule == "forbidden_hosts"


def test_a_rule_that_forbids_goes_before_limits_and_freezes() -> None:
    policy = rules({"name": "never", "effect": "forbid"}, limits={"max_actions_per_hour": 0})
    ruling = judge(policy, restart())
    assert (ruling.rule, ruling.is_temporary) == ("never", False)


def test_freezes_stop_changes_for_a_time() -> None:
    freeze = {
        "name": "year-end",
        "from": "2026-03-11T11:00:00Z",
        "until": "2026-03-11T13:00:00Z",
        "environments": ["production"],
        "except_severities": ["critical"],
        "reason": "The books are closed.",
    }
    policy = rules(ASK, {"name": "x", "effect": "auto"}, freezes=[freeze])
    frozen = judge(policy, restart())
    assert (frozen.effect, frozen.is_temporary) == (Effect.FORBID, True)
    assert frozen.rule == "freezes.year-end"
    assert "The books are closed." in frozen.reason
    assert judge(policy, look()).effect is Effect.APPROVE, "reading is not frozen"
    assert judge(policy, restart("stage-1")).effect is Effect.APPROVE
    assert judge(policy, restart(), severity=Severity.CRITICAL).effect is Effect.APPROVE
    assert judge(policy, restart(), severity=None).effect is Effect.FORBID
    assert judge(policy, restart(), now=T0 - timedelta(hours=1)).effect is Effect.FORBID
    before = T0 - timedelta(hours=1, microseconds=1)
    assert judge(policy, restart(), now=before).effect is Effect.APPROVE
    assert judge(policy, restart(), now=T0 + timedelta(hours=1)).effect is Effect.APPROVE


def test_windows_open_and_close_rules() -> None:
    night = {"days": ["wed"], "start": "11:30", "end": "12:30", "timezone": "UTC"}
    policy = rules(
        {"name": "in", "when": {"during": ["w"]}, "effect": "auto"},
        {"name": "out", "when": {"outside": ["w"]}, "effect": "approve"},
        windows={"w": night},
    )
    assert judge(policy, restart()).rule == "in"
    assert judge(policy, restart(), now=T0 + timedelta(minutes=30)).rule == "out"


def history(*hosts: str, started: int | None = None) -> FleetHistory:
    return FleetHistory(
        started_last_hour=len(hosts) if started is None else started,
        targets_last_hour=tuple(str(restart(h).target) for h in hosts),
        hosts_last_hour=tuple(dict.fromkeys(hosts)),
    )


def test_actions_an_hour_are_limited() -> None:
    policy = rules(AUTO, limits={"max_actions_per_hour": 2, "max_fleet_share": 1})
    assert judge(policy, restart(), history=history(started=1)).effect is Effect.AUTO
    over = judge(policy, restart(), history=history(started=2))
    assert (over.rule, over.is_temporary) == ("limits.max_actions_per_hour", True)
    assert judge(policy, look(), history=history(started=2)).effect is Effect.AUTO


def test_actions_an_hour_on_one_target_are_limited() -> None:
    policy = rules(AUTO, limits={"max_actions_per_target_per_hour": 2})
    assert judge(policy, restart(), history=history("web-1")).effect is Effect.AUTO
    over = judge(policy, restart(), history=history("web-1", "web-1"))
    assert over.rule == "limits.max_actions_per_target_per_hour"
    assert judge(policy, restart(), history=history("stage-1", "stage-1")).effect is Effect.AUTO


def test_a_share_of_an_environment_is_the_limit() -> None:
    policy = rules(AUTO, limits={"max_fleet_share": 0.4})
    assert judge(policy, restart("web-2"), history=history("web-1")).effect is Effect.AUTO
    over = judge(policy, restart("web-3"), history=history("web-1", "web-2"))
    assert over.rule == "limits.max_fleet_share"
    assert "2 of 5 hosts in production" in over.reason
    again = judge(policy, restart("web-2"), history=history("web-1", "web-2"))
    assert again.effect is Effect.AUTO, "a host that was acted on already is not one more"
    assert (
        judge(policy, restart("stage-1"), history=history("web-1", "web-2")).effect is Effect.AUTO
    )


def test_a_share_of_nothing_forbids_everything() -> None:
    assert judge(rules(AUTO, limits={"max_fleet_share": 0}), restart()).effect is Effect.FORBID


def test_one_action_on_a_whole_service_is_possible() -> None:
    everywhere = described_step(ScaleService(service="web", replicas=2), number=1)
    policy = rules(AUTO, limits={"max_fleet_share": 0.1})
    assert judge(policy, everywhere).effect is Effect.AUTO
    assert judge(policy, everywhere, history=history("db-1")).effect is Effect.FORBID
    done = FleetHistory(hosts_last_hour=tuple(host.name for host in INVENTORY.hosts))
    assert judge(policy, everywhere, history=done).effect is Effect.AUTO, "taking it back"


def test_an_alias_in_the_history_counts_as_its_host() -> None:
    policy = rules(AUTO, limits={"max_fleet_share": 0.0001})
    past = FleetHistory(hosts_last_hour=("stage.example.test:9100",))
    assert judge(policy, restart("stage-1"), history=past).effect is Effect.AUTO


@given(share=st.floats(0, 1), hosts=st.integers(1, 2000))
def test_the_share_is_rounded_down_but_never_to_none(share: float, hosts: int) -> None:
    allowed = Limits(max_fleet_share=share).hosts_allowed(hosts)
    assert (allowed == 0) is (share == 0)
    assert allowed <= hosts
    assert allowed <= max(1, share * hosts + 1e-6)
    assert share == 0 or allowed + 1 > share * hosts - 1e-6


@pytest.mark.parametrize(
    ("share", "hosts", "allowed"), [(0.29, 100, 29), (0.57, 100, 57), (1, 7, 7)]
)
def test_the_share_is_exact(share: float, hosts: int, allowed: int) -> None:
    assert Limits(max_fleet_share=share).hosts_allowed(hosts) == allowed


@given(
    share=st.floats(0.01, 1),
    hosts=st.integers(1, 12),
    order=st.lists(st.integers(0, 11), max_size=30),
)
def test_whatever_the_order_no_more_hosts_than_the_share_are_touched(
    share: float, hosts: int, order: list[int]
) -> None:
    inventory = Inventory(
        hosts=tuple(HostEntry(name=f"h{n}", address="10.0.0.1") for n in range(hosts))
    )
    limits = Limits(
        max_fleet_share=share, max_actions_per_hour=1000, max_actions_per_target_per_hour=1000
    )
    touched: dict[str, None] = {}
    for number in order:
        step = restart(f"h{number % hosts}")
        past = FleetHistory(hosts_last_hour=tuple(touched))
        if limits.exceeded_by(step, Site.of(step, inventory), inventory, past) is None:
            touched[step.host or ""] = None
    assert len(touched) <= limits.hosts_allowed(hosts)
    assert bool(touched) is bool(order)


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_globs_match_as_their_definition_says(pattern: str, text: str) -> None:
    def fits(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return fits(p[1:], t) or (bool(t) and fits(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and fits(p[1:], t[1:])

    assert matches(pattern, text) is fits(pattern, text)


def test_globs_take_bounded_time() -> None:
    assert matches("*a" * 120 + "b", "a" * 1024) is False
    assert matches("a*", "a" * 2000) is False
    assert matches("*", "a" * 2000) is True


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ("alice", "alice"),
        ("user:alice", "alice"),
        ("a.b+c@example.test", "a.b+c@example.test"),
        ("root", "root"),
        ("system", None),
        ("SYSTEM", None),
        ("user:system", None),
        ("agent:x", None),
        ("", None),
        ("a b", None),
        ("a\n", None),
        ("а", None),
        ("x" * 200, None),
    ],
)
def test_who_is_a_person(who: str, name: str | None) -> None:
    assert person_name(who) == name


def test_the_example_file_is_valid_and_names_real_actions() -> None:
    policy = Policy.load(EXAMPLE)
    assert policy.unknown_kinds(ACTIONS) == ()
    assert policy.roles_without_people() == ()
    night = datetime(2026, 3, 12, 1, 30, tzinfo=UTC)
    assert judge(policy, restart("stage-1"), now=night).effect is Effect.AUTO
    assert judge(policy, restart("web-1"), now=T0).effect is Effect.APPROVE


def test_what_a_role_without_people_and_an_unknown_action_look_like() -> None:
    policy = rules(
        {"name": "x", "when": {"actions": ["restart_servce", "scale_*"]}, "effect": "auto"},
        {"name": "y", "effect": "approve", "approvers": ["nobody"]},
        roles={"nobody": []},
    )
    assert policy.unknown_kinds(ACTIONS) == ("restart_servce",)
    assert policy.roles_without_people() == ("nobody",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (
            "rules:\n  - {name: a, effect: auto}\n  - name: b\n    effect: auto\n    if: {}\n",
            5,
            "no such",
        ),
        ("self_approval: 'yes'\n", 1, "valid boolean"),
        (
            "version: 1\nrules:\n  - name: a\n    effect: maybe\n",
            4,
            "'auto', 'approve' or 'forbid'",
        ),
        ("a: " + "[" * 30 + "]" * 30, 1, "too deeply"),
        ("roles: {x: []}\nrules:\n  - {name: a, effect: auto, approvers: [x]}\n", 3, "needs"),
        ("version: 2\n", 1, "Input should be 1"),
        ("rules:\n  - effect: auto\n", 2, "name"),
        ("limits:\n  max_fleet_share: 1.5\n", 2, "less than or equal to 1"),
        ("limits:\n  max_fleet_share: .nan\n", 2, "finite"),
        ("limits:\n  max_actions_per_hour: -1\n", 2, "greater than or equal to 0"),
        ("forbidden_hosts:\n  - 'db[1-3]'\n", 2, "pattern"),
        ("roles:\n  ops: ['agent:x']\n", 2, "pattern"),
        ("rules:\n  - {name: a, effect: approve, approvers: [x]}\n", 1, "no role 'x'"),
        (
            "rules:\n  - {name: a, effect: auto, approvers: []}\n  - {name: a, effect: auto}\n",
            1,
            "two rules are named 'a'",
        ),
        ("rules:\n  - {name: a, effect: auto, waivable: false}\n", 2, "needs `effect: approve`"),
        ("rules:\n  - {name: a, effect: auto, when: {during: [w]}}\n", 1, "no window 'w'"),
        ("windows:\n  w:\n    timezone: Mars/Base\n", 3, "no time zone 'Mars/Base'"),
        ("windows:\n  w:\n    timezone: ../../etc/passwd\n", 3, "no time zone"),
        ("windows:\n  w: {start: '25:00'}\n", 2, "pattern"),
        ("windows:\n  w: {start: '10:00', end: '10:00'}\n", 2, "same"),
        ("windows:\n  w: {days: [caturday]}\n", 2, "'mon'"),
        ("freezes:\n  - {name: f, from: 2026-12-20, until: 2027-01-02}\n", 2, "needs a zone"),
        ("freezes:\n  - {name: f}\n", 2, "either"),
        ("freezes:\n  - {name: f, from: 2026-12-20T00:00:00Z}\n", 2, "either"),
        (
            "freezes:\n  - {name: f, from: 2026-12-20T00:00:00Z, until: 2026-12-19T00:00:00Z}\n",
            2,
            "after",
        ),
        ("version: 1\nversion: 1\n", 2, "there twice"),
        ("roles: &a {x: [b]}\nwindows: *a\n", 1, "aliases"),
        ("rules: [\n", 2, "not YAML"),
        ("\x00", None, "not YAML"),
        ("!!python/object/apply:os.system ['true']\n", 1, "not YAML"),
        ("", None, "empty"),
        ("- a\n", 1, "policy"),
        ("? [a]\n: b\n", 1, "plain text"),
        ("a: " * 1, 1, "no such setting"),
    ],
)
def test_mistakes_are_told_with_file_and_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.parse(text.encode(), name="p.yaml")
    message = str(caught.value)
    assert message.startswith("p.yaml" if line is None else f"p.yaml:{line}:"), message
    assert says in message


def test_several_mistakes_are_told_at_once() -> None:
    text = b"version: 3\nlimits:\n  max_actions_per_hour: no\nforbidden: []\n"
    with pytest.raises(ConfigError) as caught:
        Policy.parse(text, name="p.yaml")
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 3000, "a: " + "x" * 1_000_001])
def test_hostile_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Policy.load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read") as caught:
        Policy.load(tmp_path / "none.yaml")
    assert "built-in policy" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read"):
        Policy.load(tmp_path)


def test_a_time_of_day_without_quotes_means_what_it_says() -> None:
    policy = Policy.parse(b"windows:\n  w: {start: 22:00, end: 6:30}\n", name="p")
    assert (policy.windows["w"].start, policy.windows["w"].end) == ("22:00", "06:30")


def test_an_action_on_a_host_as_such_takes_place_there() -> None:
    step = look().model_copy(update={"host": None})
    assert Site.of(step, INVENTORY).host_names == ("web-1",)


def test_a_host_without_services_is_unknown_to_rules_about_services() -> None:
    step = restart().model_copy(update={"target": Entity(EntityKind.HOST, "web-1")})
    bare = step.model_copy(
        update={"action": step.action.model_copy(update={"parameters": {"host": "web-1"}})}
    )
    when = {"services": ["web"]}
    assert judge(rules({"name": "x", "when": when, "effect": "auto"}), bare).rule == "default"
    assert judge(rules({"name": "x", "when": when, "effect": "forbid"}, AUTO), bare).rule == "x"
