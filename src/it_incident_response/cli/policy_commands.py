"""`iir policy`: see what is allowed, check a policy file, understand a ruling."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.output import clean, console, json_option, print_json
from it_incident_response.cli.runtime import load_config, open_runtime, run_async
from it_incident_response.errors import ConfigError

if TYPE_CHECKING:
    from it_incident_response.safety.policy import Conditions, Policy, PolicyRule, Ruling


@click.group()
def policy() -> None:
    """Show, check and explain the policy."""


@policy.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show the policy in force."""
    from it_incident_response.safety.policy import Policy

    path = load_config(ctx).settings.policy
    current = Policy.load(path) if path else Policy.default()
    if as_json:
        print_json(current.model_dump(mode="json", by_alias=True))
        return
    console().print(f"from: {clean(path) if path else 'the built-in default'}")
    _show_policy(current)


@policy.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check a policy FILE; says file and line of each mistake."""
    from it_incident_response.actions import ACTIONS
    from it_incident_response.safety.policy import Policy

    found = Policy.load(file)
    if unknown := found.unknown_kinds(ACTIONS):
        raise ConfigError(
            f"{file}: no action fits {', '.join(map(repr, unknown))}, so such a rule never matches",
            hint=f"actions are: {', '.join(sorted(ACTIONS))}",
        )
    empty = found.roles_without_people()
    if as_json:
        print_json({"file": str(file), "rules": len(found.rules), "roles_without_people": empty})
        return
    click.echo(f"{file}: {len(found.rules)} rules, {len(found.freezes)} freezes: no mistake found")
    for role in empty:
        click.echo(f"  note: a rule asks for the role {role!r}, which nobody has")


@policy.command()
@click.argument("plan")
@json_option
@click.pass_context
@run_async
async def explain(ctx: click.Context, plan: str, as_json: bool) -> None:
    """Say what the policy says now about each step of PLAN (its id, or its approval's)."""
    from it_incident_response.errors import NotFound
    from it_incident_response.safety.judge import PolicyJudge

    async with open_runtime(ctx) as runtime:
        try:
            found = await runtime.store.plan(plan)
        except NotFound:
            found = await runtime.store.plan((await runtime.store.approval(plan)).plan_id)
        judge = PolicyJudge(runtime.store, runtime.clock, runtime.policy, runtime.inventory)
        rulings = await judge.rulings(found)
    if as_json:
        print_json({"plan": found.id, "digest": found.digest, "rulings": list(rulings)})
        return
    for step, ruling in zip(found.steps, rulings, strict=True):
        console().print(f"{step.number}. {clean(step.description)}")
        console().print(f"   {_verdict(ruling)}")
        console().print(f"   {ruling.rule}: {clean(ruling.reason, 1000)}")


def _verdict(ruling: "Ruling") -> str:
    if ruling.effect == "approve":
        return f"needs approval by {' or '.join(ruling.approver_roles) or 'anyone with a role'}"
    if ruling.effect == "forbid":
        return "forbidden for now" if ruling.is_temporary else "forbidden"
    return "runs without approval"


def _show_policy(current: "Policy") -> None:
    out = console()
    out.print("\nRules, the first that matches decides", style="bold")
    for number, rule in enumerate(current.rules, 1):
        out.print(f"  {number}. {rule.name}: {_effect(rule)}")
        out.print(f"     when {describe_conditions(rule.when)}")
    out.print("  otherwise: forbid")
    out.print("\nRoles", style="bold")
    for role, people in current.roles.items():
        out.print(f"  {role}: {', '.join(people).replace('*', 'every person') or 'nobody'}")
    out.print("\nLimits", style="bold")
    for name, value in current.limits.model_dump().items():
        out.print(f"  {name}: {value}")
    out.print(f"  forbidden hosts: {', '.join(current.forbidden_hosts) or 'none'}")
    for freeze in current.freezes:
        span = freeze.weekly or f"{freeze.starts} to {freeze.until}"
        out.print(f"  freeze {freeze.name}: {span} {clean(freeze.reason)}")


def _effect(rule: "PolicyRule") -> str:
    if rule.effect != "approve":
        return rule.effect.value
    who = " or ".join(rule.approvers) or "anyone with a role"
    return f"approve, by {who}{'' if rule.waivable else ', always'}"


def describe_conditions(when: "Conditions") -> str:
    """Return the conditions of a rule in one line."""
    given = when.model_dump(mode="json", exclude_defaults=True)
    parts = [
        f"{name.replace('_', ' ')} {' or '.join(value) if isinstance(value, list) else value}"
        for name, value in given.items()
    ]
    return ", ".join(parts) or "anything"
