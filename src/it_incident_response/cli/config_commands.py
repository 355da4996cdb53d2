"""`iir config`: show, check and start a configuration."""

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import (
    clean,
    json_option,
    print_json,
    print_table,
)
from it_incident_response.cli.runtime import load_config, run_async
from it_incident_response.errors import ConfigError

if TYPE_CHECKING:
    from it_incident_response.cli.config_checks import Checked

USED_BUT_BROKEN = 6
"""Exit code of `check` if something that is used does not work."""


@click.group()
def config() -> None:
    """Show, check and start a configuration."""


@config.command()
@click.option("--changed", is_flag=True, help="Leave out what has its default.")
@json_option
@click.pass_context
def show(ctx: click.Context, changed: bool, as_json: bool) -> None:
    """Show every setting, where it comes from, and no secret."""
    from it_incident_response.config.display import shown_settings

    loaded = load_config(ctx)
    rows = [row for row in shown_settings(loaded) if not (changed and row.origin == "default")]
    if as_json:
        print_json(
            {
                "profile": loaded.profile,
                "files": [str(path) for path in loaded.files],
                "settings": {row.key: {"value": row.value, "origin": row.origin} for row in rows},
                "warnings": list(loaded.warnings),
            }
        )
        return
    _show_sources(loaded.profile, loaded.files)
    table = [(row.key, _text(row.value), row.origin) for row in rows]
    print_table("", ("setting", "value", "from"), table)
    _warn(loaded.warnings)


@config.command()
@click.option(
    "--within",
    "budget_s",
    type=click.FloatRange(min=0.1, max=300),
    default=5.0,
    show_default=True,
    help="Seconds that each system has to answer.",
)
@json_option
@click.pass_context
@run_async
async def check(ctx: click.Context, budget_s: float, as_json: bool) -> None:
    """Connect to everything that is configured; change nothing.

    Exits with 0 only if all that is used works; what is configured but not used only warns.
    """
    from it_incident_response.cli.config_checks import check_all
    from it_incident_response.config import ConfigProblems

    try:
        loaded = load_config(ctx)
    except ConfigProblems as error:
        if as_json:
            print_json({"ok": False, "problems": [p._asdict() for p in error.problems]})
            ctx.exit(error.exit_code)
        raise
    checked = await check_all(loaded.settings, budget_s)
    is_ok = not any(row.is_failure for row in checked)
    if as_json:
        systems = [
            {
                "system": row.system,
                "where": row.where,
                "used_for": row.used_for,
                **row.reading.model_dump(mode="json"),
            }
            for row in checked
        ]
        print_json(
            {"ok": is_ok, "problems": [], "systems": systems, "warnings": list(loaded.warnings)}
        )
    else:
        _show_checked(loaded.profile, loaded.files, checked)
        _warn(loaded.warnings)
        click.echo("all that is used works" if is_ok else "something that is used does not work")
    ctx.exit(0 if is_ok else USED_BUT_BROKEN)


def _show_checked(profile: str, paths: tuple[Path, ...], checked: "list[Checked]") -> None:
    _show_sources(profile, paths)
    rows = []
    for row in checked:
        reading = row.reading
        latency = "-" if reading.latency_s is None else f"{reading.latency_s * 1000:.0f} ms"
        version, works = reading.version or "-", "yes" if reading.is_working else "NO"
        rows.append((row.system, row.used_for or "-", works, version, latency, row.where))
    print_table("", ("system", "used for", "reachable", "version", "latency", "where"), rows)
    for row in checked:
        if row.reading.wrong is not None:
            level = "error" if row.is_failure else "warning, not used"
            click.echo(f"{level}: {row.system}: {clean(row.reading.wrong)}")
            click.echo(f"  to mend it: {clean(row.reading.mend or 'see above')}")


@config.command()
@json_option
@click.pass_context
def profiles(ctx: click.Context, as_json: bool) -> None:
    """List the shipped profiles: the simulated default and four roll-out phases."""
    from it_incident_response.config.profiles import profile, profile_names

    found = [profile(name, "command line") for name in profile_names()]
    if as_json:
        print_json([{"name": item.name, "summary": item.summary} for item in found])
        return
    print_table("", ("profile", "what it does"), [(item.name, item.summary) for item in found])
    click.echo("use one with: iir --profile NAME ..., or IIR_PROFILE=NAME")


@config.command()
@click.argument(
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("iir.yaml"),
)
@json_option
def init(path: Path, as_json: bool) -> None:
    """Write a commented file to start from; an existing file is never overwritten."""
    text = (files("it_incident_response.config") / "starter.yaml").read_bytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It may come to hold secrets: for the owner only, from the first moment.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists and is left as it is", hint="name another: iir config init PATH"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    if as_json:
        print_json({"written": str(path)})
        return
    option = "" if path == Path("iir.yaml") else f"--config {path} "
    click.echo(f"wrote {path}; edit it, then: iir {option}config check")


def _show_sources(profile: str, paths: tuple[Path, ...]) -> None:
    read = ", ".join(clean(path) for path in paths) or "none"
    click.echo(f"profile: {profile}; files: {read}")


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"warning: {clean(warning)}", err=True)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict) and "hosts" in value:
        return f"{len(value['hosts'])} hosts"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
