"""`iir alerts`: take alerts in by hand, and list what is known."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from it_incident_response.cli.output import (
    ago,
    clean,
    console,
    json_option,
    print_json,
    print_table,
)
from it_incident_response.cli.runtime import open_runtime, run_async
from it_incident_response.errors import InputRejected, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from it_incident_response.ports import RejectedItem

MAX_BODY_BYTES = 50_000_000
LINE_SHOWN = 2000
"""Characters of one line of a rejected body; `--json` has all that is kept."""


@click.group()
def alerts() -> None:
    """Ingest and list alerts."""


@alerts.command("list")
@click.option("--firing", is_flag=True, help="Leave out resolved ones.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@click.pass_context
@run_async
async def list_(ctx: click.Context, firing: bool, limit: int, as_json: bool) -> None:
    """List alerts, the most recent first, with the incident each belongs to."""
    async with open_runtime(ctx) as runtime:
        known = await runtime.store.alerts(firing_only=firing, limit=limit)
        keys = {
            each.incident_id: (await runtime.store.incident(each.incident_id)).key
            for each in {k.incident_id: k for k in known}.values()
        }
        now = runtime.clock.now()
    if as_json:
        print_json([k.model_dump(mode="json") | {"incident": keys[k.incident_id]} for k in known])
        return
    if not known:
        click.echo("No alerts yet. `iir alerts ingest FILE` takes some in by hand.")
        return
    rows = [
        (
            k.alert.status,
            k.alert.severity,
            clean(k.alert.name, 48),
            clean(", ".join(e.name for e in k.alert.entities[:3]), 60),
            ago(k.alert.starts_at, now),
            keys[k.incident_id],
            k.alert.fingerprint,
        )
        for k in known
    ]
    columns = ("status", "severity", "alert", "affects", "since", "incident", "fingerprint")
    print_table("", columns, rows)


@alerts.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@json_option
@click.pass_context
@run_async
async def ingest(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Take in alerts from FILE, or from standard input with `-`.

    Understands an Alertmanager webhook body, a list of alerts (labels, annotations, startsAt), an
    Alertmanager v2 list, or one alert a line. A second ingestion of the same changes nothing.
    """
    body = _read(file)
    async with open_runtime(ctx) as runtime:
        count = len(runtime.readers["alerts"](body, runtime.clock.now()))
        await runtime.store.accept([("alerts", body)], runtime.clock.now())
        touched = await runtime.take_in()
    if as_json:
        print_json({"alerts": count, "incidents": [i.key for i in touched]})
        return
    keys = ", ".join(f"{i.key} ({i.firing_alerts} firing)" for i in touched) or "no incident"
    click.echo(f"{count} alerts taken in: {keys}")


@alerts.command()
@click.option("--show", "item", type=int, metavar="ID", help="Print what is kept of one body.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@click.pass_context
@run_async
async def rejected(ctx: click.Context, item: int | None, limit: int, as_json: bool) -> None:
    """List bodies that nobody could read, the last first, and why; retention removes them."""
    async with open_runtime(ctx) as runtime:
        found = list(await runtime.store.rejected_items(10_000 if item is not None else limit))
        now = runtime.clock.now()
    if item is not None:
        found = [each for each in found if each.id == item]
        if not found:
            raise NotFound(f"there is no rejected body {item}", hint="see `iir alerts rejected`")
    if as_json:
        print_json([each.model_dump(exclude={"body"}) | {"body": _text(each)} for each in found])
    elif item is not None:
        for line in _text(found[0]).splitlines():
            console().print(clean(line, LINE_SHOWN))
    else:
        _list_rejected(found, now)


def _list_rejected(found: "Sequence[RejectedItem]", now: "datetime") -> None:
    if not found:
        click.echo("No body was rejected.")
        return
    rows = [
        (each.id, each.source, ago(each.rejected_at, now), each.size_bytes, clean(each.reason, 160))
        for each in found
    ]
    print_table("", ("id", "source", "rejected", "bytes", "why"), rows)
    click.echo("What is kept of one: iir alerts rejected --show ID")


def _text(item: "RejectedItem") -> str:
    return item.body.decode("utf-8", "replace")


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return _bounded(sys.stdin.buffer)
    try:
        with file.open("rb") as stream:
            return _bounded(stream)
    except OSError as error:
        raise InputRejected(f"cannot read {file}: {error.strerror}") from error


def _bounded(stream: BinaryIO) -> bytes:
    body = stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise InputRejected(
            f"the input is larger than {MAX_BODY_BYTES // 1_000_000} MB",
            hint="split it: one body may hold many alerts, several may be ingested in a row",
        )
    return body
