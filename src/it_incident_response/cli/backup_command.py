"""`iir backup` and `iir restore`: the embedded database, saved while in use, put back safely."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from it_incident_response import __version__
from it_incident_response.cli.approvals_commands import os_user
from it_incident_response.cli.output import clean, json_option, print_json, when
from it_incident_response.cli.runtime import load_config, run_async

if TYPE_CHECKING:
    from it_incident_response.storage.backup import Restored


class Progress:
    """Shows on standard error how far the work is, if a person looks on."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._last: tuple[str, int] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show a new line for each kind of work, and each tenth of it."""
        tenth = 10 if total <= 0 else done * 10 // total
        if not self._is_shown or (what, tenth) == self._last:
            return
        self._last = (what, tenth)
        click.echo(f"{what}: {tenth * 10} %", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_context
@run_async
async def backup(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Save the embedded database into a new FILE; `iir serve` may go on meanwhile.

    The whole record is in it (incidents, approvals, journal, audit trail), and nothing else: no
    configuration, no secrets, and not the engine's own file, which is rebuilt from the record.
    """
    from it_incident_response.ports import SystemClock
    from it_incident_response.storage.backup import back_up

    url = load_config(ctx).settings.database_url.get_secret_value()
    report = Progress(is_shown=sys.stderr.isatty())
    manifest = await back_up(url, file, clock=SystemClock(), version=__version__, report=report)
    if as_json:
        print_json({"file": str(file), **manifest.model_dump(mode="json")})
        return
    counts = manifest.counts
    click.echo(
        f"saved {counts.get('incidents', 0)} incidents and {manifest.audit_events} audit events "
        f"as of {when(manifest.taken_at)} in {clean(file)}"
    )
    click.echo("not in it: the configuration, secrets, and the engine's file (it is rebuilt)")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--mark-only",
    is_flag=True,
    help="The database was restored by other means (pg_restore): only take back what it allows.",
)
@click.option(
    "--backup-time",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    help="With --mark-only: when that backup was taken, UTC; default: the last event on record.",
)
@click.option("--by", default=os_user, show_default="you", help="Who does this, for the record.")
@json_option
@click.pass_context
@run_async
async def restore(
    ctx: click.Context,
    file: Path | None,
    mark_only: bool,
    backup_time: datetime | None,
    by: str,
    as_json: bool,
) -> None:
    """Put the record in FILE (from `iir backup`) in the place of the embedded database.

    Stop `iir serve` first. The database that was there is kept beside it. The record is older than
    reality then: every approval that was not carried out is voided, every step that had begun is in
    doubt, and every open incident is handed to a human, to be diagnosed afresh.
    """
    from it_incident_response.ports import SystemClock
    from it_incident_response.storage import backup as work

    if (file is None) is not mark_only or (backup_time and not mark_only):
        raise click.UsageError("give a FILE to restore from, or --mark-only [--backup-time TIME]")
    url, clock = load_config(ctx).settings.database_url.get_secret_value(), SystemClock()
    report = Progress(is_shown=sys.stderr.isatty())
    if file is None:
        taken_at = backup_time.replace(tzinfo=UTC) if backup_time else None
        done = await work.mark_only(url, clock=clock, by=by, taken_at=taken_at, report=report)
    else:
        done = await work.restore(url, file, clock=clock, by=by, report=report)
    if as_json:
        print_json(done)
        return
    _show(done)


def _show(done: "Restored") -> None:
    marked = done.marked
    click.echo(f"the record is as of {when(done.taken_at)}; what was done since is not in it")
    if done.replaced:
        click.echo(f"what was there before is kept: {clean(done.replaced)}")
    click.echo(
        f"taken back: {marked.approvals_voided} approvals voided, {marked.steps_in_doubt} steps in "
        f"doubt, {marked.incidents_handed_over} open incidents handed to a human"
    )
    click.echo("next: start `iir serve`; give each incident back: `iir incidents rediagnose KEY`")
