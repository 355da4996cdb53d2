"""`iir investigate`: what happened in an exported incident, from its files alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.output import clean, console, json_option, print_json

if TYPE_CHECKING:
    from it_incident_response.analysis.bundle.report import BundleHypothesis, BundleReport

CITED = 5


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def investigate(bundle: Path, as_json: bool) -> None:
    """Diagnose BUNDLE, a directory with alert.json, logs.ndjson, metrics.csv, traces.json...

    Nothing is asked of any system. `iir incidents export` writes such a directory.
    """
    from it_incident_response.system.bundles import investigated

    report = investigated(bundle)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)


def _show(report: "BundleReport") -> None:
    out = console()
    out.print(clean(report.bundle), style="bold")
    if report.onset:
        out.print(f"began: {report.onset}")
    out.print(f"failed first: {clean(report.first_failing_service or 'unknown')}")
    out.print(f"dragged down: {clean(', '.join(report.blast_radius) or 'nobody else')}")
    out.print(f"remedy: {clean(report.remediation or 'unknown')}")
    for number, hypothesis in enumerate(report.hypotheses, start=1):
        _show_hypothesis(number, hypothesis)
    for gap in report.gaps:
        out.print(f"missing: {clean(gap)}", style="yellow")


def _show_hypothesis(number: int, hypothesis: "BundleHypothesis") -> None:
    out = console()
    change = f" {hypothesis.change[:12]}" if hypothesis.change else ""
    where = f" ({hypothesis.service})" if hypothesis.service else ""
    kind = hypothesis.kind.replace("_", " ")
    style = "bold" if number == 1 else "dim"
    out.print(
        f"\n{number}. {hypothesis.confidence:.0%}  {kind}{clean(change + where)}", style=style
    )
    out.print(f"   {clean(hypothesis.mechanism, 500)}")
    if number > 1:
        return
    for item in hypothesis.evidence[:CITED]:
        out.print(f"   + {clean(item.summary, 300)}")
        out.print(f"     {clean(item.reference, 200)}", style="dim")
