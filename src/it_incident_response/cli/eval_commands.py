"""`iir eval`: measures the computation on labelled data of one's own or the public ones."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from it_incident_response.analysis.log_mining.scoring import Scores
    from it_incident_response.cli.log_evaluation import LabelledLog

STREAM_LINES = 2_000_000


@click.group("eval")
def evaluate() -> None:
    """Measure log mining on labelled data."""


@evaluate.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--lines",
    type=click.IntRange(1, 1_000_000_000),
    default=STREAM_LINES,
    show_default=True,
    help="Length of the stream that the speed is measured on.",
)
@json_option
def logs(folder: Path, lines: int, as_json: bool) -> None:
    """Score the mining of log templates on the labelled logs in DIR, and time it.

    DIR has files `*_2k.log_structured_corrected.csv` with the columns Content and EventTemplate.
    GA: share of lines in exactly the true group; FGA: F1 over groups; PA: share of lines with
    exactly the true template; FTA: F1 over groups that are right in lines and template. The speed
    is on one core, with the lines repeated; that of Drain3 needs the extra `eval`.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is first imported

    from it_incident_response.analysis.log_mining.scoring import mean_of
    from it_incident_response.cli.log_evaluation import labelled_logs, scores_of

    found = labelled_logs(folder)
    systems = {}
    for log in found:
        systems[log.name] = scores_of(log)
        _say(f"{log.name}: {len(log.lines):,} lines scored")
    mean = mean_of(systems.values())
    speeds = _speeds(found, lines)
    if as_json:
        scores = {name: item.as_dict() for name, item in systems.items()}
        print_json({**mean.as_dict(), **speeds, "systems": scores})
    else:
        _show(systems, mean, speeds)


def _speeds(found: "list[LabelledLog]", lines: int) -> dict[str, int | None]:
    import polars

    from it_incident_response.analysis.log_mining.miner import TemplateMiner
    from it_incident_response.cli.log_evaluation import Drain3, lines_per_second, stream_of

    if polars.thread_pool_size() != 1:
        _say(f"note: polars has {polars.thread_pool_size()} threads; for one core set")
        _say("  POLARS_MAX_THREADS=1 before the command")
    _say(f"timing a stream of {lines:,} lines")
    ours = lines_per_second(TemplateMiner(), stream_of(found, lines), _say)
    peer: int | None = None
    try:
        drain3 = Drain3()
    except ImportError:
        _say("note: Drain3 is not installed: pip install 'it-incident-response[eval]'")
    else:
        _say("timing Drain3 on the same stream")
        peer = round(lines_per_second(drain3, stream_of(found, lines), _say))
    return {"lines_per_second": round(ours), "drain3_lines_per_second": peer}


def _show(systems: "dict[str, Scores]", mean: "Scores", speeds: dict[str, Any]) -> None:
    rows = [
        (name, *(f"{value:.3f}" for value in item.as_dict().values()))
        for name, item in (*systems.items(), ("mean", mean))
    ]
    print_table("", ("system", "GA", "FGA", "PA", "FTA"), rows)
    click.echo(f"lines a second on one core: {speeds['lines_per_second']:,}")
    if peer := speeds["drain3_lines_per_second"]:
        ratio = speeds["lines_per_second"] / peer
        click.echo(f"Drain3 on the same stream: {peer:,} ({ratio:.1f} times slower)")


def _say(text: str) -> None:
    click.echo(text, err=True)
