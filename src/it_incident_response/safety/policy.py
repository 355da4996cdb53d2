"""Policy: who may have what done to which target, when and how often; a closed vocabulary.

A step is judged in this order: forbidden hosts, unknown targets, the first rule that matches (no
rule: forbidden), change freezes, limits. Read-only steps are subject to neither freezes nor limits.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints, model_validator

from it_incident_response.domain.action import Risk
from it_incident_response.domain.diagnosis import Verdict
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.plan import PlanStep
from it_incident_response.domain.severity import Severity
from it_incident_response.ports import FleetHistory
from it_incident_response.safety.glob import Glob, matches
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.located_yaml import parse_model, read_model
from it_incident_response.safety.people import ANYBODY, person_name
from it_incident_response.safety.site import Site
from it_incident_response.safety.windows import Freeze, Name, WeeklyWindow

Member = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127})$")]
_CERTAINTY = (Verdict.INCONCLUSIVE, Verdict.LIKELY, Verdict.CONFIRMED)


class Effect(StrEnum):
    """What policy says about a step, in rising order of strictness."""

    AUTO = "auto"
    """It may run without asking anybody."""
    APPROVE = "approve"
    """A person in one of the ruling's roles has to approve the plan."""
    FORBID = "forbid"
    """It may not run, whoever approves."""

    @property
    def rank(self) -> int:
        """0 for auto to 2 for forbid."""
        return list(Effect).index(self)


