"""SystemMonitorTool: what it asks for, and what it says of the answer."""

from datetime import timedelta

import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Shape, Signal
from it_incident_response.errors import ConfigError
from it_incident_response.integrations import PrometheusIncidentDetector
from it_incident_response.tools.system_monitor import SystemMonitorTool
from tests.unit.tools.support import NOW, WEB, FixedClock, Incidents, Metrics, footprint


def tool(metrics: Metrics, **more) -> SystemMonitorTool:
    return SystemMonitorTool(metrics=metrics, clock=FixedClock(), **more)


def test_what_changed_is_told_apart_from_what_did_not():
    metrics = Metrics({Signal.MEMORY_USE: (0.5, 0.95), Signal.CPU_USE: (0.2, 0.2)})
    wanted = ["memory_use", "cpu_use", "disk_use"]
    result = tool(metrics).execute({"servers": ["web-1"], "signals": wanted})
    assert result["status"] == "success"
    (abnormal,) = result["abnormal"]
    assert abnormal["finding"]["signal"] == "memory_use"
    assert abnormal["query"] == "query of memory_use"
    assert [reading["finding"]["signal"] for reading in result["normal"]] == ["cpu_use"]
    assert result["missing"] == ["disk_use"]


def test_the_baseline_lies_before_the_window_and_both_are_read():
    metrics = Metrics({})
    tool(metrics).execute({"servers": ["web-1"], "window_s": 600, "baseline_s": 1200})
    (request,) = metrics.requests
    assert request.window.end == NOW
    assert request.window.start == NOW - timedelta(seconds=1800)
    assert set(request.signals) == set(Signal)


def test_flat_records_have_the_guides_names_and_percentages():
    metrics = Metrics(
        {
            Signal.MEMORY_USE: (0.5, 0.95),
            Signal.CPU_USE: (0.25, 0.25),
            Signal.NETWORK_LATENCY: (0.01, 0.01),
            Signal.UP: (1.0, 1.0),
        }
    )
    (record,) = tool(metrics).execute({"servers": ["web-1"]})["metrics"]
    assert record["system"] == "web-1"
    assert record["memory_usage"] == pytest.approx(95, rel=0.01)
    assert record["cpu_usage"] == pytest.approx(25, rel=0.01)
    assert record["network_latency"] == pytest.approx(10, rel=0.01)
    assert record["up"] == pytest.approx(1, rel=0.01)
    assert record["trend"] == "increasing"
    assert "disk_usage" not in record, "what is not known is left out"


def test_memory_that_falls_is_not_increasing():
    metrics = Metrics({Signal.MEMORY_USE: (0.9, 0.3)})
    (record,) = tool(metrics).execute({"servers": ["web-1"]})["metrics"]
    assert record["trend"] == "decreasing"


def test_a_server_may_be_written_as_an_instance():
    metrics = Metrics({})
    tool(metrics).execute({"servers": ["web-1:9100", "http://db-1:8080/health"]})
    assert metrics.requests[0].entities == (
        Entity(EntityKind.HOST, "web-1"),
        Entity(EntityKind.INSTANCE, "web-1:9100"),
        Entity(EntityKind.HOST, "db-1"),
        Entity(EntityKind.INSTANCE, "http://db-1:8080/health"),
    )


def test_an_incident_gives_its_things_and_its_time():
    metrics = Metrics({})
    monitor = tool(metrics, incidents=Incidents(footprint=footprint()))
    result = monitor.execute({"incident_id": "INC-000001", "baseline_s": 60})
    assert result["status"] == "success"
    (request,) = metrics.requests
    assert request.entities == (WEB, Entity(EntityKind.SERVICE, "checkout")), "its core first"
    assert request.window.start == NOW - timedelta(minutes=25, seconds=60)


def test_an_incident_opened_by_hand_has_names_only():
    metrics = Metrics({})
    monitor = tool(metrics, incidents=Incidents(affected_systems=("web-1",)))
    monitor.execute({"incident_id": "INC-000001"})
    assert metrics.requests[0].entities == (Entity(EntityKind.SERVICE, "web-1"), WEB)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "no server or service is named"),
        ({"incident_id": "INC-000009"}, "there is no incident"),
        ({"servers": [""]}, "servers.0"),
        ({"servers": ["a"] * 51}, "servers"),
        ({"servers": ["a"], "signals": ["warmth"]}, "signals.0"),
        ({"servers": ["a"], "window_s": 1}, "window_s"),
        (
            {"servers": ["a"], "start": "2026-11-23T12:00:00Z", "end": "2026-11-23T11:00:00Z"},
            "start must be before end",
        ),
        ({"servers": ["a"], "start": "2026-11-23T12:00:00"}, "zone"),
    ],
)
def test_what_is_wrong_is_named(params, words):
    result = tool(Metrics({}), incidents=Incidents()).execute(params)
    assert result["status"] == "error"
    assert words in result["message"]


def test_nothing_is_simulated_without_a_source():
    result = SystemMonitorTool().execute({"servers": ["web-1"]})
    assert result["status"] == "error"
    assert "no metric source" in result["message"]


def test_a_url_connects_to_prometheus_through_the_registry():
    monitor = SystemMonitorTool("http://127.0.0.1:1")
    assert isinstance(monitor._metrics, PrometheusIncidentDetector)
    result = monitor.execute({"servers": ["web-1"]})
    assert result["status"] == "error"
    assert "cannot be reached" in result["message"]


def test_a_url_that_is_none_and_two_sources_are_refused():
    with pytest.raises(ConfigError, match="write a full URL"):
        SystemMonitorTool("localhost")
    with pytest.raises(ConfigError, match="not both"):
        SystemMonitorTool("http://a.invalid", metrics=Metrics({}))


def test_the_strongest_difference_comes_first():
    metrics = Metrics({Signal.CPU_USE: (0.2, 0.5), Signal.LATENCY_P95: (0.1, 9.0)})
    result = tool(metrics).execute({"servers": ["web-1"]})
    effects = [abs(reading["finding"]["effect"]) for reading in result["abnormal"]]
    assert len(effects) == 2
    assert effects == sorted(effects, reverse=True)
    assert {reading["finding"]["shape"] for reading in result["abnormal"]} <= set(Shape)
