"""Scores mined templates against labelled ones, by the usual four measures."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Scores:
    """Each between 0 and 1, the higher the better."""

    grouping_accuracy: float
    """Share of lines whose group is exactly a true group."""
    fga: float
    """F1 of the groups that are exactly true groups, over groups."""
    pa: float
    """Share of lines whose template text is exactly the true one."""
    fta: float
    """F1 of the groups that are right and have the right text, over groups."""

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name, rounded to four places."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score(true: Sequence[str], groups: Sequence[Hashable], texts: Sequence[str]) -> Scores:
    """Compare lines' groups and template texts with the true templates; equally long, not empty.

    Measures as in Jiang et al., "A Large-Scale Evaluation for Log Parsing Techniques: How Far Are
    We?" (ISSTA 2024).
    """
    of_truth, of_group = _lines_by(true), _lines_by(groups)
    right = [
        lines
        for lines in of_group.values()
        if len({true[line] for line in lines}) == 1 and len(of_truth[true[lines[0]]]) == len(lines)
    ]
    right_text = [lines for lines in right if texts[lines[0]] == true[lines[0]]]
    return Scores(
        grouping_accuracy=sum(map(len, right)) / len(true),
        fga=_f1(len(right), len(of_group), len(of_truth)),
        pa=sum(map(str.__eq__, texts, true)) / len(true),
        fta=_f1(len(right_text), len(of_group), len(of_truth)),
    )


def mean_of(scores: Iterable[Scores]) -> Scores:
    """Return the mean of scores, every system weighing the same; there is at least one."""
    rows = [asdict(item) for item in scores]
    return Scores(**{name: sum(row[name] for row in rows) / len(rows) for name in rows[0]})


def _lines_by(names: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for line, name in enumerate(names):
        found[name].append(line)
    return found


def _f1(right: int, predicted: int, true: int) -> float:
    """2PR / (P + R) with P = right / predicted and R = right / true."""
    return 2 * right / (predicted + true)
