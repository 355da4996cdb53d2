"""Seeded alerts for the benchmarks: realistic label sets, a chosen number of fingerprints."""

import json
import random
from pathlib import Path
from typing import Any

STARTS_AT = "2026-11-23T10:00:00Z"
NEVER = "0001-01-01T00:00:00Z"


def alert(number: int) -> dict[str, Any]:
    """Return the `number`-th alert; equal numbers have equal labels."""
    rng = random.Random(number)
    service = f"service-{number % 50}"
    return {
        "status": "firing",
        "labels": {
            "alertname": rng.choice(["HighErrorRate", "HighLatency", "InstanceDown", "DiskFull"]),
            "instance": f"10.0.{number // 250}.{number % 250}:9100",
            "job": "node",
            "service": service,
            "severity": rng.choice(["critical", "warning", "info"]),
            "cluster": "prod-eu-1",
            "series": str(number),
        },
        "annotations": {
            "summary": f"{service} misbehaves on instance {number}",
            "description": "value is 0.97, the limit is 0.95, for more than 5 minutes",
            "runbook_url": f"https://runbooks.example.com/{service}",
        },
        "startsAt": STARTS_AT,
        "endsAt": NEVER,
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    }


def webhook(alerts: list[dict[str, Any]]) -> bytes:
    """Return an Alertmanager webhook body (version 4) with these alerts."""
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "iir",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "alerts": alerts,
    }
    return json.dumps(body).encode()


def posted(alerts: list[dict[str, Any]]) -> bytes:
    """Return the body of Alertmanager's own `POST /api/v2/alerts` with the same alerts."""
    wanted = ("labels", "annotations", "startsAt", "generatorURL")
    return json.dumps([{k: a[k] for k in wanted} for a in alerts]).encode()


def batches(fingerprints: int, size: int) -> list[list[dict[str, Any]]]:
    """Return `fingerprints` alerts in batches of `size`."""
    every = [alert(n) for n in range(fingerprints)]
    return [every[i : i + size] for i in range(0, fingerprints, size)]


def write_wrk_script(bodies: list[bytes], folder: Path) -> Path:
    """Write a wrk script that posts the bodies in turn, each thread from its own beginning."""
    for number, body in enumerate(bodies):
        (folder / f"body-{number}.json").write_bytes(body)
    script = folder / "post.lua"
    script.write_text(
        f"""local bodies = {{}}
for n = 0, {len(bodies) - 1} do
  local file = io.open("{folder}/body-" .. n .. ".json", "rb")
  bodies[n + 1] = file:read("*a")
  file:close()
end
local turn = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  turn = turn % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[turn])
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write +
    summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""
    )
    return script
