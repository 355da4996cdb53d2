"""Walks the syntax tree of a query, parsed by promql-parser, and computes it for many moments.

What is supported is what monitoring of hosts and services uses: selectors with all matchers,
offset and @, ranges and subqueries, the functions of `ranges` and `functions`, aggregations, all
operators with their matching. Native histograms and count_values are not; they raise `PromqlError`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import promql_parser as ast

from it_incident_response.simulation.promql import binary, functions
from it_incident_response.simulation.promql.aggregation import aggregate
from it_incident_response.simulation.promql.parsing import matchers_in, matching_of, seconds
from it_incident_response.simulation.promql.ranges import RANGE_FUNCTIONS, Windows, windows
from it_incident_response.simulation.promql.vectors import (
    NAME,
    Column,
    Floats,
    Labels,
    PromqlError,
    RawSeries,
    SeriesSource,
    Vector,
    add,
    constant,
    drop,
    everywhere,
    make_labels,
)

LOOKBACK_S = 300.0
"""How old the newest sample may be; Prometheus' default."""
SUBQUERY_STEP_S = 15.0
"""Step of a subquery that names none: the evaluation interval."""
DEPTH_MAX = 60
POINTS_MAX = 50_000
"""Moments at which one expression may be evaluated."""
QUERY_LENGTH_MAX = 100_000

Value = Vector | Floats | str


@dataclass(frozen=True)
class Grid:
    """The moments at which a query is evaluated, unix seconds, and the span of the whole query."""

    moments: Floats
    start: float
    end: float

    @classmethod
    def at(cls, moment: float) -> "Grid":
        """Return the grid of an instant query."""
        return cls(np.array([moment]), moment, moment)

    @classmethod
    def over(cls, start: float, end: float, step_s: float) -> "Grid":
        """Return the grid of a range query; raises `PromqlError` for too many points."""
        if step_s <= 0 or end < start:
            raise PromqlError("the end must not be before the start, and the step above 0")
        if (end - start) / step_s > POINTS_MAX:
            raise PromqlError(f"more than {POINTS_MAX} points; use a larger step")
        count = int((end - start) / step_s + 1e-9) + 1
        moments: Floats = start + step_s * np.arange(count, dtype=np.float64)
        return cls(moments, start, end)


def evaluate(query: str, source: SeriesSource, grid: Grid) -> Value:
    """Evaluate a query; a vector's columns have one place per moment of the grid.

    Raises `PromqlError` if it cannot be parsed or evaluated.
    """
    if len(query) > QUERY_LENGTH_MAX:
        raise PromqlError(f"the query is longer than {QUERY_LENGTH_MAX} characters")
    try:
        tree = ast.parse(query)
    except ValueError as error:
        raise PromqlError(f"invalid parameter 'query': parse error: {error}") from error
    result = _Evaluation(source, grid).value(tree)
    if isinstance(result, dict):
        return {labels: column for labels, column in result.items() if column.present.any()}
    return result


