"""The topology that people write down: who calls whom and what runs where, as YAML."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from it_incident_response.domain.topology import Topology
from it_incident_response.errors import ConfigError

FILE_BYTES_MAX = 1_000_000
_DEPTH_MAX = 20
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Names = Annotated[tuple[_Name, ...], Field(max_length=1000)]


class _Written(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    services: Annotated[tuple[_Name, ...], Field(max_length=10_000)] = ()
    """Every service there is; where given, `calls` and `runs_on` may name no other."""
    calls: Annotated[Mapping[_Name, _Names], Field(max_length=10_000)] = {}
    """Service to the services that it depends on."""
    runs_on: Annotated[Mapping[_Name, _Names], Field(max_length=10_000)] = {}
    """Service to its hosts or nodes."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = set(self.services)
        if not known:
            return self
        named = [("calls", name) for name in self.calls]
        named += [("calls", callee) for callees in self.calls.values() for callee in callees]
        named += [("runs_on", name) for name in self.runs_on]
        for where, name in named:
            if name not in known:
                raise ValueError(f"{where} names {name!r}, which is not among services")
        return self


class TopologyFile:
    """A file that is read again at every question, so that an edit counts at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def topology(self) -> Topology:
        """Return the graph; raises `ConfigError`, naming the line or the key."""
        return await asyncio.to_thread(read_topology, self._path)


def read_topology(path: Path) -> Topology:
    """Return the graph in a file; raises `ConfigError`, naming the line or the key."""
    content = _content(path)
    try:
        written = _Written.model_validate(content if content is not None else {})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{path}: {f'{where}: ' if where else ''}{what}",
            hint="the file has the keys services (a list), calls and runs_on (name to list)",
        ) from None
    return Topology(
        calls={name: frozenset(callees) for name, callees in written.calls.items()},
        runs_on={name: frozenset(hosts) for name, hosts in written.runs_on.items()},
    )


def _content(path: Path) -> object:
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            hint="infrastructure.topology.file names it",
        ) from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX:,} bytes")
    try:
        text = data.decode("utf-8")
        _refuse_excess(path, yaml.scan(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or "too deeply nested"
        raise ConfigError(f"{path}:{line} no valid YAML: {problem}") from None


def _refuse_excess(path: Path, tokens: Iterator[yaml.Token]) -> None:
    """Refuse what makes a small file a huge one, or takes a parser minutes."""
    depth = 0
    for token in tokens:
        line = token.start_mark.line + 1
        if isinstance(token, yaml.AliasToken):
            raise ConfigError(f"{path}: line {line}: anchors and aliases are not understood here")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _DEPTH_MAX:
            raise ConfigError(f"{path}: line {line}: no valid YAML of this form: too deeply nested")
