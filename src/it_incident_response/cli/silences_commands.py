"""`iir silences`: mute alerts at the alerting system for a while."""

import getpass
import re
from datetime import timedelta

import click

from it_incident_response.cli.output import clean, json_option, print_json, print_table, when
from it_incident_response.cli.runtime import open_runtime, run_async
from it_incident_response.errors import ConfigError, InputRejected
from it_incident_response.ports import Matcher, Silencer

_MATCHER = re.compile(r"\s*([^\s=!~\"{},]+)\s*(=~|!~|!=|=)(.*)", re.DOTALL)
"""The first operator counts: what follows is the value, whatever it contains."""


def parse_matcher(text: str) -> Matcher:
    """Return the matcher that `name=value`, `name!=value`, `name=~regex` or `name!~regex` means."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise InputRejected(f"{text!r} is not a matcher", hint="write it as instance=web-1")
    name, operator, value = found.groups()
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    is_equal = not operator.startswith("!")
    return Matcher(name=name, value=value, is_regex=operator.endswith("~"), is_equal=is_equal)


def require_silencer(silencer: Silencer | None) -> Silencer:
    """Return it, or say how to configure one."""
    if silencer is None:
        raise ConfigError(
            "no system that can silence alerts is configured",
            hint="set infrastructure.monitoring.prometheus.alert_manager_url "
            "and ports.silences: alertmanager",
        )
    return silencer


@click.group()
def silences() -> None:
    """Mute alerts at Alertmanager for a while."""


@silences.command("list")
@json_option
@click.pass_context
@run_async
async def list_(ctx: click.Context, as_json: bool) -> None:
    """List active and pending silences."""
    async with open_runtime(ctx) as runtime:
        found = await require_silencer(runtime.silencer).silences()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            silence.id,
            silence.state,
            when(silence.ends_at),
            clean(silence.created_by, 30),
            ", ".join(f"{m.name} {clean(m.value, 40)}" for m in silence.matchers),
            clean(silence.comment, 60),
        )
        for silence in found
    ]
    print_table("", ("id", "state", "until", "by", "matchers", "comment"), rows)


@silences.command()
@click.argument("matchers", nargs=-1, required=True)
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(1, 60 * 24 * 30))
@click.option("--comment", required=True, help="Why; shown to everybody who wonders.")
@click.option("--by", default=getpass.getuser, show_default="you")
@click.pass_context
@run_async
async def create(
    ctx: click.Context, matchers: tuple[str, ...], minutes: int, comment: str, by: str
) -> None:
    """Mute alerts whose labels match all MATCHERS, such as alertname=DiskFull instance=web-1."""
    parsed = [parse_matcher(text) for text in matchers]
    async with open_runtime(ctx) as runtime:
        silencer = require_silencer(runtime.silencer)
        until = runtime.clock.now() + timedelta(minutes=minutes)
        silence_id = await silencer.silence(parsed, until=until, author=by, comment=comment)
        await runtime.desk.record("silence.created", by, f"silence {silence_id}: {comment}")
    click.echo(f"{silence_id} until {when(until)}")


@silences.command()
@click.argument("silence_id")
@click.option("--by", default=getpass.getuser, show_default="you")
@click.pass_context
@run_async
async def expire(ctx: click.Context, silence_id: str, by: str) -> None:
    """End a silence now."""
    async with open_runtime(ctx) as runtime:
        await require_silencer(runtime.silencer).expire_silence(silence_id)
        await runtime.desk.record("silence.expired", by, f"silence {silence_id} ended")
    click.echo(f"{silence_id} ended")
