"""Connecting a tool by URL: through what is registered, and only to what fits."""

from types import SimpleNamespace

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.ports import registry
from it_incident_response.tools.connection import log_source, metric_source
from tests.unit.tools.support import Logs, Metrics


@pytest.fixture
def register(monkeypatch):
    """Register a connector that builds this adapter, and keep the settings it was given."""
    given = []

    def register(name: str, adapter: object) -> list:
        connector = SimpleNamespace(
            name=name,
            read_settings=lambda settings: given.append(settings) or settings,
            build=lambda settings, surroundings: adapter,
        )
        monkeypatch.setattr(registry, "registered_connectors", lambda: {name: connector})
        return given

    return register


def test_the_adapter_is_built_for_the_url(register):
    logs = Logs()
    given = register("loki", logs)
    assert log_source("loki", "http://a", advice="") is logs
    assert given == [{"url": "http://a"}]


def test_an_adapter_that_does_something_else_is_refused(register):
    register("loki", Logs())
    with pytest.raises(ConfigError, match="loki stores no metrics"):
        metric_source("loki", "http://a")
    register("prometheus", Metrics({}))
    with pytest.raises(ConfigError, match="prometheus stores no logs"):
        log_source("prometheus", "http://a", advice="")


def test_an_unknown_one_carries_the_advice(register):
    register("loki", Logs())
    with pytest.raises(ConfigError, match="comes later"):
        log_source("elasticsearch", "http://a", advice="comes later")
