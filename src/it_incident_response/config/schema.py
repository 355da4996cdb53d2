"""Which keys exist, read off the Settings model: for unknown keys, secrets and paths."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import SecretStr

from it_incident_response.config.connections import Section
from it_incident_response.config.settings import Settings


class Leaf(NamedTuple):
    """One key that takes a value."""

    key: str
    """Dotted, as written in the file."""
    is_secret: bool
    is_path: bool
    is_compound: bool
    """A list or mapping, taken whole: a higher layer replaces it, never merges."""
    default: object


class Schema(NamedTuple):
    """All keys of the configuration."""

    leaves: Mapping[str, Leaf]
    sections: Mapping[str, tuple[str, ...]]
    """Dotted section key (the root is empty) to the keys directly in it."""

    def names_in(self, section: str) -> tuple[str, ...]:
        """Return the keys of a section, with the `_file` form of its secrets."""
        names = list(self.sections[section])
        for name in self.sections[section]:
            leaf = self.leaves.get(join(section, name))
            if leaf is not None and leaf.is_secret and not leaf.is_compound:
                names.append(f"{name}_file")
        return tuple(names)

    def secret_of_file_key(self, key: str) -> str | None:
        """Return `a.token` for `a.token_file`, or None if that is no secret's file."""
        name = key.removesuffix("_file")
        leaf = self.leaves.get(name)
        is_file_key = name != key and leaf is not None and leaf.is_secret and not leaf.is_compound
        return name if is_file_key else None


def join(section: str, name: str) -> str:
    """Return the dotted key of a name in a section."""
    return f"{section}.{name}" if section else name


@cache
def schema() -> Schema:
    """Return the schema of `Settings`."""
    leaves: dict[str, Leaf] = {}
    sections: dict[str, tuple[str, ...]] = {}
    _collect(Settings, "", leaves, sections)
    return Schema(leaves, sections)


def _collect(
    model: type[Section], path: str, leaves: dict[str, Leaf], sections: dict[str, tuple[str, ...]]
) -> None:
    names = []
    for name, field in model.model_fields.items():
        key = join(path, field.alias or name)
        names.append(field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            _collect(field.annotation, key, leaves, sections)
            continue
        types = set(_types(field.annotation))
        leaves[key] = Leaf(
            key=key,
            is_secret=SecretStr in types,
            is_path=Path in types,
            is_compound=not types <= _SCALARS,
            default=field.get_default(call_default_factory=False),
        )
    sections[path] = tuple(names)


_SCALARS = {str, int, float, bool, Path, SecretStr, type(None)}


def _types(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from _types(argument)
    elif hasattr(annotation, "__metadata__"):
        yield from _types(get_args(annotation)[0])
    elif str(annotation).startswith("typing.Literal"):
        yield str
    elif origin is not None:
        yield origin
        yield from (argument for argument in get_args(annotation) if argument is not ...)
    else:
        yield annotation
