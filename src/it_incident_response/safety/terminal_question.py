"""The guide's synchronous question: asked on the terminal, or recorded and waited for."""

import asyncio
import logging
import sys
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from it_incident_response.domain.action import ActionRecord, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.errors import ActionError, InputRejected
from it_incident_response.safety.site import BY_HAND

log = logging.getLogger(__name__)

T = TypeVar("T")

STEPS_MAX = 50
TEXT_MAX = 1000


def ask_on_terminal(question: str) -> bool:
    """Return what the person at the terminal answers; False if there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        log.warning("approval denied: there is no terminal to ask on, and no store to record it in")
        return False
    try:
        return click.confirm(question, default=False, err=True)
    except click.Abort:
        return False


def run_here(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from synchronous code; refuses inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise ActionError(
        "request_approval is the synchronous form and cannot wait inside an event loop",
        hint="there, use `await approvals.request(plan, by)` and `await approvals.wait_for(id)`",
    )


def question_about(incident: Mapping[str, Any], actions: Sequence[str]) -> str:
    """Return the question as one text that cannot move the cursor or flood the screen."""
    title = harmless(str(incident.get("title", incident.get("id", "unnamed incident"))))
    lines = [f"Incident: {title}", *(f"  {n}. {harmless(a)}" for n, a in enumerate(actions, 1))]
    return "\n".join([*lines, "Approve these actions?"])


def harmless(text: str) -> str:
    """Return bounded text without control characters and bidirectional overrides."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:TEXT_MAX])
    return f"{shown}..." if len(text) > TEXT_MAX else shown


def checked_actions(actions: Sequence[str]) -> tuple[str, ...]:
    """Return the actions as given; raises `InputRejected` if there are none or too many."""
    if not actions or len(actions) > STEPS_MAX:
        raise InputRejected(
            f"an approval is asked for 1 to {STEPS_MAX} actions, not {len(actions)}"
        )
    if any(not isinstance(a, str) or not a.strip() or len(a) > TEXT_MAX for a in actions):
        raise InputRejected(f"each action is a text of 1 to {TEXT_MAX} characters")
    return tuple(actions)


def plan_by_hand(incident_id: IncidentId, actions: Sequence[str], now: datetime) -> Plan:
    """Return a plan of described steps, which the caller carries out and no executor ever does."""
    steps = tuple(
        PlanStep(
            number=number,
            action=ActionRecord(kind="by_hand", parameters={"text": text}),
            executor=BY_HAND,
            target=Entity(EntityKind.SERVICE, "by hand"),
            description=text,
            risk=Risk.MEDIUM,
            reversibility=Reversibility.IRREVERSIBLE,
        )
        for number, text in enumerate(checked_actions(actions), 1)
    )
    return Plan(
        id=new_id(now),
        incident_id=incident_id,
        diagnosis_id="",
        made_at=now,
        reason="Asked through ApprovalManager.request_approval.",
        steps=steps,
    )
