"""`iir demo`: one incident, or all of them, in the simulated world, from alert to verified fix."""

import asyncio
import getpass
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import clean, console, json_option, print_json, print_table
from it_incident_response.cli.runtime import run_async

if TYPE_CHECKING:
    from it_incident_response.config import Settings
    from it_incident_response.domain.audit import AuditEvent
    from it_incident_response.system import IncidentView, Runtime
    from it_incident_response.system.scenario import Played

FOLDER = Path("iir-demo")
PACE_S = 0.12
"""Real time between two lines, so that a person can follow; `--fast` leaves it out."""

STYLES = {
    "incident.opened": "bold red",
    "alert.joined": "red",
    "diagnosis.made": "bold",
    "approval.requested": "bold yellow",
    "approval.approved": "green",
    "approval.rejected": "yellow",
    "action.started": "cyan",
    "action.finished": "cyan",
    "verification.verified": "bold green",
    "incident.resolved": "bold green",
    "incident.escalated": "bold yellow",
}


@click.command()
@click.option("--fault", default="service_down", show_default=True, help="`--list` shows them.")
@click.option("--all", "everything", is_flag=True, help="Play every fault and print a table.")
@click.option("--list", "only_list", is_flag=True, help="List the faults there are.")
@click.option("--yes", is_flag=True, help="Approve every plan without asking.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0, 2**63 - 1))
@click.option("--fast", is_flag=True, help="Do not slow down for reading.")
@json_option
@run_async
async def demo(fault: str, **given: Any) -> None:
    """Play an incident in the simulated world: nothing outside this process is touched.

    The record stays in ./iir-demo, so that every other command can be tried on it.
    """
    from it_incident_response.simulation import FAULTS

    if given["only_list"]:
        _list(sorted(FAULTS), as_json=given["as_json"])
    elif given["everything"]:
        played = [await _quietly(kind, given["seed"]) for kind in FAULTS]
        _print_all(played, as_json=given["as_json"])
    else:
        await _one(fault, given)


def _list(kinds: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(kinds)
    else:
        click.echo("\n".join(kinds))


async def _one(fault: str, given: dict[str, Any]) -> None:
    from it_incident_response.system.scenario import play

    folder = Path.cwd() / FOLDER
    _make_room(folder)
    async with _opened(folder, given["seed"]) as runtime:
        teller = _Teller(quiet=given["as_json"], pace_s=0.0 if given["fast"] else PACE_S)
        teller.introduce(fault, runtime)
        asker = _Asker(yes=given["yes"], quiet=given["as_json"])
        played = await play(
            runtime, fault, decide=asker.decide, watch=teller.watch, by=getpass.getuser()
        )
        if given["as_json"]:
            print_json(_row(played))
        else:
            await teller.conclude(played, runtime)


def _make_room(folder: Path) -> None:
    """Take away the record of the demo before; touches nothing that is not such a record."""
    if folder.exists() and not (folder / "iir.db").exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} holds something that no demo wrote; move it away")
    if folder.exists():
        shutil.rmtree(folder)


async def _quietly(fault: str, seed: int) -> "Played":
    from it_incident_response.system.scenario import play

    with TemporaryDirectory(prefix="iir-demo-") as folder:
        async with _opened(Path(folder), seed) as runtime:
            return await play(runtime, fault, decide=_yes, watch=_look_away)


def _opened(folder: Path, seed: int) -> Any:
    from it_incident_response.simulation import SimulatedWorld
    from it_incident_response.system import open_configured

    return open_configured(_settings(folder, seed), SimulatedWorld(seed))


def _settings(folder: Path, seed: int) -> "Settings":
    from it_incident_response.config import Settings

    return Settings.model_validate(
        {
            "data_dir": folder,
            "simulation": {"seed": seed},
            "agents": {"resolution": {"dry_run": False, "require_approval": True}},
            "approval": {"timeout": "24h"},
        }
    )


async def _yes(view: "IncidentView") -> bool:
    return True


async def _look_away(events: "Sequence[AuditEvent]") -> None:
    return


class _Asker:
    """Shows the plan and asks; without a terminal and without `--yes` the answer is no."""

    def __init__(self, *, yes: bool, quiet: bool) -> None:
        self._yes = yes
        self._quiet = quiet

    async def decide(self, view: "IncidentView") -> bool:
        from it_incident_response.cli.incident_view import show_diagnosis, show_plan

        if view.plan is None:
            return False
        if not self._quiet:
            if view.diagnosis:
                show_diagnosis(view.diagnosis, view.evidence)
            show_plan(view.plan)
            console().print("")
        if self._yes:
            return True
        if not sys.stdin.isatty():
            click.echo("no terminal to ask on: rejected (give --yes to approve)", err=True)
            return False
        return await asyncio.to_thread(click.confirm, "Run this plan?", default=False)


class _Teller:
    """Prints the timeline as it comes about."""

    def __init__(self, *, quiet: bool, pace_s: float) -> None:
        self._quiet = quiet
        self._pace_s = pace_s

    def introduce(self, fault: str, runtime: "Runtime") -> None:
        """Say what is going to be seen."""
        if self._quiet:
            return
        hosts, clock = len(runtime.inventory.hosts), runtime.clock.now()
        console().print(f"A simulated shop on {hosts} hosts; its clock says {clock:%H:%M} UTC.")
        console().print(f"The fault {fault!r} begins. Times below are the shop's.\n")

    async def watch(self, events: "Sequence[AuditEvent]") -> None:
        """Print one line an event."""
        if self._quiet:
            return
        for event in events:
            console().print(
                f"{event.at:%H:%M:%S}  {clean(event.actor, 20):<20} {clean(event.summary, 160)}",
                style=STYLES.get(event.kind, ""),
            )
            await asyncio.sleep(self._pace_s)

    async def conclude(self, played: "Played", runtime: "Runtime") -> None:
        """Show before and after, the summary, and where to look next."""
        out, view = console(), played.view
        if view is None:
            out.print("No alert came of it: this fault goes unnoticed in this world.")
            return
        await _before_and_after(view, runtime)
        out.print(f"\n{view.incident.key} is {view.incident.status}.", style="bold")
        if view.verification:
            out.print(f"  {clean(view.verification.reason, 400)}")
        if view.incident.escalation:
            out.print(f"  handed to a human: {clean(view.incident.escalation, 400)}")
        out.print(
            f"  detected after {_minutes(played.detected_after_s)}, ended after "
            f"{_minutes(played.ended_after_s)} of the shop's time; "
            + ("the fault is gone" if played.is_healed else "the fault is still there")
        )
        key = view.incident.key
        out.print(f"\nLook next{_activation()}:")
        for command in (
            f"iir --profile demo incidents show {key}",
            f"iir --profile demo incidents timeline {key}",
            "iir --profile demo audit verify",
            "iir demo --list            # other faults; --all plays every one",
            "iir config init            # connect your own Prometheus and Alertmanager",
        ):
            out.print(f"  {command}")


async def _before_and_after(view: "IncidentView", runtime: "Runtime") -> None:
    """Draw the metrics that the diagnosis cites over the whole incident."""
    from it_incident_response.cli.incident_view import sparkline
    from it_incident_response.domain.evidence import MetricFinding, TimeWindow
    from it_incident_response.ports import MetricRequest

    top = view.diagnosis.top if view.diagnosis else None
    metrics = runtime.adapters.metrics
    if top is None or metrics is None:
        return
    cited = [e.finding for e in view.evidence if e.id in top.supporting]
    findings = [f for f in cited if isinstance(f, MetricFinding)][:3]
    if findings:
        console().print("\nBefore, during and after", style="bold")
    end = runtime.clock.now()
    start = view.incident.opened_at - (end - view.incident.opened_at)
    for finding in findings:
        window = TimeWindow(start=start, end=end)
        request = MetricRequest(
            signals=(finding.signal,), entities=(finding.entity,), window=window
        )
        for series in (await metrics.series(request))[:1]:
            name = f"{finding.signal} of {finding.entity}"
            low, high = min(series.values), max(series.values)
            console().print(f"  {clean(name, 44):<44} {sparkline(series.values)}")
            console().print(f"  {'':<44} {low:.3g} to {high:.3g}", style="dim")


def _activation() -> str:
    """Return how to get `iir` on the path, if it runs from an environment in this folder."""
    environment = Path(sys.prefix)
    if sys.prefix == sys.base_prefix or not environment.is_relative_to(Path.cwd()):
        return ""
    return f" (first: . {environment.relative_to(Path.cwd())}/bin/activate)"


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f} min"