class _Evaluation:
    """One walk over a tree with one grid."""

    def __init__(self, source: SeriesSource, grid: Grid, depth: int = 0) -> None:
        if depth > DEPTH_MAX:
            raise PromqlError(f"the query is nested more than {DEPTH_MAX} deep")
        self._source = source
        self._grid = grid
        self._depth = depth

    @property
    def _count(self) -> int:
        return len(self._grid.moments)

    def value(self, node: Any) -> Value:
        """Return the value of any expression but a bare range."""
        visit = _VISITORS.get(type(node))
        if visit is None:
            raise PromqlError(f"{type(node).__name__} is not supported here")
        return visit(_Evaluation(self._source, self._grid, self._depth + 1), node)

    def vector(self, node: Any) -> Vector:
        """Return the value of an expression that has to be a vector."""
        value = self.value(node)
        if not isinstance(value, dict):
            raise PromqlError("expected an instant vector")
        return value

    def scalar(self, node: Any) -> Floats:
        """Return the value of an expression that has to be a scalar."""
        value = self.value(node)
        if not isinstance(value, np.ndarray):
            raise PromqlError("expected a scalar")
        return value

    # --- leaves ---------------------------------------------------------------------------------

    def number(self, node: Any) -> Value:
        """Return a literal number."""
        return constant(float(node.val), self._count)

    def string(self, node: Any) -> Value:
        """Return a literal string."""
        return str(node.val)

    def paren(self, node: Any) -> Value:
        """Return what stands in parentheses."""
        return self.value(node.expr)

    def unary(self, node: Any) -> Value:
        """Return the negative."""
        value = self.value(node.expr)
        if isinstance(value, np.ndarray):
            return -value
        if isinstance(value, str):
            raise PromqlError("a string has no sign")
        return functions.map_values(value, np.negative)

    def instant(self, node: Any) -> Vector:
        """Return the newest sample of each selected series, at each moment."""
        return self._newest(node, lambda series, place: series.values[place])

    def _newest(self, node: Any, read: Callable[[RawSeries, Any], Floats]) -> Vector:
        ends = self._ends(node)
        result: Vector = {}
        for series in self._select(node, float(ends.min()) - LOOKBACK_S, float(ends.max())):
            place = np.searchsorted(series.times, ends, side="right") - 1
            known = np.clip(place, 0, None)
            is_fresh = (place >= 0) & (series.times[known] >= ends - LOOKBACK_S)
            present = is_fresh & ~np.isnan(series.values[known])
            add(result, series.labels, Column(read(series, known), present))
        return result

    def _select(self, node: Any, start: float, end: float) -> list[RawSeries]:
        found = self._source.select(matchers_in(node), start, end)
        return [series for series in found if len(series.times)]

    def _ends(self, node: Any) -> Floats:
        """Return the moments that a selector or subquery means, after `@` and `offset`."""
        moments = self._grid.moments
        if node.at is not None:
            moments = constant(self._pinned(node.at), self._count)
        return moments - seconds(node.offset)

    def _pinned(self, at: Any) -> float:
        if at.type == ast.AtModifierType.Start:
            return self._grid.start
        if at.type == ast.AtModifierType.End:
            return self._grid.end
        return float(at.at.timestamp())

    # --- ranges ---------------------------------------------------------------------------------

    def cut(self, node: Any) -> dict[Labels, Windows]:
        """Return the windows of a range vector, by label set."""
        while isinstance(node, ast.ParenExpr):
            node = node.expr
        if isinstance(node, ast.SubqueryExpr):
            ends, length = self._ends(node), seconds(node.range)
            series = self._subquery(node, ends, length)
        elif isinstance(node, ast.MatrixSelector):
            ends, length = self._ends(node.vector_selector), node.range.total_seconds()
            first, last = float(ends.min()) - length, float(ends.max())
            series = self._select(node.vector_selector, first, last)
        else:
            raise PromqlError("expected a range vector")
        return {s.labels: windows(s, ends, length, self._grid.moments) for s in series}

    def _subquery(self, node: Any, ends: Floats, length_s: float) -> list[RawSeries]:
        step = node.step.total_seconds() if node.step else SUBQUERY_STEP_S
        # Its moments are multiples of the step, whatever the time of the query.
        first = np.ceil((float(ends.min()) - length_s) / step) * step
        grid = Grid.over(first, max(first, float(ends.max())), step)
        inner = _Evaluation(self._source, grid, self._depth + 1).vector(node.expr)
        return [
            RawSeries(labels, grid.moments[column.present], column.values[column.present])
            for labels, column in inner.items()
        ]

    # --- calls ----------------------------------------------------------------------------------

    def call(self, node: Any) -> Value:
        """Return the value of a function."""
        name, arguments = str(node.func.name), list(node.args)
        if name in RANGE_FUNCTIONS:
            return self._range_function(name, arguments)
        if name in functions.MATHS:
            rest = [self.scalar(argument) for argument in arguments[1:]]
            maths = functions.MATHS[name]
            return functions.map_values(
                self.vector(arguments[0]), lambda values: maths(values, *rest)
            )
        if name in functions.CALENDAR:
            part = functions.CALENDAR[name]
            return (
                functions.map_values(self.vector(arguments[0]), part)
                if arguments
                else {(): everywhere(part(self._grid.moments))}
            )
        special = _SPECIAL.get(name)
        if special is None:
            raise PromqlError(f"function {name} is not supported here")
        return special(self, arguments)

    def _range_function(self, name: str, arguments: list[Any]) -> Vector:
        parameter = constant(0.0, self._count)
        if name == "quantile_over_time":
            parameter = self.scalar(arguments.pop(0))
        elif name == "predict_linear":
            parameter = self.scalar(arguments.pop())
        compute = RANGE_FUNCTIONS[name]
        result: Vector = {}
        for labels, cut in self.cut(arguments[0]).items():
            kept = labels if name == "last_over_time" else drop(labels, (NAME,))
            add(result, kept, compute(cut, parameter))
        return result

    def time(self, arguments: list[Any]) -> Value:
        """`time()`."""
        return self._grid.moments.copy()

    def scalar_of(self, arguments: list[Any]) -> Value:
        """`scalar(v)`."""
        return functions.to_scalar(self.vector(arguments[0]), self._count)

    def vector_of(self, arguments: list[Any]) -> Value:
        """`vector(s)`."""
        return {(): everywhere(self.scalar(arguments[0]))}

    def timestamp(self, arguments: list[Any]) -> Value:
        """`timestamp(v)`: of a selector the time of the sample, else the moment."""
        node = arguments[0]
        if isinstance(node, ast.VectorSelector):
            found = self._newest(node, lambda series, place: series.times[place])
            return functions.map_values(found, lambda values: values)
        return functions.map_values(self.vector(node), lambda values: self._grid.moments)

    def absent(self, arguments: list[Any]) -> Value:
        """`absent(v)`: 1 where there is no sample."""
        found = [column.present for column in self.vector(arguments[0]).values()]
        return self._absence(found, arguments[0])

    def absent_over_time(self, arguments: list[Any]) -> Value:
        """`absent_over_time(r)`: 1 where the range has no sample."""
        found = [cut.counts >= 1 for cut in self.cut(arguments[0]).values()]
        return self._absence(found, getattr(arguments[0], "vector_selector", None))

    def _absence(self, found: list[Any], node: Any) -> Vector:
        present = np.zeros(self._count, dtype=np.bool_)
        for flags in found:
            present |= flags
        equal = matchers_in(node) if isinstance(node, ast.VectorSelector) else []
        labels = {m.name: m.value for m in equal if m.is_equal and not m.is_regex}
        labels.pop(NAME, None)
        return {make_labels(labels): Column(constant(1.0, self._count), ~present)}

    def histogram_quantile(self, arguments: list[Any]) -> Value:
        """`histogram_quantile(q, v)`."""
        return functions.histogram_quantile(self.scalar(arguments[0]), self.vector(arguments[1]))

    def label_replace(self, arguments: list[Any]) -> Value:
        """`label_replace(v, dst, replacement, src, regex)`."""
        return functions.label_replace(self.vector(arguments[0]), self._strings(arguments[1:]))

    def label_join(self, arguments: list[Any]) -> Value:
        """`label_join(v, dst, separator, src...)`."""
        return functions.label_join(self.vector(arguments[0]), self._strings(arguments[1:]))

    def ordered(self, arguments: list[Any]) -> Value:
        """`sort` and `sort_desc`: the order is not kept here, results are sorted by labels."""
        return self.vector(arguments[0])

    def _strings(self, arguments: list[Any]) -> list[str]:
        values = [self.value(argument) for argument in arguments]
        if not all(isinstance(value, str) for value in values):
            raise PromqlError("expected strings")
        return [str(value) for value in values]

    # --- operators ------------------------------------------------------------------------------

    def aggregation(self, node: Any) -> Value:
        """Return an aggregation."""
        parameter = constant(0.0, self._count)
        if str(node.op) == "count_values":
            raise PromqlError("count_values is not supported here")
        if node.param is not None:
            parameter = self.scalar(node.param)
        modifier = node.modifier
        without = modifier is not None and modifier.type == ast.AggModifierType.Without
        names = tuple(modifier.labels) if modifier is not None else ()
        return aggregate(str(node.op), self.vector(node.expr), parameter, names, without)

    def operator(self, node: Any) -> Value:
        """Return the value of a binary operator."""
        operator = str(node.op)
        as_bool = node.modifier is not None and bool(node.modifier.return_bool)
        left, right = self.value(node.lhs), self.value(node.rhs)
        if isinstance(left, str) or isinstance(right, str):
            raise PromqlError("operators do not take strings")
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return binary.scalars(operator, left, right)
        if isinstance(left, dict) and isinstance(right, dict):
            return _between_vectors(operator, left, right, node.modifier)
        if isinstance(left, dict) and isinstance(right, np.ndarray):
            return binary.with_scalar(operator, left, right, swapped=False, as_bool=as_bool)
        assert isinstance(right, dict)  # noqa: S101 - the one case left
        assert isinstance(left, np.ndarray)  # noqa: S101
        return binary.with_scalar(operator, right, left, swapped=True, as_bool=as_bool)


