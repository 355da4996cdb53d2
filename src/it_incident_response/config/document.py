"""A YAML file with the line of every value; hostile or broken YAML is refused with its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from it_incident_response.config.origin import Origin, OriginKind
from it_incident_response.config.problems import ConfigProblems, Problem

Path_ = tuple[str | int, ...]
_BYTES_MAX = 4_000_000
_NODES_MAX = 200_000
"""Aliases can make a small file huge (the "billion laughs"): count what they expand to."""
_DEPTH_MAX = 40


class Document(NamedTuple):
    """Plain values, and where each stands."""

    value: Any
    origin: Origin
    lines: Mapping[Path_, int]

    def origin_of(self, path: Path_) -> Origin:
        """Return the place of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.origin._replace(line=self.lines.get(path, self.origin.line))


def read_document(path: Path, shown: str, kind: OriginKind = OriginKind.FILE) -> Document:
    """Read a YAML file; raises `ConfigProblems` naming file and line."""
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ConfigProblems([Problem(shown, f"is larger than {_BYTES_MAX:,} bytes")])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigProblems([Problem(shown, f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = "is not UTF-8 text; save it as UTF-8"
        raise ConfigProblems([Problem(f"{shown}:{line}", what)]) from error
    return parse_document(text, Origin(kind, shown, base=path.parent))


def parse_document(text: str, origin: Origin) -> Document:
    """Parse YAML text; raises `ConfigProblems` naming the line."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = "holds a control character, which YAML allows nowhere; delete it"
        raise ConfigProblems([Problem(f"{origin}:{line}", what)]) from error
    builder = _Builder(loader, str(origin))
    try:
        node = loader.get_single_node()
        value = builder.build(node, (), 0) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}" if mark else str(origin)
        what = f"is not valid YAML: {error.problem or error.context}{_advice(text, mark)}"
        raise ConfigProblems([Problem(where, what)]) from error
    except yaml.YAMLError as error:
        raise ConfigProblems([Problem(str(origin), f"is not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    if builder.problems:
        raise ConfigProblems(builder.problems)
    return Document(value, origin, builder.lines)


def _advice(text: str, mark: Any) -> str:
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]:
        return "; indent with spaces, YAML allows no tabs"
    return ""


class _Builder:
    """Turns nodes into values, noting lines, double keys and excess."""

    def __init__(self, loader: yaml.SafeLoader, shown: str) -> None:
        self.loader = loader
        self.shown = shown
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def build(self, node: yaml.Node, path: Path_, depth: int) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > _NODES_MAX or depth > _DEPTH_MAX:
            raise yaml.MarkedYAMLError(
                problem="too many or too deeply nested values", problem_mark=node.start_mark
            )
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        try:
            return self.loader.construct_object(node)
        except ValueError as error:  # such as the date 2026-02-31
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    def _mapping(self, node: yaml.MappingNode, path: Path_, depth: int) -> dict[str, Any]:
        self._refuse_double_keys(node)
        self.loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise yaml.MarkedYAMLError(
                    problem="a key must be a word", problem_mark=key_node.start_mark
                )
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.build(value_node, (*path, key), depth + 1)
        return values

    def _refuse_double_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen and key_node.tag != "tag:yaml.org,2002:merge":
                what = f"stands there a second time; the first is in line {seen[key]}"
                self.problems.append(Problem(f"{self.shown}:{line}", what, key))
            seen.setdefault(key, line)
