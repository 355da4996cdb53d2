"""`iir incidents evidence`: everything that was gathered, with the query that found it."""

from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import clean, console, json_option, print_json, when
from it_incident_response.cli.runtime import open_runtime, run_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from it_incident_response.domain.evidence import Evidence

KINDS = (
    "alert",
    "metric",
    "log_pattern",
    "log_rate",
    "span",
    "change",
    "command_output",
    "gap",
)
QUERY_SHOWN = 300
EXAMPLES_SHOWN = 2


@click.command()
@click.argument("incident")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Repeatable.")
@click.option("--all", "every", is_flag=True, help="Also what earlier diagnoses were made from.")
@json_option
@click.pass_context
@run_async
async def evidence(
    ctx: click.Context, incident: str, kinds: tuple[str, ...], every: bool, as_json: bool
) -> None:
    """Show what was gathered about INCIDENT, and how to ask again."""
    async with open_runtime(ctx) as runtime:
        view = await runtime.incident_view(incident)
    last = set(view.diagnosis.evidence_ids) if view.diagnosis else set()
    gathered = [item for item in view.evidence if every or not last or item.id in last]
    chosen = [item for item in gathered if not kinds or item.finding.kind in kinds]
    if as_json:
        print_json([item.model_dump(mode="json") for item in chosen])
        return
    if not chosen:
        click.echo(
            "Nothing of that kind." if gathered else f"{view.incident.key} was not looked into yet."
        )
        return
    for kind in KINDS:
        _show(kind, [item for item in chosen if item.finding.kind == kind])


def _show(kind: str, items: "Sequence[Evidence]") -> None:
    if not items:
        return
    out = console()
    out.print(f"\n{kind.replace('_', ' ')} ({len(items)})", style="bold")
    telling = [item for item in items if getattr(item.finding, "shape", None) != "normal"]
    if len(telling) < len(items):
        out.print(f"  {len(items) - len(telling)} are normal (--json has them)", style="dim")
    for item in telling:
        partly = "  (in part)" if item.is_partial else ""
        out.print(f"  {when(item.observed_at)}  {clean(item.source, 40)}{partly}")
        out.print(f"    {clean(item.summary, 500)}")
        _show_examples(item.finding)
        if item.query:
            out.print(f"    query: {clean(item.query, QUERY_SHOWN)}", style="dim")
        if item.link:
            out.print(f"    {clean(item.link, QUERY_SHOWN)}", style="dim")


def _show_examples(finding: Any) -> None:
    for example in getattr(finding, "examples", ())[:EXAMPLES_SHOWN]:
        console().print(f"    e.g. {clean(example, 200)}", style="dim")
