"""Loads the configuration: default < profile < file < .env < environment < command line."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from it_incident_response.config import usage
from it_incident_response.config.document import read_document
from it_incident_response.config.draft import Draft
from it_incident_response.config.environment import Environment, read_environment
from it_incident_response.config.layers import (
    Entries,
    Entry,
    entries_of_document,
    entries_of_overrides,
    entries_of_variables,
    lay_over,
)
from it_incident_response.config.origin import COMMAND_LINE, DEFAULT, Origin, OriginKind
from it_incident_response.config.problems import ConfigProblems, Problem
from it_incident_response.config.profiles import DEFAULT_PROFILE, Profile, profile
from it_incident_response.config.schema import schema
from it_incident_response.config.settings import Settings
from it_incident_response.config.validation import check_together, explain

OWN_FILE = Path("iir.yaml")
"""Read if it exists and no file was named."""
GUIDE_FILE = Path("config") / "real_integration_config.yaml"
"""Read if neither of those is there and real data are asked for: it describes real systems."""


@dataclass(frozen=True)
class LoadedConfig:
    """The settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, Origin]
    """Every key of the schema, dotted as written in the file."""
    profile: str
    files: tuple[Path, ...] = ()
    """Files read, `.env` and secret files left out."""
    warnings: tuple[str, ...] = ()
    """For people: what works but is probably not meant."""


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    profile: str | None = None,
    cwd: Path,
) -> LoadedConfig:
    """Return the merged, checked configuration.

    Reads files only; nothing is contacted. `overrides` maps dotted keys to values. Raises
    `ConfigProblems` (a `ConfigError`) that lists everything that is wrong, by file and line or
    variable.
    """
    problems: list[Problem] = []
    environment = read_environment(environ, cwd)
    problems += environment.problems
    chosen = _chosen_profile(profile, environment)
    path = _chosen_file(file, environment, overrides or {}, chosen, cwd)
    layers, origin_here = [], Origin(OriginKind.COMMAND_LINE, base=cwd)
    layers.append(entries_of_document(chosen.document, problems))
    layers.append(_file_entries(path, cwd, problems))
    layers += [
        entries_of_variables(environment.settings(kind), problems)
        for kind in (OriginKind.DOTENV, OriginKind.ENVIRONMENT)
    ]
    layers.append(entries_of_overrides(overrides or {}, origin_here, problems))
    entries: Entries = {}
    for layer in layers:
        lay_over(entries, layer)
    draft = Draft(entries, environment.values, environment.values.get("HOME"), problems)
    draft.warnings += environment.warnings
    return _finish(draft, chosen.name, path, cwd)


def _finish(draft: Draft, profile_name: str, path: Path | None, cwd: Path) -> LoadedConfig:
    files = [] if path is None else [path]
    draft.expand_variables()
    ports = usage.choose_ports(draft.entries, draft.problems)
    used = usage.systems_in_use(draft.entries, ports)
    usage.default_dry_run(draft.entries, ports)
    draft.report_unset(used)
    reported = frozenset(problem.key for problem in draft.problems)
    draft.problems += usage.missing_addresses(draft.entries, ports, reported)
    _default_paths(draft, cwd)
    draft.resolve_paths()
    draft.read_secret_files(used)
    draft.check_private_keys(used)
    if inventory_file := draft.read_inventory():
        files.append(inventory_file)
    settings = _validated(draft)
    if settings is not None:
        problems, warnings = check_together(settings, draft.entries)
        draft.problems += problems
        draft.warnings += warnings
    _warn_about_readable_secrets(draft, path)
    if draft.problems or settings is None:
        raise ConfigProblems(draft.problems)
    origins = {key: DEFAULT for key in schema().leaves}
    origins |= {key: entry.origin for key, entry in draft.entries.items()}
    return LoadedConfig(settings, origins, profile_name, tuple(files), tuple(draft.warnings))


def _validated(draft: Draft) -> Settings | None:
    try:
        return Settings.model_validate(draft.nested(), by_alias=True, by_name=False)
    except ValidationError as error:
        draft.problems += explain(error, draft.entries)
        return None


def _chosen_profile(name: str | None, environment: Environment) -> Profile:
    if name is not None:
        return profile(name, str(COMMAND_LINE))
    if "IIR_PROFILE" in environment.values:
        return profile(environment.values["IIR_PROFILE"], str(environment.origins["IIR_PROFILE"]))
    return profile(DEFAULT_PROFILE, "default")


def _chosen_file(
    file: Path | None,
    environment: Environment,
    overrides: Mapping[str, object],
    chosen: Profile,
    cwd: Path,
) -> Path | None:
    if file is not None:
        return cwd / file
    if "IIR_CONFIG" in environment.values:
        return cwd / Path(environment.values["IIR_CONFIG"]).expanduser()
    if (cwd / OWN_FILE).is_file():
        return cwd / OWN_FILE
    switches = entries_of_document(chosen.document, [])
    for kind in (OriginKind.DOTENV, OriginKind.ENVIRONMENT):
        lay_over(switches, entries_of_variables(environment.settings(kind), []))
    lay_over(switches, entries_of_overrides(overrides, COMMAND_LINE, []))
    is_real = usage.truth(switches, "use_real_data")
    return cwd / GUIDE_FILE if is_real and (cwd / GUIDE_FILE).is_file() else None


def _file_entries(path: Path | None, cwd: Path, problems: list[Problem]) -> Entries:
    if path is None:
        return {}
    shown = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
    try:
        return entries_of_document(read_document(path, shown), problems)
    except ConfigProblems as error:
        problems += error.problems
        return {}


def _default_paths(draft: Draft, cwd: Path) -> None:
    share = draft.variables.get("XDG_DATA_HOME") or (draft.home and f"{draft.home}/.local/share")
    folder = Path(share) / "it_incident_response" if share else cwd / "iir-data"
    draft.entries.setdefault("data_dir", Entry(str(folder), DEFAULT))
    for key, leaf in schema().leaves.items():
        if isinstance(leaf.default, Path) and leaf.default.parts[0] == "~":
            draft.entries.setdefault(key, Entry(str(leaf.default), DEFAULT))


def _warn_about_readable_secrets(draft: Draft, path: Path | None) -> None:
    if path is None or not path.is_file():
        return
    is_open = path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    if is_open and (keys := [key for key in draft.plain_text_secrets() if key in draft.written]):
        draft.warnings.append(
            f"{path} holds {keys[0]} and others can read it; run: chmod 600 {path}, "
            "or write ${VARIABLE} in its place"
        )
