"""DeploymentSystemTool: proposes a change to a service or host; it never carries one out."""

from collections.abc import Awaitable, Sequence
from typing import ClassVar, Protocol

from pydantic import Field

from it_incident_response.actions import ACTIONS
from it_incident_response.domain.action import Action
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.labels import host_of
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import ConfigError, InputRejected, TargetUnknown
from it_incident_response.tools.base import MCPTool, ToolHints, ToolInput, ToolOutput, ToolRole
from it_incident_response.tools.scope import Name

TARGETS_MAX = 3
"""Targets of one proposal: one first, then the next if it went well."""


class Propose(Protocol):
    """Makes a plan of these actions and asks for its approval; runs nothing."""

    def __call__(
        self, actions: Sequence[Action], *, incident_id: str, reason: str
    ) -> Awaitable[Plan]:
        """Return the stored plan; raises `PolicyDenied`, `NotFound`."""
        ...


class DeploymentInput(ToolInput):
    """Which change is wanted."""

    action: Name = Field(description="kind of action, such as restart_service")
    target: Name = Field(description="service, host or instance, as the inventory knows it")
    host: Name | None = Field(default=None, description="only on this host, if the target has more")
    incident_id: Name | None = Field(default=None, description="the incident it is for")
    reason: str = Field(default="", max_length=2000, description="why, for the one who approves")


class ProposedAction(Value):
    """One action with all that a person needs to judge it."""

    kind: str
    target: str
    host: str | None
    description: str
    commands: tuple[tuple[str, ...], ...]
    """The argument vectors that would run; never a shell string."""
    risk: str
    reversibility: str


class DeploymentOutput(ToolOutput):
    """What was proposed; `status` is `preview`, `approval_required`, `planned` or `forbidden`."""

    message: str
    actions: tuple[ProposedAction, ...]
    plan_id: str | None = None
    plan_digest: str | None = None
    """An approval is bound to exactly this."""


class DeploymentSystemTool(MCPTool[DeploymentInput, DeploymentOutput]):
    """Turns a wish into typed actions on inventory targets, and asks for their approval."""

    name: ClassVar[str] = "deployment-system"
    description: ClassVar[str] = (
        "Proposes a change (" + ", ".join(sorted(ACTIONS)) + ") to a service or host of the "
        "inventory. Nothing runs: the proposal goes to policy and to a human for approval."
    )
    input_model: ClassVar[type[DeploymentInput]] = DeploymentInput
    output_model: ClassVar[type[DeploymentOutput]] = DeploymentOutput
    hints: ClassVar[ToolHints] = ToolHints(read_only=False, idempotent=False, open_world=False)
    required_role: ClassVar[ToolRole] = ToolRole.RESPONDER

    def __init__(
        self,
        use_real_deployment: bool = False,
        *,
        inventory: Inventory | None = None,
        propose: Propose | None = None,
    ) -> None:
        """Propose through `propose`; without it, answer what would be proposed.

        `use_real_deployment` only says that proposals must lead somewhere: it needs `propose`,
        else `ConfigError`. Whether approved plans run, and on what, is configured elsewhere.
        """
        if use_real_deployment and propose is None:
            raise ConfigError(
                "use_real_deployment needs a way to ask for approval",
                hint="take the tool from an IncidentResponseSystem, which passes `propose`",
            )
        self._inventory = inventory or Inventory()
        self._propose = propose

    async def run(self, request: DeploymentInput) -> DeploymentOutput:
        """Return the proposal; raises `InputRejected`, `TargetUnknown`, `PolicyDenied`."""
        actions = self._actions(request)
        shown = tuple(map(_shown, actions))
        if self._propose is None:
            return DeploymentOutput(
                status="preview",
                message="nothing was changed or stored: this is what would be proposed",
                actions=shown,
            )
        if request.incident_id is None:
            raise InputRejected(
                "a change needs the incident it is for", hint="give incident_id, or open one first"
            )
        plan = await self._propose(
            actions, incident_id=request.incident_id, reason=request.reason or "asked for by hand"
        )
        status, message = _verdict(plan)
        return DeploymentOutput(
            status=status, message=message, actions=shown, plan_id=plan.id, plan_digest=plan.digest
        )

    def _actions(self, request: DeploymentInput) -> Sequence[Action]:
        kind = ACTIONS.get(request.action)
        if kind is None:
            raise InputRejected(
                f"there is no action {request.action!r}", hint=f"known are: {', '.join(ACTIONS)}"
            )
        actions = kind.propose(_entities(request.target, request.host), self._inventory)
        if not actions:
            raise TargetUnknown(
                f"{request.action} finds no target named {request.target!r} in the inventory",
                hint="names must be those of the inventory, or aliases listed there",
            )
        if len(actions) > TARGETS_MAX:
            raise InputRejected(
                f"{request.target!r} means {len(actions)} targets, more than {TARGETS_MAX}",
                hint="name one with `host`, see that it went well, then the next",
            )
        return actions


def _entities(target: str, host: str | None) -> Sequence[Entity]:
    """A target may be named as service, host, `host:port` or URL; exactly as in labels."""
    entities = [Entity(EntityKind.SERVICE, target), Entity(EntityKind.INSTANCE, target)]
    for name in (host, host_of(target)):
        if name is not None:
            entities.append(Entity(EntityKind.HOST, name))
    return entities


def _shown(action: Action) -> ProposedAction:
    return ProposedAction(
        kind=action.kind,
        target=str(action.target),
        host=action.host,
        description=action.describe(),
        commands=action.commands(),
        risk=action.risk.value,
        reversibility=action.reversibility.value,
    )


def _verdict(plan: Plan) -> tuple[str, str]:
    if plan.is_forbidden is not None:
        return "forbidden", f"nothing runs: {plan.is_forbidden}"
    if plan.needs_approval:
        return "approval_required", f"nothing runs before plan {plan.digest[:12]} is approved"
    return "planned", "policy asks for no approval; the incident's worker carries it out"
