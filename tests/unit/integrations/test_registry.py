"""How connectors are found by entry point, ours and those of outside packages."""

from importlib.metadata import EntryPoint

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.integrations import CONNECTORS
from it_incident_response.ports import registry

GROUP = registry.CONNECTOR_GROUP
OURS = EntryPoint("builtin", "it_incident_response.integrations:CONNECTORS", GROUP)


@pytest.fixture(autouse=True)
def _forget():
    registry.registered_connectors.cache_clear()
    yield
    registry.registered_connectors.cache_clear()


def install(monkeypatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == GROUP else ())


def test_ours_are_installed():
    assert dict(registry.registered_connectors()) == {each.name: each for each in CONNECTORS}


def test_a_single_connector_of_an_outside_package(monkeypatch):
    name = "it_incident_response.integrations.prometheus_client:CONNECTOR"
    install(monkeypatch, EntryPoint("outside", name, GROUP))
    assert list(registry.registered_connectors()) == ["prometheus"]


def test_two_of_the_same_name_are_a_configuration_error(monkeypatch):
    name = "it_incident_response.integrations.prometheus_client:CONNECTOR"
    install(monkeypatch, OURS, EntryPoint("outside", name, GROUP))
    with pytest.raises(ConfigError, match="two installed packages offer .*'prometheus'"):
        registry.registered_connectors()


@pytest.mark.parametrize("target", ["no_such_package:X", "it_incident_response.errors:NoSuch"])
def test_one_that_cannot_be_loaded_is_named(monkeypatch, target):
    install(monkeypatch, OURS, EntryPoint("broken", target, GROUP))
    with pytest.raises(ConfigError, match=target) as caught:
        registry.registered_connectors()
    assert "'broken'" in caught.value.hint


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="no connector named 'nagios'") as caught:
        registry.registered_connector("nagios")
    names = ", ".join(sorted(connector.name for connector in CONNECTORS))
    assert caught.value.hint == f"installed are: {names}"