def _row(played: "Played") -> dict[str, Any]:
    view = played.view
    top = view.diagnosis.top if view and view.diagnosis else None
    return {
        "fault": played.fault,
        "incident": view.incident.key if view else None,
        "incidents": played.incidents,
        "alerts": view.incident.total_alerts if view else 0,
        "cause": top.cause_id if top else None,
        "confidence": round(top.confidence, 3) if top else None,
        "verdict": view.diagnosis.verdict if view and view.diagnosis else None,
        "action": view.plan.steps[0].action.kind if view and view.plan else None,
        "target": str(view.plan.steps[0].target) if view and view.plan else None,
        "status": view.incident.status if view else None,
        "escalation": view.incident.escalation if view else None,
        "detected_after_s": played.detected_after_s,
        "ended_after_s": played.ended_after_s,
        "fault_is_gone": played.is_healed,
    }


def _print_all(played: Sequence["Played"], *, as_json: bool) -> None:
    rows = [_row(each) for each in played]
    if as_json:
        print_json(rows)
        return
    print_table(
        "Every fault of the simulated world, each plan approved",
        ("fault", "alerts", "cause", "sure", "action", "ends", "after", "fault gone"),
        [
            (
                row["fault"],
                row["alerts"],
                row["cause"] or "-",
                f"{row['confidence']:.0%}" if row["confidence"] is not None else "-",
                row["action"] or "-",
                "to a human" if row["escalation"] else row["status"] or "-",
                _minutes(row["ended_after_s"]),
                "yes" if row["fault_is_gone"] else "no",
            )
            for row in rows
        ],
    )
