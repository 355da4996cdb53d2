"""What the receiver counts, in the Prometheus text format 0.0.4."""

from bisect import bisect_left
from collections import Counter

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """Counts of one receiver since it started."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._alerts: Counter[str] = Counter()
        self._bytes = 0
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0

    def request(self, source: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests[source, status] += 1
        if status < 300:
            self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
            self._seconds += seconds

    def accepted(self, source: str, alerts: int, size_bytes: int) -> None:
        """Count a stored body."""
        self._alerts[source] += alerts
        self._bytes += size_bytes

    def exposition(self, readings: dict[str, tuple[str, float]]) -> str:
        """Return everything as text; `readings` maps further names to their help and value.

        A name that ends in `_total` is a counter, any other a gauge.
        """
        lines = [
            *_header("iir_receiver_requests_total", "counter", "Requests by source and status."),
            *(
                f'iir_receiver_requests_total{{source="{source}",status="{status}"}} {count}'
                for (source, status), count in sorted(self._requests.items())
            ),
            *_header("iir_receiver_alerts_total", "counter", "Alerts in acknowledged bodies."),
            *(
                f'iir_receiver_alerts_total{{source="{source}"}} {count}'
                for source, count in sorted(self._alerts.items())
            ),
            *_header("iir_receiver_bytes_total", "counter", "Bytes of acknowledged bodies."),
            f"iir_receiver_bytes_total {self._bytes}",
            *self._histogram(),
        ]
        for name, (text, value) in readings.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [*_header(name, kind, text), f"{name} {value:.17g}"]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "iir_receiver_acknowledged_seconds"
        lines = _header(name, "histogram", "From the request's head to its 2xx answer.")
        total = 0
        for bound, count in zip((*_BUCKETS_S, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._seconds:.6f}", f"{name}_count {total}"]


def _header(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
