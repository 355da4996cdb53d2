"""`iir audit`: read the trail, and prove that nothing in it was altered."""

import click

from it_incident_response.cli.output import clean, console, json_option, print_json, when
from it_incident_response.cli.runtime import open_runtime, run_async


@click.group()
def audit() -> None:
    """Read and verify the audit trail."""


@audit.command("list")
@click.option("--incident", help="Only this incident's events (key or id).")
@click.option("--after", default=0, help="Only events after this sequence number.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 100_000))
@json_option
@click.pass_context
@run_async
async def list_(
    ctx: click.Context, incident: str | None, after: int, limit: int, as_json: bool
) -> None:
    """List audit events, oldest first."""
    async with open_runtime(ctx) as runtime:
        of = (await runtime.store.incident(incident)).id if incident else None
        events = await runtime.store.events(incident_id=of, after=after, limit=limit)
    if as_json:
        print_json(events)
        return
    for event in events:
        console().print(
            f"{event.sequence or 0:>7}  {when(event.at)}  {clean(event.actor, 24):<24} "
            f"{clean(event.kind, 28):<28} {clean(event.summary)}"
        )


@audit.command()
@json_option
@click.pass_context
@run_async
async def verify(ctx: click.Context, as_json: bool) -> None:
    """Recompute the hash chain; exits 1 if any event was altered, removed or reordered."""
    async with open_runtime(ctx) as runtime:
        report = await runtime.store.verify_chain()
    if as_json:
        print_json(report)
    elif report.is_intact:
        click.echo(f"intact: {report.events} events, every hash fits")
    else:
        click.echo(f"BROKEN at event {report.broken_at}: {report.reason}")
    if not report.is_intact:
        raise SystemExit(1)
