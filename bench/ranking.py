"""How often the service that an incident began in is among the first suspects."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.ranking_case import RankingCase
from bench.servers import Missing
from it_incident_response.analysis.ranking import rank
from it_incident_response.domain.evidence import MetricFinding, Shape
from it_incident_response.domain.suspect import SuspectKind

DATA = Path(os.environ.get("IIR_DATA", Path(__file__).parents[2] / "shared" / "data"))
PLACES = (1, 3, 5)
Ranker = Callable[[RankingCase], list[str]]


def run() -> dict[str, Any]:
    """Return recall at 1, 3 and 5 of ours and of simple rankings, with 95 % intervals."""
    from bench import nezha, petshop

    results: dict[str, Any] = {}
    for name, loader in (("petshop", petshop.cases), ("nezha", nezha.cases)):
        if not (DATA / name).is_dir():
            raise Missing(f"no data in {DATA / name}: name the folder in IIR_DATA")
        cases = list(loader(DATA / name))
        for part, chosen in _parts(name, cases):
            results |= {f"{part}, {who}": text for who, text in table(chosen).items()}
    return results


def table(cases: Sequence[RankingCase]) -> dict[str, str]:
    """Return a line for each ranker."""
    rankers: dict[str, Ranker] = {
        "ours": ours,
        "ours without topology": lambda case: ours(case, with_topology=False),
        "largest effect": largest_effect,
        "deepest unusual service": deepest,
    }
    found = {name: _line(cases, ranker) for name, ranker in rankers.items()}
    found["chance"] = " / ".join(
        f"{sum(min(1.0, k / len(case.services)) for case in cases) / len(cases):.3f}"
        for k in PLACES
    )
    return {f"{name} (n={len(cases)})": line for name, line in found.items()}


def ours(case: RankingCase, *, with_topology: bool = True) -> list[str]:
    """Return our ranking."""
    suspects = rank(case.evidence, case.topology if with_topology else None, began=case.began)
    return [suspect.name for suspect in suspects if suspect.kind is SuspectKind.SERVICE]


def largest_effect(case: RankingCase) -> list[str]:
    """Rank by the largest robust z of any metric (N-sigma without the graph)."""
    return sorted(effects := _effects(case), key=lambda name: -effects[name])


def deepest(case: RankingCase) -> list[str]:
    """Rank the unusual services that call no unusual one first, by effect (traversal)."""
    effects = _effects(case)
    unusual = {name for name, effect in effects.items() if effect >= 3.5}

    def place(name: str) -> tuple[bool, bool, float]:
        calls_unusual = bool(case.topology.calls.get(name, frozenset()) & (unusual - {name}))
        return name not in unusual, calls_unusual, -effects[name]

    return sorted(effects, key=place)


def recall(cases: Sequence[RankingCase], ranker: Ranker, place: int) -> float:
    """Return the share of cases whose truth is among the first so many."""
    return sum(case.truth in ranker(case)[:place] for case in cases) / len(cases)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - width) / (1 + z * z / count), (middle + width) / (1 + z * z / count)


def _effects(case: RankingCase) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in case.evidence:
        finding = item.finding
        if isinstance(finding, MetricFinding) and finding.shape is not Shape.NO_DATA:
            name = finding.entity.name
            found[name] = max(found.get(name, 0.0), abs(finding.effect))
    return found


def _line(cases: Sequence[RankingCase], ranker: Ranker) -> str:
    shares = [recall(cases, ranker, place) for place in PLACES]
    low, high = wilson(shares[0], len(cases))
    return " / ".join(f"{share:.3f}" for share in shares) + f" (at 1: {low:.2f} to {high:.2f})"


def _parts(name: str, cases: list[RankingCase]) -> Iterable[tuple[str, list[RankingCase]]]:
    """Yield the systems of a data set; the sorts of fault are too few each."""
    for group in sorted({case.group.split()[0] for case in cases}):
        yield f"{name} {group}", [case for case in cases if case.group.split()[0] == group]
    if name == "petshop":
        yield name, cases
