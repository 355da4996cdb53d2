"""`iir incidents`: list them, see why, take over, close."""

from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.control_commands import (
    by_option,
    cancel,
    rediagnose,
    take_over,
    wake,
)
from it_incident_response.cli.evidence_command import evidence
from it_incident_response.cli.export_command import export
from it_incident_response.cli.output import (
    ago,
    clean,
    console,
    json_option,
    print_json,
    print_table,
    when,
)
from it_incident_response.cli.runtime import open_runtime, run_async

if TYPE_CHECKING:
    from it_incident_response.system import Runtime

STATUSES = ("investigating", "identified", "resolving", "resolved", "closed")
SEVERITIES = ("low", "medium", "high", "critical")


@click.group()
def incidents() -> None:
    """List incidents, see why, take over, close."""


for command in (evidence, export, take_over, cancel, rediagnose, wake):
    incidents.add_command(command)


@incidents.command("list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES))
@click.option("--severity", "severities", multiple=True, type=click.Choice(SEVERITIES))
@click.option("--open", "only_open", is_flag=True, help="Leave out resolved and closed ones.")
@click.option("--text", help="Words in title, description, key or affected systems.")
@click.option("--assignee")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@json_option
@click.pass_context
@run_async
async def list_(ctx: click.Context, /, **given: Any) -> None:
    """List incidents, newest first."""
    from it_incident_response.ports import IncidentFilter

    statuses = given["statuses"] or (STATUSES[:3] if given["only_open"] else ())
    async with open_runtime(ctx) as runtime:
        found = await runtime.store.incidents(
            IncidentFilter(
                statuses=tuple(statuses),
                severities=tuple(given["severities"]),
                text=given["text"],
                assignee=given["assignee"],
                limit=given["limit"],
            )
        )
        now = runtime.clock.now()
    if given["as_json"]:
        print_json([incident.model_dump(mode="json", exclude={"footprint"}) for incident in found])
        return
    if not found:
        click.echo("No incidents. `iir demo` plays one; `iir serve` waits for alerts.")
        return
    rows = [
        (
            i.key,
            i.severity,
            i.status,
            ago(i.opened_at, now),
            f"{i.firing_alerts}/{i.total_alerts}",
            i.assignee or "-",
            clean(i.title, 60),
            clean(i.escalation or i.halt or "", 60),
        )
        for i in found
    ]
    columns = ("key", "severity", "status", "age", "firing", "assignee", "title", "needs a human")
    print_table("", columns, rows)


@incidents.command()
@click.argument("incident")
@json_option
@click.pass_context
@run_async
async def show(ctx: click.Context, incident: str, as_json: bool) -> None:
    """Show everything known about INCIDENT (a key such as INC-000123, or an id)."""
    from it_incident_response.cli.incident_view import show_incident
    from it_incident_response.system.overview import view_of

    async with open_runtime(ctx) as runtime:
        view = await view_of(runtime, incident)
    if as_json:
        print_json(view)
    else:
        show_incident(view)


@incidents.command()
@click.argument("incident")
@json_option
@click.pass_context
@run_async
async def timeline(ctx: click.Context, incident: str, as_json: bool) -> None:
    """Show what happened to INCIDENT, in order, and where it stands now."""
    from it_incident_response.cli.incident_view import show_now
    from it_incident_response.system.overview import view_of
    from it_incident_response.system.views import timeline as events_of

    async with open_runtime(ctx) as runtime:
        view = await view_of(runtime, incident)
        events = await events_of(runtime.store, view.incident.id)
    if as_json:
        print_json(events)
        return
    console().print(f"{view.incident.key}  {clean(view.incident.title)}")
    for event in events:
        console().print(
            f"{when(event.at)}  {clean(event.actor, 24):<24} "
            f"{clean(event.kind, 28):<28} {clean(event.summary)}"
        )
    show_now(view)


@incidents.command()
@click.argument("incident")
@click.argument("text")
@by_option
@click.pass_context
@run_async
async def note(ctx: click.Context, incident: str, text: str, by: str) -> None:
    """Add a note to INCIDENT's timeline."""
    async with open_runtime(ctx) as runtime:
        found = await runtime.desk.note(incident, text, by=by)
    click.echo(f"{found.key}: noted")


@incidents.command()
@click.argument("incident")
@click.argument("person")
@by_option
@click.pass_context
@run_async
async def assign(ctx: click.Context, incident: str, person: str, by: str) -> None:
    """Give INCIDENT to PERSON."""
    async with open_runtime(ctx) as runtime:
        found = await runtime.desk.assign(incident, person, by=by)
    click.echo(f"{found.key}: assigned to {clean(found.assignee)}")


def _status_command(name: str, status: str, text: str) -> None:
    @incidents.command(name, help=text)
    @click.argument("incident")
    @click.option("--reason", default="", help="Why, for the timeline.")
    @by_option
    @click.pass_context
    @run_async
    async def change(ctx: click.Context, incident: str, reason: str, by: str) -> None:
        async with open_runtime(ctx) as runtime:
            found = await _change(runtime, incident, status, reason, by)
        click.echo(f"{found.key}: {found.status}")


async def _change(runtime: "Runtime", incident: str, status: str, reason: str, by: str) -> Any:
    from it_incident_response.domain.incident import IncidentStatus

    return await runtime.desk.set_status(incident, IncidentStatus(status), by=by, notes=reason)


_status_command("resolve", "resolved", "Mark INCIDENT resolved by hand.")
_status_command("close", "closed", "Close INCIDENT for good.")
_status_command("reopen", "investigating", "Reopen INCIDENT; an open one is diagnosed afresh.")


@incidents.command()
@click.argument("incident")
@click.argument("step", type=click.IntRange(min=1))
@click.option("--took-effect/--no-effect", required=True, help="What you found on the target.")
@click.option("--reason", required=True, help="How you know, for the audit trail.")
@by_option
@click.pass_context
@run_async
async def settle(
    ctx: click.Context, incident: str, step: int, took_effect: bool, reason: str, by: str
) -> None:
    """Say how a STEP of INCIDENT ended that was in doubt after a crash or a lost connection."""
    from it_incident_response.domain.execution import StepState
    from it_incident_response.errors import NotFound

    async with open_runtime(ctx) as runtime:
        found = await runtime.store.incident(incident)
        rows = await runtime.store.executions_of(found.id)
        row = next((r for r in rows if r.step == step and r.state is StepState.IN_DOUBT), None)
        if row is None:
            raise NotFound(f"{found.key} has no step {step} in doubt")
        settled = await runtime.gate.settle(
            found.id, row.key, took_effect=took_effect, by=by, reason=reason
        )
    click.echo(f"{found.key} step {step}: {settled.state}")
