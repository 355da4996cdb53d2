"""Operators between scalars and vectors: arithmetic, comparisons, set operations, matching."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from it_incident_response.simulation.promql.vectors import (
    NAME,
    Column,
    Flags,
    Floats,
    Labels,
    PromqlError,
    Vector,
    add,
    drop,
    keep,
    make_labels,
    without_name,
)

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: dict[str, Callable[[Floats, Floats], Flags]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SET_OPERATORS = ("and", "or", "unless")


@dataclass(frozen=True)
class Matching:
    """How the two sides of an operator find each other."""

    is_on: bool = False
    """True for `on (names)`, False for `ignoring (names)`."""
    names: tuple[str, ...] = ()
    many_side: str | None = None
    """`left` for group_left, `right` for group_right."""
    included: tuple[str, ...] = ()
    """Labels copied from the one side."""

    def signature(self, labels: Labels) -> Labels:
        """Return the part of the labels that has to be equal."""
        return keep(labels, self.names) if self.is_on else drop(labels, (*self.names, NAME))


def scalars(operator: str, left: Floats, right: Floats) -> Floats:
    """Combine two scalars; a comparison gives 0 or 1."""
    with np.errstate(all="ignore"):
        if operator in COMPARISONS:
            return COMPARISONS[operator](left, right).astype(np.float64)
        return _arithmetic(operator)(left, right)


def with_scalar(
    operator: str, vector: Vector, scalar: Floats, *, swapped: bool, as_bool: bool
) -> Vector:
    """Combine each column with a scalar, which is the left operand if `swapped`."""
    result: Vector = {}
    for labels, column in vector.items():
        left, right = (scalar, column.values) if swapped else (column.values, scalar)
        result[labels] = _combine(operator, left, right, column, as_bool)
    is_filter = operator in COMPARISONS and not as_bool
    return result if is_filter else without_name(result)


def _combine(operator: str, left: Floats, right: Floats, kept: Column, as_bool: bool) -> Column:
    """Apply an operator; a filtering comparison keeps the samples of `kept` where it holds."""
    with np.errstate(all="ignore"):
        if operator not in COMPARISONS:
            return Column(_arithmetic(operator)(left, right), kept.present)
        holds = COMPARISONS[operator](left, right)
    if as_bool:
        return Column(holds.astype(np.float64), kept.present)
    return kept.where(holds)


def _arithmetic(operator: str) -> Callable[[Floats, Floats], Floats]:
    try:
        return ARITHMETIC[operator]
    except KeyError:
        raise PromqlError(f"operator {operator} is not supported here") from None


def set_operation(operator: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """Return `and`, `or` or `unless` of two vectors."""
    base, other = (right, left) if operator == "or" else (left, right)
    seen = _presence(other, matching)
    result: Vector = dict(left) if operator == "or" else {}
    for labels, column in base.items():
        elsewhere = seen.get(matching.signature(labels))
        if operator == "and":
            kept = column.where(elsewhere) if elsewhere is not None else None
        else:
            kept = column.where(~elsewhere) if elsewhere is not None else column
        if kept is not None and kept.present.any():
            add(result, labels, kept)
    return result


def _presence(vector: Vector, matching: Matching) -> dict[Labels, Flags]:
    seen: dict[Labels, Flags] = {}
    for labels, column in vector.items():
        key = matching.signature(labels)
        seen[key] = seen[key] | column.present if key in seen else column.present
    return seen


def vectors(
    operator: str, left: Vector, right: Vector, matching: Matching, *, as_bool: bool
) -> Vector:
    """Combine two vectors, sample by sample, as the labels match."""
    swapped = matching.many_side == "right"
    many, one = (right, left) if swapped else (left, right)
    partners = _one_side(one, matching)
    result: Vector = {}
    for labels, column in many.items():
        partner = partners.get(matching.signature(labels))
        if partner is None:
            continue
        other_labels, other = partner
        both = column.where(other.present)
        sides = (other.values, both.values) if swapped else (both.values, other.values)
        combined = _combine(operator, *sides, both, as_bool)
        drops_name = operator not in COMPARISONS or as_bool
        outcome = _result_labels(labels, other_labels, matching, drops_name)
        if both.present.any():
            _add_match(result, outcome, combined)
    return result


def _one_side(vector: Vector, matching: Matching) -> dict[Labels, tuple[Labels, Column]]:
    """Return the side that may match only once, by signature."""
    found: dict[Labels, tuple[Labels, Column]] = {}
    for labels, column in vector.items():
        key = matching.signature(labels)
        if key not in found:
            found[key] = (labels, column)
            continue
        merged: Vector = {(): found[key][1]}
        try:
            add(merged, (), column)
        except PromqlError:
            raise PromqlError(
                "found duplicate series for the match group on one side of the operation; "
                "many-to-many matching not allowed: matching labels must be unique on one side"
            ) from None
        found[key] = (labels, merged[()])
    return found


def _add_match(result: Vector, labels: Labels, column: Column) -> None:
    try:
        add(result, labels, column)
    except PromqlError:
        raise PromqlError(
            "multiple matches for labels: many-to-one matching must be explicit "
            "(group_left/group_right)"
        ) from None


def _result_labels(many: Labels, one: Labels, matching: Matching, drops_name: bool) -> Labels:
    labels = drop(many, (NAME,)) if drops_name else many
    if matching.many_side is None:
        names = matching.names
        return keep(labels, names) if matching.is_on else drop(labels, names)
    if not matching.included:
        return labels
    copied = keep(one, matching.included)
    return make_labels(dict((*drop(labels, matching.included), *copied)))
