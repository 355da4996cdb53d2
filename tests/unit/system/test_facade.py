"""IncidentResponseSystem, as the user's guide calls it."""

import asyncio
import socket

import pytest

from it_incident_response import IncidentResponseSystem
from it_incident_response.errors import (
    ConfigError,
    ConnectorUnavailable,
    IllegalTransition,
    IncidentResponseError,
    InputRejected,
    NotFound,
)
from tests.wire_host import served, world_with

STATUSES = {"investigating", "identified", "resolving", "resolved", "closed"}
SEVERITIES = {"low", "medium", "high", "critical"}


@pytest.fixture(scope="module")
def preloaded():
    """The system with its five incidents: made once."""
    with IncidentResponseSystem() as system:
        yield system


@pytest.fixture(scope="module")
def empty():
    """The system without any incident but those that the tests open."""
    with IncidentResponseSystem(preload_incidents=False) as system:
        yield system


def opened(system, **given):
    return system.create_incident(
        **{
            "title": "checkout is slow",
            "description": "customers complain",
            "severity": "high",
            "affected_systems": ["checkout"],
            **given,
        }
    )


def test_five_incidents_are_preloaded(preloaded):
    found = preloaded.list_incidents()
    assert len(found) == 5
    assert len({incident["key"] for incident in found}) == 5
    for incident in found:
        assert incident["incident_id"]
        assert incident["status"] in STATUSES
        assert incident["severity"] in SEVERITIES
        assert incident["affected_systems"]


def test_a_preloaded_incident_is_explained_and_repaired(preloaded):
    incident = preloaded.list_incidents()[0]
    report = preloaded.analyze_incident(incident["incident_id"])
    assert {
        "report_id",
        "status",
        "root_cause",
        "confidence",
        "evidence",
        "recommended_actions",
    } <= report.keys()
    assert "leak" in report["root_cause"]
    assert 0.5 < report["confidence"] <= 1
    assert all({"id", "source", "summary", "query"} <= item.keys() for item in report["evidence"])
    assert report["recommended_actions"]
    result = preloaded.implement_resolution(incident["incident_id"])
    assert {"status", "actions_taken", "verification"} <= result.keys()
    assert result["status"] == "resolved", result["message"]
    assert result["verification"]["result"] == "verified"
    assert [taken["action"] for taken in result["actions_taken"]] == ["restart_service"]
    assert preloaded.get_incident_status(incident["incident_id"])["status"] == "resolved"


def test_analysing_changes_nothing_outside(preloaded):
    incident = preloaded.list_incidents()[-1]
    world = preloaded._runtime.adapters.world
    restarts = [instance.restarts for instance in world.state.instances]
    first = preloaded.analyze_incident(incident["incident_id"])
    second = preloaded.analyze_incident(incident["incident_id"])
    assert first["report_id"] != second["report_id"]
    assert first["root_cause"] == second["root_cause"]
    assert [instance.restarts for instance in world.state.instances] == restarts


def test_what_comes_back_is_analysed_and_approved_anew(preloaded):
    incident = next(i for i in preloaded.list_incidents() if i["status"] == "investigating")[
        "incident_id"
    ]
    preloaded.update_incident_status(incident, "resolved")
    preloaded.update_incident_status(incident, "investigating")
    result = preloaded.implement_resolution(incident)
    assert result["status"] != "awaiting_approval"
    assert result["actions_taken"]


def test_an_incident_by_hand_is_listed_and_looked_at(empty):
    incident = opened(empty, tags=["api", "slow"])
    shown = empty.get_incident_status(incident)
    assert shown["title"] == "checkout is slow"
    assert shown["status"] == "investigating"
    assert shown["tags"] == ["api", "slow"]
    assert shown["now"].startswith("being diagnosed")
    assert incident in [each["incident_id"] for each in empty.list_incidents()]
    report = empty.analyze_incident(incident)
    assert report["root_cause"] is None, "nothing is wrong in this world"
    assert report["status"] == "inconclusive"
    assert report["confidence"] == 0
    result = empty.implement_resolution(incident)
    assert result["status"] == "no_action"
    assert result["actions_taken"] == []
    assert result["verification"] is None


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("warning", "medium"), ("page", "critical"), ("P1", "critical"), ("low", "low")],
)
def test_any_word_for_severity_is_understood(empty, word, meaning):
    assert empty.get_incident_status(opened(empty, severity=word))["severity"] == meaning


def test_statuses_change_as_the_guide_says(empty):
    incident = opened(empty)
    steps = ["grow the pool", "restart"]
    shown = empty.update_incident_status(
        incident, status="resolved", notes="done", remediation_steps=steps
    )
    assert shown["status"] == "resolved"
    assert empty.update_incident_status(incident, "RESOLVED ")["status"] == "resolved"
    assert empty.update_incident_status(incident, "closed")["status"] == "closed"
    assert empty.update_incident_status(incident, "investigating")["reopened_count"] == 1


