"""The catalogue of queries: data files that say how each signal of each kind of thing is read."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import Signal
from it_incident_response.errors import ConfigError
from it_incident_response.integrations.promql.needs import Needs, NotTakenApart, needs_of, parsed

SHIPPED = (
    *("host.yaml", "kubernetes_node.yaml"),
    *("service.yaml", "database.yaml", "cache.yaml", "kafka.yaml", "proxy.yaml"),
    *("kubernetes.yaml", "runtime.yaml"),
)
"""In the order in which they are tried: what many systems have in common before the rarer."""
EXPORTERS = (
    *("pg_up", "mysql_up", "mongodb_up", "redis_up", "memcached_up", "nginx_up", "apache_up"),
    *("phpfpm_up", "haproxy_up", "kafka_brokers"),
)
"""Metrics by which the exporter of another program is known."""
_PLACEHOLDER = re.compile(r"\$([a-z]+)")
_FILE_BYTES_MAX = 1_000_000


class Candidate(NamedTuple):
    """One way to read a signal; `$target` and `$window` stand for matchers and rate window."""

    template: str
    needs: Needs
    """Metric names that have to exist for it to give anything."""
    unless: tuple[str, ...] = ()
    """Metric names beside which it is not right."""

    def is_answerable(self, names: Collection[str]) -> bool:
        """Return whether it can give something right where these metrics exist."""
        return self.needs.are_met(names) and not any(name in names for name in self.unless)

    def filled(self, target: str, window: str) -> str:
        """Return the query; `target` must be matchers made by `escaping.matcher`."""
        return _substituted(self.template, {"target": target, "window": window})


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    query: str
    each: list[dict[str, str]] = [{}]
    is_of_process: bool = False
    """It is about the process that is scraped, so exporters have to be left out."""


def _entry(value: Any) -> Any:
    return {"query": value} if isinstance(value, str) else value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kinds: list[EntityKind]
    signals: dict[Signal, list[Annotated[_Entry, BeforeValidator(_entry)]]]


class Catalogue:
    """For each signal and kind of entity, the candidates in the order they are tried."""

    def __init__(self, entries: Mapping[tuple[Signal, EntityKind], Sequence[Candidate]]) -> None:
        self._entries = {key: tuple(candidates) for key, candidates in entries.items()}

    def candidates(self, signal: Signal, kind: EntityKind) -> Sequence[Candidate]:
        """Return the ways to read a signal of this kind of entity; empty if there is none."""
        return self._entries.get((signal, kind), ())

    def all(self) -> Mapping[tuple[Signal, EntityKind], Sequence[Candidate]]:
        """Return everything."""
        return self._entries

    def after(self, first: "Catalogue") -> "Catalogue":
        """Return a catalogue that tries the candidates of `first` before these."""
        keys = {**first.all(), **self._entries}
        return Catalogue({key: (*first.candidates(*key), *self.candidates(*key)) for key in keys})


@cache
def shipped_catalogue() -> Catalogue:
    """Return the catalogue that comes with the package."""
    folder = files("it_incident_response.integrations.promql")
    return _combined([_read(name, (folder / name).read_text("utf-8")) for name in SHIPPED])


def load_catalogue(paths: Sequence[Path]) -> Catalogue:
    """Return the shipped catalogue with the operator's files before it.

    Raises `ConfigError` naming file and entry.
    """
    if not paths:
        return shipped_catalogue()
    own = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                content = stream.read(_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(
                f"cannot read the query catalogue {path}: {error.strerror}"
            ) from error
        if len(content) > _FILE_BYTES_MAX:
            raise ConfigError(f"the query catalogue {path} is larger than {_FILE_BYTES_MAX} bytes")
        own.append(_read(str(path), content.decode("utf-8", "replace")))
    return shipped_catalogue().after(_combined(own))


def _combined(catalogues: Sequence[Catalogue]) -> Catalogue:
    whole = Catalogue({})
    for catalogue in catalogues:
        whole = catalogue.after(whole)
    return whole


def _read(name: str, text: str) -> Catalogue:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        file = _File.model_validate(yaml.load(text, Loader=loader))  # noqa: S506 - safe loaders
    except yaml.YAMLError as error:
        raise ConfigError(f"the query catalogue {name} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the query catalogue {name} is wrong: {where}: {first['msg']}") from None
    return Catalogue(
        {
            (signal, kind): tuple(
                candidate
                for entry in entries
                for values in entry.each
                for candidate in _candidates(name, signal, entry, values)
            )
            for kind in file.kinds
            for signal, entries in file.signals.items()
        }
    )


def _candidates(
    name: str, signal: Signal, entry: _Entry, values: Mapping[str, str]
) -> Iterator[Candidate]:
    candidate = _candidate(name, signal, _substituted(entry.query, values))
    if not entry.is_of_process:
        yield candidate
        return
    yield candidate._replace(unless=EXPORTERS)
    watching = " or ".join(f"{metric}{{$target}}" for metric in EXPORTERS)
    beside = _candidate(name, signal, f"({candidate.template}) unless on (instance) ({watching})")
    any_exporter = Needs(parts=tuple(Needs(name=metric) for metric in EXPORTERS), any_suffices=True)
    yield beside._replace(needs=Needs(parts=(beside.needs, any_exporter)))


def _candidate(name: str, signal: Signal, template: str) -> Candidate:
    """Return a candidate whose query has been proven to parse."""
    unknown = set(_PLACEHOLDER.findall(template)) - {"target", "window"}
    try:
        if unknown or "$target" not in template:
            raise NotTakenApart("it needs $target, and no other placeholder but $window")
        query = _substituted(template, {"target": 'job="x"', "window": "5m"})
        needs = needs_of(parsed(query), _metric_name)
    except NotTakenApart as error:
        raise ConfigError(f"the query catalogue {name}, {signal}: {template!r}: {error}") from error
    return Candidate(template, needs)


def _metric_name(selector: Any) -> str:
    if not selector.name:
        raise NotTakenApart("each selector has to name its metric")
    return str(selector.name)


def _substituted(template: str, values: Mapping[str, str]) -> str:
    """Fill placeholders in one pass, so that nothing in a value is ever taken for one."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)