def _between_vectors(operator: str, left: Vector, right: Vector, modifier: Any) -> Vector:
    matching = matching_of(modifier)
    if operator in binary.SET_OPERATORS:
        return binary.set_operation(operator, left, right, matching)
    as_bool = modifier is not None and bool(modifier.return_bool)
    return binary.vectors(operator, left, right, matching, as_bool=as_bool)


_VISITORS: dict[type, Callable[[_Evaluation, Any], Value]] = {
    ast.NumberLiteral: _Evaluation.number,
    ast.StringLiteral: _Evaluation.string,
    ast.ParenExpr: _Evaluation.paren,
    ast.UnaryExpr: _Evaluation.unary,
    ast.VectorSelector: _Evaluation.instant,
    ast.Call: _Evaluation.call,
    ast.AggregateExpr: _Evaluation.aggregation,
    ast.BinaryExpr: _Evaluation.operator,
}
_SPECIAL: dict[str, Callable[[_Evaluation, list[Any]], Value]] = {
    "time": _Evaluation.time,
    "scalar": _Evaluation.scalar_of,
    "vector": _Evaluation.vector_of,
    "timestamp": _Evaluation.timestamp,
    "absent": _Evaluation.absent,
    "absent_over_time": _Evaluation.absent_over_time,
    "histogram_quantile": _Evaluation.histogram_quantile,
    "label_replace": _Evaluation.label_replace,
    "label_join": _Evaluation.label_join,
    "sort": _Evaluation.ordered,
    "sort_desc": _Evaluation.ordered,
}
