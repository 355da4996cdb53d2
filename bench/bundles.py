"""Scores `iir investigate` on labelled bundles: `python -m bench.bundles DIR [--json]`.

The truth is read here and nowhere else. With so few incidents, on which the method was also
developed, a full score proves little; so each bundle is also investigated in other shapes:
under other names, without one file, and without the commit that did it, where any accusation
of another commit is false.
"""

import argparse
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.ranking import wilson
from bench.servers import Missing
from it_incident_response.analysis.bundle.report import BundleReport
from it_incident_response.system.bundles import investigated

DEFAULT = Path("../shared/data/rootcausebench")
TRUTH = "ground_truth.json"
NONE = "none"
FILES = ("logs.ndjson", "metrics.csv", "traces.json", "patterns.json", "context/deploys.json")
PREFIX_MIN = 7
Truth = dict[str, Any]
Case = tuple[Path, Truth]


def run(folder: Path = DEFAULT) -> dict[str, Any]:
    """Return the scores; raises `Missing` without labelled bundles."""
    paths = sorted(path.parent for path in folder.glob(f"*/{TRUTH}"))
    if not paths:
        raise Missing(f"no bundle with {TRUTH} below {folder}")
    cases = [(path, json.loads((path / TRUTH).read_text())) for path in paths]
    reports = [investigated(path) for path, _ in cases]
    count = len(cases)
    right = sum(_is_culprit(r, t) for r, (_, t) in zip(reports, cases, strict=True))
    low, high = wilson(right / count, count)
    return {
        "incidents": count,
        "culprit": f"{right}/{count} (95 %: {low:.2f} to {high:.2f})",
        "first failing service": _share(reports, cases, "first_failing_service"),
        "remediation": _share(reports, cases, "remediation"),
        "blast radius, mean F1": round(
            sum(_f1(r.blast_radius, t) for r, (_, t) in zip(reports, cases, strict=True)) / count, 3
        ),
        "confidence in the right, the wrong": _confidence(reports, cases),
        "baseline: last deploy": f"{sum(_last_deploy(p) == _culprit(t) for p, t in cases)}/{count}",
        "baseline: always none": f"{sum(_culprit(t) == NONE for _, t in cases)}/{count}",
        "baseline: random commit or none, expected": round(sum(_chance(p) for p, _ in cases), 2),
        **_in_other_shapes(cases),
    }


def _in_other_shapes(cases: Sequence[Case]) -> dict[str, str]:
    found = {"culprit, services renamed": _altered(cases, _rename)}
    for name in FILES:
        found[f"culprit, without {name}"] = _altered(cases, _without(name))
    guilty = [case for case in cases if _culprit(case[1]) != NONE]
    found["no accusation once the guilty commit is taken out"] = _altered(
        [
            (path, truth | {"root_cause_commit": NONE, "was": _culprit(truth)})
            for path, truth in guilty
        ],
        _acquit,
    )
    return found


def _altered(cases: Sequence[Case], alter: Callable[[Path, Truth], Truth]) -> str:
    right = 0
    for path, truth in cases:
        with TemporaryDirectory(prefix="iir-bench-") as room:
            copy = Path(room) / "bundle"
            shutil.copytree(path, copy)
            (copy / TRUTH).unlink()
            wanted = alter(copy, truth)
            right += _is_culprit(investigated(copy), wanted)
    return f"{right}/{len(cases)}"


def _without(name: str) -> Callable[[Path, Truth], Truth]:
    def alter(copy: Path, truth: Truth) -> Truth:
        (copy / name).unlink(missing_ok=True)
        return truth

    return alter


def _rename(copy: Path, truth: Truth) -> Truth:
    """Give every service another name, in all files, paths and texts alike."""
    names = {row["service"] for row in _json(copy, "context/deploys.json")}
    names |= {line.split(",")[1] for line in (copy / "metrics.csv").read_text().splitlines()[1:]}
    for number, name in enumerate(sorted(names, key=len, reverse=True)):
        stem = re.sub(r"-?(?:service|svc)$", "", name)
        for path in (p for p in copy.rglob("*") if p.is_file()):
            text = path.read_text().replace(name, f"unit{number}service")
            path.write_text(text.replace(f"services/{stem}/", f"services/unit{number}/"))
    return truth


def _acquit(copy: Path, truth: Truth) -> Truth:
    for name, key in (("commits", "sha"), ("deploys", "commit_sha")):
        path = f"context/{name}.json"
        kept = [row for row in _json(copy, path) if row.get(key) != truth["was"]]
        (copy / path).write_text(json.dumps(kept))
    return truth


def _json(folder: Path, name: str) -> Any:
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else []


def _culprit(truth: Truth) -> str:
    return str(truth["root_cause_commit"])


def _is_culprit(report: BundleReport, truth: Truth) -> bool:
    said = (report.root_cause.change if report.root_cause else None) or NONE
    known = _culprit(truth)
    return said == known or (len(said) >= PREFIX_MIN and known.startswith(said))


def _share(reports: Sequence[BundleReport], cases: Sequence[Case], key: str) -> str:
    pairs = zip(reports, cases, strict=True)
    return f"{sum(getattr(r, key) == t[key] for r, (_, t) in pairs)}/{len(cases)}"


def _f1(said: Sequence[str], truth: Truth) -> float:
    known = set(truth["blast_radius"])
    whole = len(set(said)) + len(known)
    return 2 * len(known & set(said)) / whole if whole else 1.0


def _confidence(reports: Sequence[BundleReport], cases: Sequence[Case]) -> str:
    groups: dict[bool, list[float]] = {True: [], False: []}
    for report, (_, truth) in zip(reports, cases, strict=True):
        if report.root_cause:
            groups[_is_culprit(report, truth)].append(report.root_cause.confidence)
    means = [sum(g) / len(g) if g else None for g in groups.values()]
    return ", ".join("none" if mean is None else f"{mean:.2f}" for mean in means)


def _last_deploy(path: Path) -> str:
    fired = str(_json(path, "alert.json").get("fired_at"))
    before = [row for row in _json(path, "context/deploys.json") if row["timestamp"] <= fired]
    last = max(before, key=lambda row: row["timestamp"], default={})
    return str(last.get("commit_sha") or NONE)


def _chance(path: Path) -> float:
    return 1 / (len(_json(path, "context/commits.json")) + 1)


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(prog="python -m bench.bundles", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.folder)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:<56} {value}")


if __name__ == "__main__":
    main()
