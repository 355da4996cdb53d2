"""`iir db`: the size of the record, its retention and its schema."""

from datetime import timedelta

import click

from it_incident_response.cli.output import json_option, print_json
from it_incident_response.cli.runtime import open_runtime, run_async


@click.group()
def db() -> None:
    """Size, retention and schema of the database."""


@db.command()
@click.option("--older-than-days", type=click.FloatRange(min=0), help="Default: as configured.")
@click.option("--dry-run", is_flag=True, help="Count what would go; remove nothing.")
@json_option
@click.pass_context
@run_async
async def prune(
    ctx: click.Context, older_than_days: float | None, dry_run: bool, as_json: bool
) -> None:
    """Remove ended incidents that are too old, and the oldest beyond the size limit."""
    async with open_runtime(ctx) as runtime:
        retention = runtime.settings.store.retention
        days = retention.days if older_than_days is None else older_than_days
        now = runtime.clock.now()
        report = await runtime.store.prune(
            older_than=now - timedelta(days=days),
            max_bytes=retention.max_size_bytes,
            now=now,
            dry_run=dry_run,
        )
    if as_json:
        print_json(report)
        return
    verb = "would remove" if dry_run else "removed"
    click.echo(
        f"{verb} {report.incidents} incidents, {report.alerts} alerts, {report.evidence} pieces "
        f"of evidence; {report.bytes_before / 1e6:.1f} MB before, "
        f"{report.bytes_after / 1e6:.1f} MB after"
    )


@db.command()
@json_option
@click.pass_context
@run_async
async def stats(ctx: click.Context, as_json: bool) -> None:
    """Show how much is stored."""
    async with open_runtime(ctx) as runtime:
        counts = await runtime.store.stats()
    if as_json:
        print_json(counts)
        return
    for name, count in sorted(counts.items()):
        click.echo(f"{name:<24} {count:>12,}")
