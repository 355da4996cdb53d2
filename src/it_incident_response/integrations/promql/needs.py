"""Takes an expression apart: which metrics have to exist for it to be able to give anything."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

_ALWAYS_TELLING = frozenset({"absent", "absent_over_time"})

Leaf = Callable[[Any], str]
"""Names what a vector selector needs, also one inside a range selector."""


class NotTakenApart(ValueError):
    """The expression uses something whose needs cannot be told."""


@dataclass(frozen=True)
class Needs:
    """A condition on data: something named `name` exists; or all, or any, of the parts hold."""

    name: str | None = None
    parts: "tuple[Needs, ...]" = ()
    any_suffices: bool = False

    def names(self) -> Iterator[str]:
        """Yield every name, in the order of the expression."""
        if self.name is not None:
            yield self.name
        for part in self.parts:
            yield from part.names()

    def are_met(self, existing: Collection[str]) -> bool:
        """Return whether the data are there, given the names that exist."""
        if self.name is not None:
            return self.name in existing
        met = (part.are_met(existing) for part in self.parts)
        return any(met) if self.any_suffices and self.parts else all(met)


def parsed(expression: str) -> Any:
    """Return the syntax tree of an expression; raises `NotTakenApart` if it has none."""
    from promql_parser import parse

    try:
        return parse(expression)
    except ValueError as error:
        raise NotTakenApart(f"it cannot be parsed: {error}") from error


def needs_of(node: Any, leaf: Leaf) -> Needs:
    """Return what the syntax tree needs, each selector named by `leaf`.

    Of `a unless b` only `a` is needed; of `a or b` any side that reads metrics; `absent(a)` needs
    nothing, as it tells something either way. Raises `NotTakenApart`.
    """
    import promql_parser as ast

    match node:
        case ast.VectorSelector():
            return Needs(name=leaf(node))
        case ast.MatrixSelector():
            return Needs(name=leaf(node.vector_selector))
        case ast.BinaryExpr():
            return _needs_of_operator(node, leaf)
    return Needs(parts=tuple(needs_of(operand, leaf) for operand in _operands(node)))


def _operands(node: Any) -> tuple[Any, ...]:
    """Return the expressions all of whose data the node needs."""
    import promql_parser as ast

    match node:
        case ast.Call():
            return () if node.func.name in _ALWAYS_TELLING else tuple(node.args)
        case ast.AggregateExpr():
            return (node.expr,) if node.param is None else (node.expr, node.param)
        case ast.ParenExpr() | ast.UnaryExpr():
            return (node.expr,)
        case ast.SubqueryExpr() if node.at is None and not node.offset:
            return (node.expr,)
        case ast.NumberLiteral() | ast.StringLiteral():
            return ()
    raise NotTakenApart(f"it uses {type(node).__name__} in a way we do not judge")


def _needs_of_operator(node: Any, leaf: Leaf) -> Needs:
    operator = str(node.op)
    left = needs_of(node.lhs, leaf)
    if operator == "unless":
        return left
    right = needs_of(node.rhs, leaf)
    if operator == "or":
        sides = tuple(side for side in (left, right) if any(side.names()))
        return Needs(parts=sides, any_suffices=True)
    return Needs(parts=(left, right))
