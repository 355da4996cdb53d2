"""Layers: each source of settings as flat entries, laid over one another."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from it_incident_response.config.document import Document, Path_
from it_incident_response.config.environment import Variable
from it_incident_response.config.origin import COMMAND_LINE, Origin
from it_incident_response.config.problems import Problem, did_you_mean
from it_incident_response.config.schema import join, schema


class Entry(NamedTuple):
    """What one key was given, and where."""

    value: Any
    origin: Origin
    inner: Mapping[Path_, Origin] = {}
    """Places of the parts of a list or mapping."""


Entries = dict[str, Entry]


def entries_of_document(document: Document, problems: list[Problem]) -> Entries:
    """Flatten a YAML document to entries; unknown and misplaced keys become problems."""
    entries: Entries = {}
    if document.value is None:
        return entries
    if not isinstance(document.value, dict):
        what = "must hold `key: value` lines; `iir config init` writes a file to start from"
        problems.append(Problem(str(document.origin_of(())), what))
        return entries
    for path, value in _walk(document, document.value, (), problems):
        key = ".".join(str(part) for part in path)
        entries[key] = Entry(value, document.origin_of(path), inner_origins(document, path))
    _refuse_twins(entries, problems)
    return entries


def inner_origins(document: Document, path: Path_) -> Mapping[Path_, Origin]:
    """Return the places of everything below a path, by the rest of its path."""
    depth = len(path)
    return {
        place[depth:]: document.origin_of(place)
        for place in document.lines
        if len(place) > depth and place[:depth] == path
    }


def _walk(
    document: Document, mapping: Mapping[str, Any], path: Path_, problems: list[Problem]
) -> Iterator[tuple[Path_, Any]]:
    section = ".".join(str(part) for part in path)
    for name, value in mapping.items():
        here, key = (*path, name), join(section, name)
        if key in schema().sections:
            if isinstance(value, dict):
                yield from _walk(document, value, here, problems)
            elif value is not None:  # A section whose keys are all commented out is empty.
                known = ", ".join(schema().names_in(key))
                what = f"is a section, not a value; indent under it any of {known}"
                problems.append(Problem(str(document.origin_of(here)), what, key))
        elif key in schema().leaves or schema().secret_of_file_key(key):
            yield here, value
        else:
            problems.append(_unknown(key, document.origin_of(here)))


def _unknown(key: str, origin: Origin) -> Problem:
    section, _, name = key.rpartition(".")
    while section not in schema().sections:
        section, _, name = section.rpartition(".")
    hint = did_you_mean(name, schema().names_in(section))
    elsewhere = [known for known in schema().leaves if known.rpartition(".")[2] == name]
    if "did you mean" not in hint and elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    return Problem(str(origin), f"unknown key{hint}", key)


def entries_of_variables(variables: Iterable[Variable], problems: list[Problem]) -> Entries:
    """Turn environment variables into entries."""
    entries: Entries = {}
    for key, value, origin in variables:
        _set_text(entries, key, value, origin, problems)
    return entries


def entries_of_overrides(
    overrides: Mapping[str, object], base: Origin, problems: list[Problem]
) -> Entries:
    """Turn `key=value` overrides of the command line into entries."""
    entries: Entries = {}
    for key, value in overrides.items():
        origin = COMMAND_LINE._replace(base=base.base)
        _set_text(entries, key, value, origin, problems)
    _refuse_twins(entries, problems)
    return entries


def _set_text(
    entries: Entries, key: str, value: object, origin: Origin, problems: list[Problem]
) -> None:
    leaf = schema().leaves.get(key)
    if leaf is None and schema().secret_of_file_key(key) is None:
        if key in schema().sections:
            known = ", ".join(schema().names_in(key))
            what = f"is a section, not a value; set one of its keys: {known}"
            problems.append(Problem(str(origin), what, key))
        else:
            problems.append(_unknown(key, origin))
        return
    if leaf is not None and leaf.is_compound and isinstance(value, str):
        value = _compound(value)
    _lay_one(entries, key, Entry(value, origin))


def _compound(text: str) -> Any:
    """Read a list or mapping written on one line; anything else stays text."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _refuse_twins(entries: Entries, problems: list[Problem]) -> None:
    for key in list(entries):
        secret = schema().secret_of_file_key(key)
        if secret and secret in entries:
            what = f"and {secret} exclude each other; keep one"
            problems.append(Problem(str(entries[key].origin), what, key))
            del entries[key]


def lay_over(base: Entries, top: Entries) -> None:
    """Put the entries of `top` over those of `base`, in place."""
    for key, entry in top.items():
        _lay_one(base, key, entry)


def _lay_one(entries: Entries, key: str, entry: Entry) -> None:
    # A secret and its file are two ways to write one thing: the later replaces the earlier.
    entries.pop(schema().secret_of_file_key(key) or f"{key}_file", None)
    entries[key] = entry
