"""Rules written in Python, as the user's guide shows them, and the two that it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Records = Sequence[Mapping[str, Any]]

_WRONG_INPUT = (TypeError, LookupError, AttributeError, ValueError, ArithmeticError)
"""What a condition raises that was written for the other kind of record."""


@dataclass(frozen=True)
class DiagnosticRule:
    """A rule whose condition is a function of log records, or of metric records.

    The condition is called with the list of logs and with the list of metrics; each is a list of
    dictionaries. That it raises for one of them only says that it was written for the other.
    """

    name: str
    condition: Callable[[Any], Any]
    root_cause: str
    confidence_base: float
    remediation_actions: list[str] = field(default_factory=list)

    def matches(self, records: Records) -> bool:
        """Return whether the condition holds of these records; False if it cannot read them."""
        try:
            return bool(self.condition(records))
        except _WRONG_INPUT:
            return False


DATABASE_TIMEOUT_RULE = DiagnosticRule(
    name="Database Timeout Detection",
    condition=lambda logs: any(
        "timeout" in log.get("message", "").lower() and log.get("level") == "ERROR" for log in logs
    ),
    root_cause="Database connection timeout",
    confidence_base=0.92,
    remediation_actions=[
        "Increase connection pool size",
        "Tune database connection timeout",
        "Check network latency",
    ],
)

MEMORY_LEAK_RULE = DiagnosticRule(
    name="Memory Leak Detection",
    condition=lambda metrics: any(
        metric.get("memory_usage") > 90 and metric.get("trend") == "increasing"
        for metric in metrics
    ),
    root_cause="Memory leak in application",
    confidence_base=0.87,
    remediation_actions=["Restart service", "Review code changes", "Monitor memory heap"],
)

GUIDE_RULES = (DATABASE_TIMEOUT_RULE, MEMORY_LEAK_RULE)
