"""`iir rules`: what the diagnosis knows; check and test rules of one's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.output import clean, json_option, print_json, print_table
from it_incident_response.cli.runtime import load_config
from it_incident_response.errors import RuleError

if TYPE_CHECKING:
    from it_incident_response.analysis.rule_file import LoadedRules
    from it_incident_response.analysis.rule_model import Rule

paths_argument = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))


@click.group()
def rules() -> None:
    """List, lint and test the diagnostic rules."""


@rules.command("list")
@paths_argument
@json_option
@click.pass_context
def list_(ctx: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """List the rules in use, or those in PATHS (files or folders)."""
    loaded = _load(ctx, paths)
    if as_json:
        print_json(
            {
                "rules": [rule.model_dump(mode="json") for rule in loaded.rules],
                "problems": [str(problem) for problem in loaded.problems],
            }
        )
        return
    rows = [
        (rule.id, rule.kind, f"{rule.confidence:.0%}", _actions(rule), clean(rule.cause, 90))
        for rule in sorted(loaded.rules, key=lambda rule: rule.id)
    ]
    print_table("", ("rule", "kind", "surety", "action", "cause"), rows)
    _warn(loaded.problems)


@rules.command()
@paths_argument
@json_option
@click.pass_context
def lint(ctx: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Check the rules in use, or those in PATHS; says file and line of each mistake.

    Ends with status 2 if there is any.
    """
    loaded = _load(ctx, paths)
    mistakes = [str(problem) for problem in loaded.problems]
    mistakes += _unknown_names(loaded.rules, _all_ids(loaded))
    if as_json:
        print_json({"rules": len(loaded.rules), "mistakes": mistakes})
    else:
        for mistake in mistakes:
            click.echo(clean(mistake, 1000), err=True)
        click.echo(f"{len(loaded.rules)} rules, {len(mistakes)} mistakes")
    if mistakes:
        ctx.exit(RuleError.exit_code)


@rules.command()
@paths_argument
@click.option("--rule", "wanted", help="Only the rule of this id.")
@json_option
@click.pass_context
def test(ctx: click.Context, paths: tuple[Path, ...], wanted: str | None, as_json: bool) -> None:
    """Run the examples of the rules in use, or of those in PATHS.

    A rule whose examples do not come out as written is not loaded; here it is a mistake and the
    command ends with status 2.
    """
    from it_incident_response.analysis.rule_file import run_examples

    loaded = _load(ctx, paths)
    chosen = [rule for rule in loaded.rules if wanted in (None, rule.id)]
    if wanted is not None and not chosen and not loaded.problems:
        raise RuleError(f"there is no rule {wanted!r}", hint="`iir rules list` shows them")
    results = {rule.id: run_examples(rule) for rule in chosen}
    if as_json:
        outcome = {
            rule_id: [{"example": r.number, "matches": r.got, "passes": r.passes} for r in found]
            for rule_id, found in results.items()
        }
        print_json({"rules": outcome, "problems": [str(p) for p in loaded.problems]})
    else:
        for rule_id, found in results.items():
            matching = sum(result.got for result in found)
            click.echo(f"{rule_id}: {matching} match, {len(found) - matching} do not, as written")
        _warn(loaded.problems)
    if loaded.problems:
        ctx.exit(RuleError.exit_code)


def _load(ctx: click.Context, paths: Sequence[Path]) -> "LoadedRules":
    from it_incident_response.analysis.rule_file import load_rules, rule_paths, shipped_paths

    if paths:
        return load_rules([file for path in paths for file in rule_paths(path)])
    folders = load_config(ctx).settings.diagnosis.rules_dirs
    return load_rules([*shipped_paths(), *(f for folder in folders for f in rule_paths(folder))])


def _all_ids(loaded: "LoadedRules") -> set[str]:
    from it_incident_response.analysis.rule_file import load_rules, shipped_paths

    shipped = load_rules(shipped_paths()).rules
    return {rule.id for rule in (*shipped, *loaded.rules)}


def _unknown_names(found: "Sequence[Rule]", ids: set[str]) -> list[str]:
    from it_incident_response.actions import ACTIONS

    mistakes = []
    for rule in found:
        for suggestion in rule.suggests:
            if suggestion.action is not None and suggestion.action not in ACTIONS:
                known = ", ".join(sorted(ACTIONS))
                mistakes.append(f"{rule.id}: there is no action {suggestion.action!r}; {known}")
        for other in rule.explains:
            if other not in ids:
                mistakes.append(f"{rule.id}: explains {other!r}, and there is no such rule")
    return mistakes


def _actions(rule: "Rule") -> str:
    return ", ".join(dict.fromkeys(s.action for s in rule.suggests if s.action)) or "-"


def _warn(problems: Sequence[RuleError]) -> None:
    for problem in problems:
        click.echo(clean(problem, 1000), err=True)
