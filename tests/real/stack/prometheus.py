"""A real Prometheus: given what to scrape and which rules, it evaluates both every second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.real.stack.process import LOOPBACK, Server, free_port, require_binary

ScrapeJob = Mapping[str, Any]
Rule = Mapping[str, Any]


@dataclass(kw_only=True)
class Prometheus(Server):
    """A Prometheus server; start, stop and start again keep its address and its data."""

    url: str
    rules_file: Path

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        result: list[dict[str, Any]] = self._get("/api/v1/query", query=promql)["result"]
        return result

    def value(self, promql: str) -> float | None:
        """Return the value of a query with one result; None if it has none."""
        result = self.query(promql)
        return float(result[0]["value"][1]) if result else None

    def alerts(self, *, state: str = "firing") -> list[dict[str, Any]]:
        """Return the active alerts in that state."""
        return [alert for alert in self._get("/api/v1/alerts")["alerts"] if alert["state"] == state]

    def load_rules(self, rules: Sequence[Rule]) -> None:
        """Replace the alerting rules of the running server."""
        _write_rules(self.rules_file, rules)
        httpx.post(f"{self.url}/-/reload", timeout=5).raise_for_status()

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        reply = httpx.get(f"{self.url}{path}", params=parameters, timeout=5).raise_for_status()
        data: dict[str, Any] = reply.json()["data"]
        return data


def scrape(job: str, *targets: str, labels: Mapping[str, str] | None = None) -> ScrapeJob:
    """Return a job that reads `/metrics` of `host:port` targets."""
    return {
        "job_name": job,
        "static_configs": [{"targets": list(targets), "labels": dict(labels or {})}],
    }


def probe(
    job: str, exporter: str, *urls: str, labels: Mapping[str, str] | None = None
) -> ScrapeJob:
    """Return a job that has the blackbox exporter at `host:port` probe URLs over HTTP.

    As is usual, `instance` is the probed URL, not the exporter.
    """
    return {
        "job_name": job,
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": [{"targets": list(urls), "labels": dict(labels or {})}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": exporter},
        ],
    }


def alert(
    name: str,
    expression: str,
    *,
    severity: str,
    summary: str,
    hold: str = "1s",
    labels: Mapping[str, str] | None = None,
) -> Rule:
    """Return an alerting rule that fires once `expression` has held for `hold`."""
    return {
        "alert": name,
        "expr": expression,
        "for": hold,
        "labels": {"severity": severity, **(labels or {})},
        "annotations": {"summary": summary, "description": f"{summary} (value {{{{ $value }}}})"},
    }


def prometheus_server(
    directory: Path,
    *,
    scrapes: Sequence[ScrapeJob] = (),
    rules: Sequence[Rule] = (),
    alertmanager: str | None = None,
) -> Prometheus:
    """Return a server, not started, that scrapes and evaluates every second.

    `alertmanager` is the `host:port` to send alerts to. The server also scrapes itself.
    """
    binary = require_binary("prometheus", package="prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    listen = f"{LOOPBACK}:{free_port()}"
    rules_file, config = directory / "rules.yml", directory / "prometheus.yml"
    _write_rules(rules_file, rules)
    alerting = {"static_configs": [{"targets": [alertmanager]}]}
    config.write_text(
        yaml.safe_dump(
            {
                "global": {
                    "scrape_interval": "1s",
                    "scrape_timeout": "1s",
                    "evaluation_interval": "1s",
                },
                "rule_files": [str(rules_file)],
                "scrape_configs": [scrape("prometheus", listen), *scrapes],
                "alerting": {"alertmanagers": [alerting] if alertmanager else []},
            }
        )
    )
    url = f"http://{listen}"
    return Prometheus(
        name="prometheus",
        url=url,
        rules_file=rules_file,
        log=directory / "prometheus.log",
        ready=lambda: httpx.get(f"{url}/-/ready", timeout=2).is_success,
        argv=[
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={listen}",
            "--web.enable-lifecycle",
            "--rules.alert.resend-delay=1s",
        ],
    )


def _write_rules(path: Path, rules: Sequence[Rule]) -> None:
    groups = [{"name": "test", "rules": [dict(rule) for rule in rules]}] if rules else []
    path.write_text(yaml.safe_dump({"groups": groups}))
