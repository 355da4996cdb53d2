"""Evaluates PromQL over recorded series: pure computation on arrays, no I/O."""

from it_incident_response.simulation.promql.evaluator import Grid, Value, evaluate
from it_incident_response.simulation.promql.vectors import (
    Column,
    Labels,
    PromqlError,
    RawSeries,
    SeriesSource,
    Vector,
)

__all__ = [
    "Column",
    "Grid",
    "Labels",
    "PromqlError",
    "RawSeries",
    "SeriesSource",
    "Value",
    "Vector",
    "evaluate",
]