class Ruling(Value):
    """What policy says about one step, and why."""

    effect: Effect
    rule: str
    """Name of the rule, or `forbidden_hosts`, `limits...`, `freezes...`, `default`."""
    reason: str
    """A sentence for people."""
    approver_roles: tuple[str, ...] = ()
    """Any one of these; empty: anybody who has any role."""
    is_waivable: bool = True
    """False: a person is asked even where the configuration requires no approval."""
    is_temporary: bool = False
    """True for freezes and limits: the step may be allowed later, then as its rule says."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


class PolicyContext(Value):
    """What a ruling depends on beside the step; what is unknown never grants anything."""

    now: UtcTime
    inventory: Inventory = Inventory()
    severity: Severity | None = None
    verdict: Verdict | None = None
    confidence: float | None = None
    """Posterior probability of the cause, 0 to 1."""
    history: FleetHistory = FleetHistory()


class Conditions(Value):
    """All that are given must hold; an empty list of conditions holds always."""

    actions: tuple[Glob, ...] = ()
    environments: tuple[Glob, ...] = ()
    hosts: tuple[Glob, ...] = ()
    services: tuple[Glob, ...] = ()
    risk_at_least: Risk | None = None
    risk_at_most: Risk | None = None
    severities: tuple[Severity, ...] = ()
    confidence_at_least: (
        Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)] | None
    ) = None
    verdict_at_least: Verdict | None = None
    during: tuple[Name, ...] = ()
    """Names of windows of which one must be open."""
    outside: tuple[Name, ...] = ()
    """Names of windows of which none may be open."""


class PolicyRule(Value):
    """One rule; the first that matches decides."""

    name: Name
    when: Conditions = Conditions()
    effect: Effect
    approvers: tuple[Name, ...] = ()
    """Roles of which the approver needs one; empty: anybody who has any role."""
    waivable: StrictBool = True
    """False: asked even if the configuration says that no approval is required."""
    reason: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _approvers_belong_to_approve(self) -> "PolicyRule":
        if self.approvers and self.effect is not Effect.APPROVE:
            raise ValueError(f"rule {self.name!r}: `approvers` needs `effect: approve`")
        if not self.waivable and self.effect is not Effect.APPROVE:
            raise ValueError(f"rule {self.name!r}: `waivable` needs `effect: approve`")
        return self


class Policy(Value):
    """An organisation's rules for acting; see `Policy.default` for the one without a file."""

    version: Literal[1] = 1
    roles: Mapping[Name, tuple[Member, ...]] = {}
    """Role to people; `*` means every person (never an agent)."""
    self_approval: StrictBool = False
    """Whether the person who asked for a plan may approve it."""
    forbidden_hosts: tuple[Glob, ...] = ()
    limits: Limits = Limits()
    windows: Mapping[Name, WeeklyWindow] = {}
    freezes: tuple[Freeze, ...] = ()
    rules: tuple[PolicyRule, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> "Policy":
        names = [rule.name for rule in self.rules]
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rules are named {double[0]!r}")
        for rule in self.rules:
            if missing := sorted(set(rule.approvers) - set(self.roles)):
                raise ValueError(f"rule {rule.name!r}: there is no role {missing[0]!r} in `roles`")
            wanted = {*rule.when.during, *rule.when.outside}
            if missing := sorted(wanted - set(self.windows)):
                raise ValueError(f"rule {rule.name!r}: no window {missing[0]!r} in `windows`")
        return self

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """Read a policy file; raises `ConfigError` naming file and line."""
        return read_model(path, cls)

    @classmethod
    def parse(cls, content: bytes, *, name: str) -> "Policy":
        """Read a policy from YAML text; raises `ConfigError` naming `name` and line."""
        return parse_model(content, cls, name=name)

    @classmethod
    def default(cls) -> "Policy":
        """Return the policy in force without a file.

        Reading is free; a change needs one person, one of high risk a person in the role
        `approver`, whom only a policy file can name; what is unknown is forbidden.
        """
        return cls(
            roles={"operator": (ANYBODY,), "approver": ()},
            limits=Limits(),
            rules=(
                PolicyRule(
                    name="read-only",
                    when=Conditions(risk_at_most=Risk.READ_ONLY),
                    effect=Effect.AUTO,
                    reason="Reading changes nothing.",
                ),
                PolicyRule(
                    name="high-risk",
                    when=Conditions(risk_at_least=Risk.HIGH),
                    effect=Effect.APPROVE,
                    approvers=("approver",),
                    waivable=False,
                    reason="A high risk is taken by a person named for it.",
                ),
                PolicyRule(
                    name="any-change",
                    effect=Effect.APPROVE,
                    reason="Every change needs a person's approval.",
                ),
            ),
        )

    def judge_lasting(self, step: PlanStep, context: PolicyContext) -> Ruling:
        """Return what this policy says about one step, freezes and limits left aside.

        That is who has to approve it, whenever it may then be run.
        """
        site = Site.of(step, context.inventory)
        return self._barred(step, site) or self._by_rules(step, site, context)

    def judge(self, step: PlanStep, context: PolicyContext) -> Ruling:
        """Return what this policy says about one step now."""
        ruling = self.judge_lasting(step, context)
        if ruling.effect is Effect.FORBID or step.risk is Risk.READ_ONLY:
            return ruling
        site = Site.of(step, context.inventory)
        obstacle = self._frozen(site, context) or self._over_limit(step, site, context)
        if obstacle is None:
            return ruling
        rule, reason = obstacle
        changes = {"effect": Effect.FORBID, "rule": rule, "reason": reason, "is_temporary": True}
        return ruling.model_copy(update=changes)

    def roles_of(self, person: str) -> tuple[str, ...]:
        """Return the roles of a person (`alice` or `user:alice`); () for anything else."""
        name = person_name(person)
        if name is None:
            return ()
        return tuple(r for r, people in self.roles.items() if name in people or ANYBODY in people)

    def unknown_kinds(self, known: Collection[str]) -> tuple[str, ...]:
        """Return the action patterns in the rules that fit none of the `known` kinds."""
        patterns = {pattern for rule in self.rules for pattern in rule.when.actions}
        return tuple(sorted(p for p in patterns if not any(matches(p, kind) for kind in known)))

    def roles_without_people(self) -> tuple[str, ...]:
        """Return the roles that a rule asks for and nobody has."""
        asked = {role for rule in self.rules for role in rule.approvers}
        return tuple(sorted(role for role in asked if not self.roles[role]))

    def _barred(self, step: PlanStep, site: Site) -> Ruling | None:
        for name in site.every_name:
            pattern = next((p for p in self.forbidden_hosts if matches(p, name)), None)
            if pattern is not None:
                return _forbid(
                    "forbidden_hosts", f"Host {name} is never touched: it fits {pattern!r}."
                )
        if site.is_known:
            return None
        return _forbid("default", f"{step.host or step.target} is not in the inventory.")

    def _by_rules(self, step: PlanStep, site: Site, context: PolicyContext) -> Ruling:
        for rule in self.rules:
            if _Match(self, rule, step, site, context).holds():
                return Ruling(
                    effect=rule.effect,
                    rule=rule.name,
                    reason=rule.reason or f"Rule {rule.name!r} says {rule.effect}.",
                    approver_roles=rule.approvers,
                    is_waivable=rule.waivable,
                )
        return _forbid("default", f"No rule allows {step.action.kind} here.")

    def _frozen(self, site: Site, context: PolicyContext) -> tuple[str, str] | None:
        for freeze in self.freezes:
            if freeze.is_on(context.now) and freeze.covers(site.environments, context.severity):
                why = f": {freeze.reason}" if freeze.reason else "."
                return f"freezes.{freeze.name}", f"Change freeze {freeze.name} is on{why}"
        return None

    def _over_limit(
        self, step: PlanStep, site: Site, context: PolicyContext
    ) -> tuple[str, str] | None:
        excess = self.limits.exceeded_by(step, site, context.inventory, context.history)
        return (f"limits.{excess[0]}", excess[1]) if excess else None


def _forbid(rule: str, reason: str) -> Ruling:
    return Ruling(effect=Effect.FORBID, rule=rule, reason=reason)


class _Match:
    """One rule held against one step."""

    def __init__(
        self, policy: Policy, rule: PolicyRule, step: PlanStep, site: Site, context: PolicyContext
    ) -> None:
        self._policy, self._rule, self._step = policy, rule, step
        self._site, self._context = site, context

    def holds(self) -> bool:
        """Return whether every condition holds.

        An unknown fact satisfies a rule that forbids and no rule that permits; of several hosts one
        is enough to forbid, and all are needed to permit.
        """
        forbids = self._rule.effect is Effect.FORBID
        judged = (self._what(), self._where(forbids), self._how_sure(), self._at_this_time())
        return all(forbids if verdict is None else verdict for verdict in judged)

    def _what(self) -> bool:
        when, step = self._rule.when, self._step
        return (
            _fits(when.actions, (step.action.kind,), any_one=True) is not False
            and (when.risk_at_least is None or step.risk.rank >= when.risk_at_least.rank)
            and (when.risk_at_most is None or step.risk.rank <= when.risk_at_most.rank)
        )

    def _where(self, forbids: bool) -> bool | None:
        when, site = self._rule.when, self._site
        return _all_of(
            _fits(when.environments, site.environments, any_one=forbids),
            _fits(when.hosts, site.host_names, any_one=forbids),
            _fits(when.services, site.services, any_one=True),
        )

    def _how_sure(self) -> bool | None:
        when, context = self._rule.when, self._context
        verdicts: list[bool | None] = []
        if when.severities:
            known = context.severity
            verdicts.append(None if known is None else known in when.severities)
        if when.confidence_at_least is not None:
            sure = context.confidence
            verdicts.append(None if sure is None else sure >= when.confidence_at_least)
        if when.verdict_at_least is not None:
            least = _CERTAINTY.index(when.verdict_at_least)
            given = context.verdict
            verdicts.append(None if given is None else _CERTAINTY.index(given) >= least)
        return _all_of(*verdicts)

    def _at_this_time(self) -> bool:
        when, windows, now = self._rule.when, self._policy.windows, self._context.now
        if when.during and not any(windows[name].contains(now) for name in when.during):
            return False
        return not any(windows[name].contains(now) for name in when.outside)


def _all_of(*verdicts: bool | None) -> bool | None:
    if any(verdict is False for verdict in verdicts):
        return False
    return None if any(verdict is None for verdict in verdicts) else True


def _fits(patterns: tuple[str, ...], names: tuple[str, ...], *, any_one: bool) -> bool | None:
    """True without patterns; None when there is no name to hold them against."""
    if not patterns:
        return True
    if not names:
        return None
    judged = [any(matches(pattern, name) for pattern in patterns) for name in names]
    return any(judged) if any_one else all(judged)
