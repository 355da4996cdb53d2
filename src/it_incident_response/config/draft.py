"""From raw entries to values that can be validated: variables, paths, secret files, inventory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from it_incident_response.config.document import read_document
from it_incident_response.config.expansion import UnsetVariable, expand_all
from it_incident_response.config.layers import Entries, Entry, inner_origins
from it_incident_response.config.origin import Origin, OriginKind
from it_incident_response.config.problems import ConfigProblems, Problem
from it_incident_response.config.schema import schema
from it_incident_response.config.secret_files import check_private, read_secret
from it_incident_response.config.usage import system_of

_PRIVATE_KEYS = (
    "automation.remediation.ssh.private_key",
    "infrastructure.monitoring.prometheus.tls_config.key_file",
    "infrastructure.monitoring.alertmanager.tls_config.key_file",
    "server.tls.key_file",
    "temporal.tls.key_file",
)


@dataclass
class Draft:
    """A configuration being put together; problems are gathered, not raised."""

    entries: Entries
    variables: Mapping[str, str]
    home: str | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    """Keys whose text in the file held no variable."""
    unset: dict[str, tuple[Origin, str]] = field(default_factory=dict)
    """Keys dropped for a variable that is not set."""

    def expand_variables(self) -> None:
        """Put variables in; entries that need one that is not set are dropped and noted."""
        for key, entry in list(self.entries.items()):
            if entry.origin.kind not in (OriginKind.FILE, OriginKind.PROFILE):
                continue
            try:
                value = expand_all(entry.value, self.variables)
            except UnsetVariable as error:
                if error.name is None:
                    self.problems.append(Problem(str(entry.origin), str(error), key))
                else:
                    self.unset[key] = (entry.origin, str(error))
                del self.entries[key]
            else:
                if value == entry.value:
                    self.written.add(key)
                self.entries[key] = entry._replace(value=value)

    def report_unset(self, used: frozenset[str]) -> None:
        """Turn unset variables into problems where the key is in use."""
        for key, (origin, what) in self.unset.items():
            if self.is_used(key, used):
                advice = f"{what}; set it in the environment or .env, or write the value here"
                self.problems.append(Problem(str(origin), advice, key))

    @staticmethod
    def is_used(key: str, used: frozenset[str]) -> bool:
        """Return whether a key matters: it is ours, or its system is used by a port."""
        system = system_of(key)
        return system is None or system in used

    def resolve_paths(self) -> None:
        """Make every path absolute: `~` and `$HOME`, else from where it was written."""
        for key, entry in list(self.entries.items()):
            leaf = schema().leaves.get(key)
            is_path = leaf is not None and leaf.is_path
            if is_path or key == "inventory" or schema().secret_of_file_key(key):
                self.entries[key] = entry._replace(value=self._absolute(entry.value, entry.origin))

    def _absolute(self, value: Any, origin: Origin) -> Any:
        if isinstance(value, list):
            return [self._absolute(item, origin) for item in value]
        if not isinstance(value, str) or not value:
            return value
        for start in ("~", "$HOME"):
            if self.home and (value == start or value.startswith(f"{start}/")):
                return str(Path(self.home + value.removeprefix(start)))
        return str(origin.base / value) if origin.base else value

    def read_secret_files(self, used: frozenset[str]) -> None:
        """Replace each `x_file` by the secret in it; of a system not in use it may be unusable."""
        for key, entry in list(self.entries.items()):
            secret = schema().secret_of_file_key(key)
            if secret is None:
                continue
            del self.entries[key]
            if entry.value is None:
                continue
            name = key.rpartition(".")[2]
            origin = entry.origin._replace(via=f"{name}")
            try:
                text = read_secret(Path(str(entry.value)))
            except ValueError as error:
                if self.is_used(key, used):
                    self.problems.append(Problem(str(entry.origin), str(error), key))
            else:
                self.entries[secret] = Entry(text, origin)

    def check_private_keys(self, used: frozenset[str]) -> None:
        """Refuse private keys in use that others can read, or that are not there."""
        for key in _PRIVATE_KEYS:
            entry = self.entries.get(key)
            if entry is None or entry.value is None or not self.is_used(key, used):
                continue
            try:
                check_private(Path(str(entry.value)))
            except ValueError as error:
                self.problems.append(Problem(str(entry.origin), str(error), key))

    def read_inventory(self) -> Path | None:
        """Replace the path of an inventory by what stands in the file; returns the path."""
        entry = self.entries.get("inventory")
        if entry is None or not isinstance(entry.value, str):
            return None
        path = Path(entry.value)
        del self.entries["inventory"]
        try:
            document = read_document(path, str(path))
            value = expand_all(document.value, self.variables)
        except ConfigProblems as error:
            self.problems += error.problems
            self.problems.append(Problem(str(entry.origin), f"names {path}", "inventory"))
            return path
        except UnsetVariable as error:
            self.problems.append(Problem(str(path), str(error), "inventory"))
            return path
        origin = document.origin_of(())._replace(line=None, via=f"named by {entry.origin}")
        self.entries["inventory"] = Entry(value or {}, origin, inner_origins(document, ()))
        return path

    def nested(self) -> dict[str, Any]:
        """Return the entries as the nested mapping that the model reads."""
        tree: dict[str, Any] = {}
        for key, entry in self.entries.items():
            *sections, name = key.split(".")
            place = tree
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = entry.value
        return tree

    def plain_text_secrets(self) -> Iterator[str]:
        """Yield keys of secrets that stand themselves in a file, not as a variable."""
        for key, entry in self.entries.items():
            leaf = schema().leaves.get(key)
            if leaf is not None and leaf.is_secret and entry.origin.kind is OriginKind.FILE:
                yield key
