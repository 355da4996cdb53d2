"""`iir approvals`: see what waits for a human, and decide."""

import getpass
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import ago, clean, json_option, print_json, print_table, when
from it_incident_response.cli.runtime import open_runtime, run_async
from it_incident_response.domain.approval import Approval, ApprovalStatus

if TYPE_CHECKING:
    from it_incident_response.cli.approval_view import ApprovalView
    from it_incident_response.system import Runtime

STATUSES = tuple(status.value for status in ApprovalStatus)
LIST_MAX = 200


def os_user() -> str:
    """Return the name of whoever runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("the system does not know who you are: give --by NAME") from None


def through(by: str) -> str:
    """Return how the decision came in; the record keeps who really sat at the keyboard."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "an unknown user"
    return "cli" if by == user else f"cli, run by {user}"


@click.group()
def approvals() -> None:
    """Decide on plans that wait for a human."""


@approvals.command("list")
@click.option(
    "--status",
    type=click.Choice((*STATUSES, "all")),
    default="pending",
    show_default=True,
    help="Which requests to list.",
)
@json_option
@click.pass_context
@run_async
async def list_(ctx: click.Context, status: str, as_json: bool) -> None:
    """List requests for approval, newest first."""
    wanted = None if status == "all" else ApprovalStatus(status)
    async with open_runtime(ctx) as runtime:
        found = list(await runtime.store.approvals(status=wanted))[:LIST_MAX]
        now = runtime.clock.now()
        rows = [] if as_json else [await _row(runtime, approval) for approval in found]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("Nothing waits for approval." if status == "pending" else "There is none.")
        return
    lines = [
        (a.id, a.status, ago(a.requested_at, now), _time_left(a, now), _told(a), *row)
        for a, row in zip(found, rows, strict=True)
    ]
    print_table("", ("id", "status", "age", "expires", "told", "incident", "what"), lines)


@approvals.command()
@click.argument("approval")
@json_option
@click.pass_context
@run_async
async def show(ctx: click.Context, approval: str, as_json: bool) -> None:
    """Show all that is needed to decide on APPROVAL (an id, or the beginning of one)."""
    async with open_runtime(ctx) as runtime:
        view = await _view(runtime, approval)
    _print_view(view, as_json)


@approvals.command()
@click.argument("approval")
@click.option("--reason", help="Why, for the record.")
@click.option("--by", default=os_user, show_default="you", help="Who approves.")
@click.option("--digest", help="Approve only if the plan has this digest (or beginning of one).")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@json_option
@click.pass_context
@run_async
async def approve(ctx: click.Context, /, **given: Any) -> None:
    """Let the plan of APPROVAL run, once, exactly as it is shown."""
    async with open_runtime(ctx) as runtime:
        view = await _view(runtime, given["approval"])
        _require_digest(view.approval, given["digest"])
        if not given["yes"]:
            _print_view(view, as_json=False)
            click.confirm("Approve this plan?", abort=True, err=True)
        decided = await runtime.approvals.approve(
            view.approval.id,
            given["by"],
            through(given["by"]),
            reason=given["reason"],
            plan_digest=view.plan.digest,
        )
    _print_decision(decided, given["as_json"])


@approvals.command()
@click.argument("approval")
@click.option("--reason", help="Why, for the record.")
@click.option("--by", default=os_user, show_default="you", help="Who rejects.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@json_option
@click.pass_context
@run_async
async def reject(ctx: click.Context, /, **given: Any) -> None:
    """Keep the plan of APPROVAL from running; the incident is handed to a human."""
    async with open_runtime(ctx) as runtime:
        found = await runtime.store.approval(given["approval"])
        if not given["yes"]:
            click.confirm(f"Reject the plan of approval {found.id}?", abort=True, err=True)
        decided = await runtime.approvals.reject(
            found.id, given["by"], through(given["by"]), reason=given["reason"]
        )
    _print_decision(decided, given["as_json"])


def _require_digest(approval: Approval, wanted: str | None) -> None:
    if wanted is not None and (len(wanted) < 8 or not approval.plan_digest.startswith(wanted)):
        raise click.BadParameter(
            f"the plan has the digest {approval.plan_digest}: look at it again", param_hint="digest"
        )


async def _row(runtime: "Runtime", approval: Approval) -> tuple[str, str]:
    incident = await runtime.store.incident(approval.incident_id)
    plan = await runtime.store.plan(approval.plan_id)
    what = "; ".join(clean(step.description, 80) for step in plan.steps[:3])
    return incident.key, clean(what, 160)


async def _view(runtime: "Runtime", approval_id: str) -> "ApprovalView":
    from it_incident_response.cli.approval_view import approval_view

    return await approval_view(runtime.store, approval_id)


def _print_view(view: "ApprovalView", as_json: bool) -> None:
    from it_incident_response.cli.approval_view import show_approval

    if as_json:
        print_json({**view.model_dump(mode="json"), "digest": view.plan.digest})
    else:
        show_approval(view)


def _time_left(approval: Approval, now: Any) -> str:
    if approval.status is not ApprovalStatus.PENDING:
        return "-"
    left = approval.expires_at - now
    return f"in {ago(now, approval.expires_at)}" if left.total_seconds() > 0 else "expired"


def _told(approval: Approval) -> str:
    from it_incident_response.workflow.standing import told_so_far

    return told_so_far(approval.notices) or "-"


def _print_decision(approval: Approval, as_json: bool) -> None:
    if as_json:
        print_json(approval)
        return
    who = clean(approval.decided_by or "", 60)
    click.echo(f"{approval.id}: {approval.status} by {who} at {when(approval.decided_at)}")