def test_errors_say_what_is_wrong(empty):
    incident = opened(empty)
    for call in (empty.get_incident_status, empty.analyze_incident, empty.implement_resolution):
        with pytest.raises(NotFound):
            call("INC-999999")
    with pytest.raises(InputRejected, match="is no status"):
        empty.update_incident_status(incident, "fixed")
    with pytest.raises(IllegalTransition, match="before a cause is identified"):
        empty.update_incident_status(incident, "resolving")
    with pytest.raises(InputRejected, match="title is empty"):
        opened(empty, title=" ")
    with pytest.raises(InputRejected, match="one string"):
        opened(empty, affected_systems="checkout")
    with pytest.raises(InputRejected, match="at most"):
        opened(empty, description="x" * 100_001)
    empty.update_incident_status(incident, "closed")
    with pytest.raises(IncidentResponseError, match="closed"):
        empty.analyze_incident(incident)


def test_it_works_inside_a_running_event_loop(empty):
    """As in a notebook."""

    async def cell():
        incident = opened(empty)
        return empty.analyze_incident(incident)

    assert asyncio.run(cell())["status"] == "inconclusive"


def test_cleanup_may_be_called_twice_and_ends_it():
    system = IncidentResponseSystem(preload_incidents=False)
    system.cleanup()
    system.cleanup()
    with pytest.raises(RuntimeError):
        system.list_incidents()


def test_the_record_of_a_configured_folder_stays(tmp_path):
    config = {"data_dir": str(tmp_path / "kept")}
    with IncidentResponseSystem(preload_incidents=False, config=config) as system:
        incident = opened(system)
    with IncidentResponseSystem(preload_incidents=False, config=config) as system:
        assert system.get_incident_status(incident)["title"] == "checkout is slow"


def test_without_a_folder_nothing_is_left_behind(tmp_path):
    with IncidentResponseSystem(preload_incidents=False) as system:
        opened(system)
    assert [path.name for path in tmp_path.iterdir()] == [".home"]


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_an_unreachable_prometheus_is_an_error_and_never_simulated(tmp_path):
    config = {
        "infrastructure.monitoring.prometheus.url": f"http://127.0.0.1:{unused_port()}",
        "data_dir": str(tmp_path / "real"),
    }
    with IncidentResponseSystem(use_real_data=True, config=config) as system:
        runtime = system._runtime
        assert runtime.adapters.world is None
        assert system.list_incidents() == [], "nothing is preloaded beside real alerts"
        with pytest.raises(ConnectorUnavailable, match="prometheus"):
            system._call(lambda: runtime.adapters.alerts.firing_alerts())
        report = system.analyze_incident(opened(system))
        assert report["root_cause"] is None
        assert any("prometheus" in text for text in report["missing"]), report["missing"]


def test_real_data_without_an_address_is_refused():
    with pytest.raises(ConfigError, match="PROMETHEUS_URL"):
        IncidentResponseSystem(use_real_data=True)


@pytest.fixture(scope="module")
def wire():
    """A world in which a service crashed, behind Prometheus' own HTTP."""
    world = world_with("service_down")
    with served(world) as url:
        yield world, url


@pytest.fixture
def mixed(wire, tmp_path):
    """Real alerts and metrics, all else simulated or left out: as in the guide's first phases."""
    config = {
        "infrastructure.monitoring.prometheus.url": wire[1],
        "data_dir": str(tmp_path / "mixed"),
    }
    with IncidentResponseSystem(use_real_data=True, config=config) as system:
        yield system


def test_real_connectors_read_a_prometheus_and_the_cause_is_named(wire, mixed):
    world, _ = wire
    runtime = mixed._runtime
    adapters = runtime.adapters
    assert type(adapters.alerts).__name__ == "PrometheusIncidentDetector"
    taken = mixed._call(lambda: runtime.detection.poll(adapters.alerts, adapters.conditions))
    assert taken == len(world.firing())
    again = mixed._call(lambda: runtime.detection.poll(adapters.alerts, adapters.conditions))
    assert again == 0, "the same alerts were taken in twice"
    titles = {each["title"].split()[0]: each for each in mixed.list_incidents()}
    incident = titles["ServiceDown"]
    report = mixed.analyze_incident(incident["incident_id"])
    assert report["root_cause"] == "The service does not run or does not answer."
    assert any(item["source"] == "prometheus" and item["query"] for item in report["evidence"])
    result = mixed.implement_resolution(incident["incident_id"], approved_by="alice")
    assert result["status"] in ("no_action", "dry_run", "escalated"), "nothing may act here"
    assert all(taken["state"] == "dry_run" for taken in result["actions_taken"])
    assert world.incidents[-1].ended_at is None
