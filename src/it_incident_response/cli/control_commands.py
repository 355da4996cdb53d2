"""`iir incidents take-over | cancel | rediagnose | wake`: stop what we do, and let us go on."""

import getpass
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import clean, json_option, print_json
from it_incident_response.cli.runtime import open_runtime, run_async

if TYPE_CHECKING:
    from it_incident_response.domain.incident import Incident
    from it_incident_response.system import Runtime


def by_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--by`: who acts, by default the user of this shell."""
    return click.option(
        "--by", default=getpass.getuser, show_default="you", help="Who does this, for the record."
    )(function)


@click.command("take-over")
@click.argument("incident")
@click.option("--reason", default="", help="Why, for the timeline.")
@click.option("--yes", is_flag=True, help="Do not ask, even if a step is running.")
@by_option
@json_option
@click.pass_context
@run_async
async def take_over(ctx: click.Context, /, **given: Any) -> None:
    """Make INCIDENT yours: what runs is stopped, and nothing more is done to any system.

    Requests for approval are void. `iir incidents rediagnose` hands it back.
    """
    async with open_runtime(ctx) as runtime:
        await _confirm(runtime, given)
        found = await runtime.desk.take_over(
            given["incident"], by=given["by"], reason=given["reason"]
        )
    _told(found, given, f"taken over by {clean(found.assignee or '', 60)}")


@click.command()
@click.argument("incident")
@click.option("--reason", required=True, help="Why, for the timeline.")
@click.option("--yes", is_flag=True, help="Do not ask, even if a step is running.")
@by_option
@json_option
@click.pass_context
@run_async
async def cancel(ctx: click.Context, /, **given: Any) -> None:
    """Stop whatever runs for INCIDENT, do nothing more, and hand it to a human."""
    async with open_runtime(ctx) as runtime:
        await _confirm(runtime, given)
        found = await runtime.desk.cancel(given["incident"], by=given["by"], reason=given["reason"])
        steps = await runtime.desk.running_steps(found.id)
    ending = f"; step {steps[0]} is being stopped" if steps else ""
    _told(found, given, f"cancelled{ending}")


@click.command()
@click.argument("incident")
@click.option("--reason", default="", help="Why, for the timeline.")
@by_option
@json_option
@click.pass_context
@run_async
async def rediagnose(ctx: click.Context, /, **given: Any) -> None:
    """Hand INCIDENT back: it is diagnosed afresh; earlier plans and approvals count no more."""
    await _simply(
        ctx,
        given,
        lambda runtime: runtime.desk.rediagnose(
            given["incident"], by=given["by"], reason=given["reason"]
        ),
        "to be diagnosed afresh",
    )


@click.command()
@click.argument("incident")
@by_option
@json_option
@click.pass_context
@run_async
async def wake(ctx: click.Context, /, **given: Any) -> None:
    """Have INCIDENT looked at now, whatever it waits for; changes nothing about it."""
    await _simply(
        ctx,
        given,
        lambda runtime: runtime.desk.look_again(given["incident"], by=given["by"]),
        "to be looked at now",
    )


async def _simply(
    ctx: click.Context,
    given: dict[str, Any],
    change: "Callable[[Runtime], Coroutine[Any, Any, Incident]]",
    told: str,
) -> None:
    async with open_runtime(ctx) as runtime:
        found = await change(runtime)
    _told(found, given, told)


async def _confirm(runtime: "Runtime", given: dict[str, Any]) -> None:
    """Ask before a running step is stopped: its target may be left half changed."""
    found = await runtime.store.incident(given["incident"])
    steps = await runtime.desk.running_steps(found.id)
    if steps and not given["yes"]:
        click.confirm(
            f"Step {steps[0]} of {found.key} is running. Stop it, however far it got?",
            abort=True,
            err=True,
        )


def _told(found: "Incident", given: dict[str, Any], text: str) -> None:
    if given["as_json"]:
        print_json(found.model_dump(mode="json", exclude={"footprint"}))
    else:
        click.echo(f"{found.key}: {text}")
