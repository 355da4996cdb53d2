"""From the model's complaints to sentences that say where and what to write instead."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from it_incident_response.config.document import Path_
from it_incident_response.config.layers import Entries
from it_incident_response.config.origin import Origin
from it_incident_response.config.problems import Problem, did_you_mean
from it_incident_response.config.schema import schema
from it_incident_response.config.settings import Settings

_WRITE = {
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "int_type": "write a whole number",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "string_type": "write text, in quotes if it looks like a number",
    "path_type": "write a path",
    "mapping_type": "write a mapping, `name: value` lines",
    "dict_type": "write a mapping, `name: value` lines",
    "tuple_type": "write a list, one `- item` a line",
    "model_type": "write a mapping, `name: value` lines",
}


def explain(error: ValidationError, entries: Entries) -> Iterator[Problem]:
    """Yield one problem for each thing that pydantic refused."""
    for detail in error.errors(include_url=False, include_context=True):
        yield _explain_one(detail, entries)


def _explain_one(detail: ErrorDetails, entries: Entries) -> Problem:
    location: Path_ = tuple(detail["loc"])
    key, rest = _split(location)
    origin = _origin(key, rest, entries)
    leaf = schema().leaves.get(key)
    shown = ".".join(str(part) for part in location)
    return Problem(str(origin), _what(detail, bool(leaf and leaf.is_secret)), shown)


def _split(location: Path_) -> tuple[str, Path_]:
    """Split a location into the key that was given and the place inside its value."""
    for length in range(len(location), 0, -1):
        key = ".".join(str(part) for part in location[:length])
        if key in schema().leaves or key in schema().sections:
            return key, location[length:]
    return "", location


def _origin(key: str, rest: Path_, entries: Entries) -> Origin | str:
    entry = entries.get(key)
    if entry is not None:
        while rest and rest not in entry.inner:
            rest = rest[:-1]
        return entry.inner.get(rest, entry.origin)
    below = [entry.origin for name, entry in entries.items() if name.startswith(f"{key}.")]
    return below[-1] if below else "configuration"


def _what(detail: ErrorDetails, is_secret: bool) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "literal_error":
        choices = str(context["expected"])
        words = choices.replace("'", "").replace(" or ", ", ").split(", ")
        hint = did_you_mean(str(detail["input"]), words) if not is_secret else ""
        return f"is none of {choices}{hint if 'did you mean' in hint else ''}"
    advice = _WRITE.get(kind)
    message = detail["msg"][0].lower() + detail["msg"][1:]
    if advice and detail["input"] is None:
        return f"has no value; {advice}, or delete the line"
    shown = _shown(detail["input"], is_secret)
    if advice:
        return f"cannot be {shown}; {advice}" if shown else f"has a wrong value; {advice}"
    return f"{message} (it is {shown})" if shown else message


def _shown(value: Any, is_secret: bool) -> str:
    if is_secret or isinstance(value, dict | list) or value is None:
        return ""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_together(settings: Settings, entries: Entries) -> tuple[list[Problem], list[str]]:
    """Return what is wrong, and what is odd, about settings that are each right alone."""
    problems = list(_without_hosts(settings, entries))
    warnings = list(_without_effect(settings, entries))
    return problems, warnings


def _without_hosts(settings: Settings, entries: Entries) -> Iterator[Problem]:
    if settings.ports.execution != "ssh":
        return
    where = str(entries["ports.execution"].origin)
    if not settings.inventory.hosts:
        what = "is ssh, but the inventory lists no host; set `inventory` to a file that does"
        yield Problem(where, what, "ports.execution")
    nobody = [host.name for host in settings.inventory.hosts if host.user is None]
    if nobody and settings.ssh.username is None:
        what = f"is not set and host {nobody[0]!r} names no user; write it or set SSH_USER"
        yield Problem(where, what, "automation.remediation.ssh.username")


def _without_effect(settings: Settings, entries: Entries) -> Iterator[str]:
    if settings.ticketing.jira.enabled:
        yield "ticketing.jira is enabled, but this version files no tickets yet"
    if settings.agents.diagnostic.use_ml_model:
        yield "agents.diagnostic.use_ml_model is on, but this version has no model yet"
    switches = settings.resolution
    if switches.execute_real_commands and settings.ports.execution == "simulated":
        yield (
            "agents.resolution.execute_real_commands is true, but ports.execution is simulated: "
            "nothing real is changed"
        )
    if settings.ports.execution == "ssh" and not settings.may_change_real_systems:
        switch = "dry_run is true" if switches.dry_run else "execute_real_commands is false"
        yield f"ports.execution is ssh, but agents.resolution.{switch}: commands are only shown"
