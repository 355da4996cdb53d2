"""What came of many queries: the series in order, and in words what failed or is partial."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from it_incident_response.domain.evidence import SignalSeries
from it_incident_response.errors import ConnectorError, ConnectorUnavailable

GAPS_MAX = 20
"""Gaps told one by one; the others as a number."""
_QUERY_SHOWN = 1_000


@dataclass
class Answers:
    """Collects answers; a strict one lets the first failure end everything."""

    is_strict: bool
    series: dict[tuple[int, int], list[SignalSeries]] = field(default_factory=dict)
    """By number of the entity and of the signal, so that the order does not depend on speed."""
    _gaps: dict[str, None] = field(default_factory=dict)
    _failure: ConnectorError | None = None
    _is_any_answered: bool = False

    @contextmanager
    def judging(self, asked: str) -> Iterator[None]:
        """Make a gap of the failure of what is asked within, unless this is strict."""
        try:
            yield
        except ConnectorError as error:
            if self.is_strict:
                raise
            self._failure = self._failure or error
            self.missing(asked, error.message.removeprefix(f"{error.connector}: "))
        else:
            self._is_any_answered = True

    def missing(self, asked: str, reason: str) -> None:
        """Add the gap that what was asked gave nothing, or not all."""
        self._gaps[f"{asked[:_QUERY_SHOWN]}: {reason}"] = None

    def out_of_time(self, budget_s: float) -> None:
        """Add the gap that not all was asked in time; raises if nothing was answered at all."""
        if not self._is_any_answered and not any(self.series.values()):
            failure = ConnectorUnavailable("prometheus", f"no answer within {budget_s:g} s")
            raise self._failure or failure
        self.missing("the queries that were not answered", f"no answer within {budget_s:g} s")

    def gaps(self) -> tuple[str, ...]:
        """Return what is missing; raises the first failure if nothing was answered."""
        if self._failure is not None and not self._is_any_answered:
            raise self._failure
        told = list(self._gaps)
        more = len(told) - GAPS_MAX
        return (*told[:GAPS_MAX], *((f"and {more} more queries failed",) if more > 0 else ()))

    def in_order(self) -> Sequence[SignalSeries]:
        """Return the series by entity and signal, as they were asked for."""
        return [series for _, several in sorted(self.series.items()) for series in several]
