"""The command line, `iir`; calls system only. Commands are imported when they are used."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from it_incident_response import __version__
from it_incident_response.errors import IncidentResponseError

COMMANDS = {
    "alerts": ("alerts_commands:alerts", "Ingest and list alerts."),
    "approvals": ("approvals_commands:approvals", "Decide on plans that wait for a human."),
    "audit": ("audit_commands:audit", "Read and verify the audit trail."),
    "backup": ("backup_command:backup", "Save the embedded database while it is in use."),
    "restore": ("backup_command:restore", "Put a backup in place; what it allowed is taken back."),
    "changes": ("changes_commands:changes", "Enter and list deploys and other changes."),
    "config": ("config_commands:config", "Show, check and start a configuration."),
    "db": ("db_commands:db", "Size, retention and schema of the database."),
    "demo": ("demo_command:demo", "Play an incident in the simulated world, from alert to fix."),
    "investigate": ("investigate_command:investigate", "Diagnose an exported incident offline."),
    "eval": ("eval_commands:evaluate", "Measure log mining and ranking on labelled data."),
    "incidents": ("incidents_commands:incidents", "List incidents, see why, take over, close."),
    "ops": ("ops_command:ops", "Show what is stuck, in doubt or overdue, and what to do."),
    "policy": ("policy_commands:policy", "Show, check and explain the policy."),
    "rules": ("rules_commands:rules", "List, lint and test the diagnostic rules."),
    "serve": ("serve_command:serve", "Receive alerts and handle incidents, in one process."),
    "silences": ("silences_commands:silences", "Mute alerts at Alertmanager for a while."),
    "worker": ("worker_command:worker", "Handle incidents without receiving any, in a fleet."),
    "simulate": ("simulate_command:simulate", "Run the simulated world for a real Prometheus."),
}
"""Name to `module:object` in this package and the one-line help shown by `iir --help`."""


@dataclass(frozen=True)
class RootOptions:
    """The options given before the command."""

    config_file: Path | None = None
    profile: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    debug: bool = False


class ShownError(click.ClickException):
    """An error of ours as click shows it: message and advice, no traceback."""

    def __init__(self, error: IncidentResponseError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """The exit status that this kind of error has."""
        return self.error.exit_code


class LazyGroup(click.Group):
    """Imports a command only when it is run, so that `iir --help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry[0].partition(":")
        command = getattr(import_module(f"it_incident_response.cli.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; show our own errors without a traceback unless `--debug`."""
        try:
            return super().invoke(ctx)
        except IncidentResponseError as error:
            if isinstance(ctx.obj, RootOptions) and ctx.obj.debug:
                raise
            raise ShownError(error) from error


def _parse_overrides(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    overrides = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE, for example server.port=9095")
        overrides[key.strip()] = text
    return overrides


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="IIR_CONFIG",
    help="Default: iir.yaml; with real data also config/real_integration_config.yaml.",
)
@click.option("--profile", envvar="IIR_PROFILE", help="One of `iir config profiles`.")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_overrides,
    help="Override one setting, for example --set server.port=9095; repeatable.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and debug logs.")
@click.version_option(__version__, prog_name="iir")
@click.pass_context
def cli(
    ctx: click.Context,
    config_file: Path | None,
    profile: str | None,
    overrides: dict[str, str],
    debug: bool,
) -> None:
    """From a firing alert to a verified fix: detect, explain, ask, act, check, record.

    Start with `iir demo`. Shell completion: `eval "$(_IIR_COMPLETE=bash_source iir)"`
    (or zsh_source, fish_source).
    """
    ctx.obj = RootOptions(config_file, profile, overrides, debug)


def main() -> None:
    """Run `iir`."""
    cli(prog_name="iir")
