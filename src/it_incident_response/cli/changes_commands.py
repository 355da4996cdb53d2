"""`iir changes`: enter what was deployed or reconfigured, and list what is known."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import (
    ago,
    clean,
    json_option,
    print_json,
    print_table,
)
from it_incident_response.cli.runtime import open_runtime, run_async

if TYPE_CHECKING:
    from collections.abc import Mapping

    from it_incident_response.domain.evidence import Change


@click.group()
def changes() -> None:
    """Enter and list deploys and other changes."""


@changes.command()
@click.argument("summary")
@click.option("--what", default="deploy", show_default=True, help="deploy, config, flag...")
@click.option("--service", help="Which service was changed.")
@click.option("--host", help="Which host, where it was no service.")
@click.option("--version", help="Commit, tag or version that was brought in.")
@click.option("--at", help="RFC 3339 time with its zone; default: now.")
@click.option("--author", help="Who did it.")
@click.option("--link", help="Where more is written about it.")
@json_option
@click.pass_context
@run_async
async def add(ctx: click.Context, /, summary: str, as_json: bool, **given: str | None) -> None:
    """Enter a change, such as: iir changes add 'checkout 1.4.2' --service checkout."""
    from it_incident_response.integrations.change_payloads import ServiceNames, read_one

    item = {"summary": summary, **{name: text for name, text in given.items() if text}}
    async with open_runtime(ctx) as runtime:
        now = runtime.clock.now()
        names = ServiceNames(runtime.settings.infrastructure.changes.services)
        change = read_one(item, now, names).model_copy(update={"source": "cli"})
        await runtime.store.add_changes([change], now)
    if as_json:
        print_json(change)
        return
    click.echo(f"entered: {clean(change.summary)} ({change.change_id})")


@changes.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@click.pass_context
@run_async
async def list_(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List the changes that were posted or entered, the last made first."""
    async with open_runtime(ctx) as runtime:
        found = await runtime.store.recent_changes(limit)
        now = runtime.clock.now()
    if as_json:
        print_json([_plain(change) for change in found])
        return
    if not found:
        click.echo("No changes yet. See docs/changes.md for how systems tell them.")
        return
    columns = ("made", "what", "affects", "version", "by", "summary", "told by")
    print_table("", columns, [_row(change, now) for change in found])


def _plain(change: "Change") -> "Mapping[str, Any]":
    return change.model_dump(mode="json")


def _row(change: "Change", now: datetime) -> tuple[str, ...]:
    return (
        ago(change.at, now),
        change.what,
        clean(change.entity or "-", 60),
        clean(change.version or "-", 16),
        clean(change.author or "-", 30),
        clean(change.summary, 100),
        change.source,
    )
