"""Connects a tool to an outside system by URL alone, through the registered connectors."""

from it_incident_response.errors import ConfigError
from it_incident_response.ports.registry import Surroundings, registered_connector
from it_incident_response.ports.sources import LogSource, MetricSource


def metric_source(connector: str, url: str) -> MetricSource:
    """Return the metric source at that URL; raises `ConfigError`."""
    source = _built(connector, url)
    if not isinstance(source, MetricSource):
        raise ConfigError(f"{connector} stores no metrics")
    return source


def log_source(connector: str, url: str, *, advice: str) -> LogSource:
    """Return the log source at that URL; raises `ConfigError`, with `advice` if unknown."""
    try:
        source = _built(connector, url)
    except ConfigError as error:
        raise ConfigError(error.message, hint=advice) from error
    if not isinstance(source, LogSource):
        raise ConfigError(f"{connector} stores no logs")
    return source


def _built(connector: str, url: str) -> object:
    found = registered_connector(connector)
    settings = found.read_settings({"url": url})
    built: object = found.build(settings, Surroundings())
    return built
