"""Reads a policy from YAML so that every mistake is told with its file and line."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from it_incident_response.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

SIZE_LIMIT_BYTES = 1_000_000
_DEPTH_LIMIT = 20

Location = tuple[str | int, ...]
Lines = dict[Location, int]


def read_model(path: Path, model: type[M]) -> M:
    """Return the model in the file at `path`; raises `ConfigError` naming file and line."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"policy: cannot read {str(path)!r}: {error.strerror}",
            hint="correct the path, or leave it out for the built-in policy",
        ) from error
    if len(content) > SIZE_LIMIT_BYTES:
        raise ConfigError(f"policy: {str(path)!r} is larger than {SIZE_LIMIT_BYTES} bytes")
    return parse_model(content, model, name=str(path))


def parse_model(content: bytes, model: type[M], *, name: str) -> M:
    """Return the model in a YAML text; `name` stands for the file in messages."""
    plain, lines = _compose(content, name)
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(_explain(error, name, lines), hint="see docs/policy.md") from error


def _compose(content: bytes, name: str) -> tuple[Any, Lines]:
    """Return the document as plain values, and the line of each of its places."""
    try:
        loader = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
            lines: Lines = {(): 1}
            if node is None:
                raise ConfigError(f"{name}: the policy is empty", hint="see docs/policy.md")
            _survey(node, (), lines, name, set())
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"{name}{line}: this is not YAML: {problem}") from error


def _survey(node: yaml.Node, at: Location, lines: Lines, name: str, seen: set[int]) -> None:
    """Note each place's line; refuses what makes a policy hard to read or to bound."""
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if id(node) in seen:
        raise ConfigError(f"{name}:{line}: aliases (*name) are not allowed in a policy")
    if len(at) > _DEPTH_LIMIT:
        raise ConfigError(f"{name}:{line}: nested too deeply")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, _key_text(key, name))
            if place in lines:
                raise ConfigError(f"{name}:{key.start_mark.line + 1}: {key.value!r} is there twice")
            lines[place] = key.start_mark.line + 1
            _survey(value, place, lines, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _survey(value, (*at, index), lines, name, seen)


def _key_text(key: yaml.Node, name: str) -> str:
    if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
        raise ConfigError(f"{name}:{key.start_mark.line + 1}: a key must be plain text")
    return str(key.value)


def _explain(error: ValidationError, name: str, lines: Lines) -> str:
    problems = []
    for item in error.errors(include_url=False, include_context=False)[:20]:
        place = item["loc"]
        line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), 1)
        where = ".".join(str(part) for part in place) or "policy"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        elif item["type"] not in ("value_error", "missing"):
            message = f"{message}, not {str(item['input'])[:60]!r}"
        problems.append(f"{name}:{line}: {where}: {message}")
    return "\n".join(problems)
