"""When what policy forbids for now will be allowed: the end of a freeze, or of a full hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from it_incident_response.domain.execution import Execution
from it_incident_response.domain.plan import PlanStep
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.policy import Policy, PolicyContext, Ruling

HOUR = timedelta(hours=1)
ASK_AGAIN_S = 60.0
"""When to ask again where the end cannot be computed."""


def delay_s(
    policy: Policy,
    ruling: Ruling,
    step: PlanStep,
    context: PolicyContext,
    rows: Sequence[Execution],
) -> float | None:
    """Return in how many seconds to ask again, at least 1; None if waiting does not help.

    `ruling` is a temporary refusal of `step`; `rows` are the actions counted in `context.history`.
    It is a time to ask, not a promise: what then holds is judged anew.
    """
    source, _, name = ruling.rule.partition(".")
    if source == "freezes":
        ends = [f.ends_after(context.now) for f in policy.freezes if f.name == name]
        end = ends[0] if ends else None
        return None if end is None else max(1.0, (end - context.now).total_seconds())
    return _until_room_s(policy.limits, name, step, context.now, rows)


def _until_room_s(
    limits: Limits, name: str, step: PlanStep, now: datetime, rows: Sequence[Execution]
) -> float | None:
    if name == "max_fleet_share":
        return None if limits.max_fleet_share == 0 else _freed_s(rows, 1, now)
    if name == "max_actions_per_hour":
        counted, allowed = list(rows), limits.max_actions_per_hour
    else:
        counted = [row for row in rows if row.target == step.target]
        allowed = limits.max_actions_per_target_per_hour
    return None if allowed == 0 else _freed_s(counted, len(counted) - allowed + 1, now)


def _freed_s(rows: Sequence[Execution], count: int, now: datetime) -> float:
    """Return in how many seconds the `count` oldest of these actions are older than an hour."""
    began = sorted(row.started_at or row.intended_at for row in rows)
    if not 0 < count <= len(began):
        return ASK_AGAIN_S
    freed = began[count - 1] + HOUR - now
    # Never longer than the hour that is counted: one dated ahead of us is no reason to wait more.
    return max(1.0, min(freed, HOUR).total_seconds())
