"""`iir ops`: what needs an operator now, and the command that helps."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.output import ago, clean, console, json_option, print_json
from it_incident_response.cli.runtime import open_runtime, run_async

if TYPE_CHECKING:
    from it_incident_response.system.ops import OpsIssue, OpsReport

KINDS = (
    "stuck",
    "in_doubt",
    "overdue",
    "untaken",
    "unfinished",
    "locked",
    "inbox",
    "rejected",
)
FOUND = 10
"""Exit status when `--fail-on` finds something: unlike those of errors."""

_TITLES = {
    "stuck": "Stuck",
    "in_doubt": "In doubt",
    "overdue": "Overdue decisions",
    "untaken": "Handed to a human, and nobody has it",
    "unfinished": "Steps under way",
    "locked": "Locked targets",
    "inbox": "Inbox",
    "rejected": "Rejected bodies",
}


@click.command()
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(KINDS),
    help=f"Exit with {FOUND} if there is something of this kind; repeatable, for monitoring.",
)
@json_option
@click.pass_context
@run_async
async def ops(ctx: click.Context, fail_on: tuple[str, ...], as_json: bool) -> None:
    """Show what is stuck, in doubt or overdue, and what to do about each."""
    from it_incident_response.system.ops import OpsKind
    from it_incident_response.system.overview import ops_of

    async with open_runtime(ctx) as runtime:
        report = await ops_of(runtime)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.of(OpsKind(kind) for kind in fail_on):
        ctx.exit(FOUND)


def _show(report: "OpsReport") -> None:
    out = console()
    for kind in KINDS:
        issues = [issue for issue in report.issues if issue.kind == kind]
        if issues:
            out.print(f"{_TITLES[kind]} ({len(issues)})", style="bold")
        for issue in issues:
            _show_issue(issue, report.at)
    if not report.issues:
        out.print("Nothing is stuck, in doubt or overdue.")
    if not report.is_complete:
        out.print("There is more than is listed here.", style="bold")
    out.print(_counts(report))


def _show_issue(issue: "OpsIssue", now: datetime) -> None:
    age = f"{ago(issue.since, now)}  " if issue.since else ""
    key = f"{clean(issue.incident, 60)}  " if issue.incident else ""
    console().print(f"  {key}{age}{clean(issue.what, 1000)}")
    console().print(f"      {clean(issue.advice, 1000)}", style="cyan")


def _counts(report: "OpsReport") -> str:
    oldest = f", the oldest {ago(report.inbox_since, report.at)}" if report.inbox_since else ""
    inbox = f"{report.inbox_depth} bodies in the inbox{oldest}"
    return (
        f"{report.open_incidents} open incidents, {report.waiting_for_approval} plans waiting "
        f"for a decision, {inbox}."
    )
