"""Environment variables and `.env`: which variable sets which key."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

from it_incident_response.config.expansion import UnsetVariable, expand
from it_incident_response.config.origin import Origin, OriginKind
from it_incident_response.config.problems import Problem

_PROMETHEUS = "infrastructure.monitoring.prometheus"
NAMED_VARIABLES = {
    "PROMETHEUS_URL": f"{_PROMETHEUS}.url",
    "ALERTMANAGER_URL": f"{_PROMETHEUS}.alert_manager_url",
    "ELASTICSEARCH_URL": "infrastructure.logging.elasticsearch.url",
    "SPLUNK_URL": "infrastructure.logging.splunk.url",
    "SPLUNK_API_KEY": "infrastructure.logging.splunk.api_key",
    "GRAFANA_URL": "infrastructure.visualization.grafana.url",
    "GRAFANA_API_KEY": "infrastructure.visualization.grafana.api_key",
    "JIRA_URL": "ticketing.jira.url",
    "JIRA_BASE_URL": "ticketing.jira.url",
    "JIRA_USERNAME": "ticketing.jira.username",
    "JIRA_TOKEN": "ticketing.jira.token",
    "JIRA_PROJECT_KEY": "ticketing.jira.project_key",
    "JIRA_ISSUE_TYPE": "ticketing.jira.issue_type",
    "ANSIBLE_INVENTORY": "automation.deployment.ansible.inventory_file",
    "KUBECONFIG": "automation.deployment.kubernetes.kubeconfig",
    "SSH_USER": "automation.remediation.ssh.username",
    "SSH_KEY_PATH": "automation.remediation.ssh.private_key",
    "USE_REAL_DATA": "use_real_data",
    "EXECUTE_REAL_REMEDIATION": "agents.resolution.execute_real_commands",
    "REQUIRE_APPROVAL_FOR_CHANGES": "agents.resolution.require_approval",
    "DRY_RUN_MODE": "agents.resolution.dry_run",
    "IIR_DATA_DIR": "data_dir",
    "IIR_DATABASE_URL": "store.url",
}
"""The guide's variables and ours; of two for one key the later in this table wins."""
LOADER_VARIABLES = ("IIR_CONFIG", "IIR_PROFILE")
GENERIC_PREFIX = "IIR__"
_DOTENV_BYTES_MAX = 1_000_000


class Variable(NamedTuple):
    """A variable that sets a key."""

    key: str
    value: str
    origin: Origin


class Environment(NamedTuple):
    """The real environment over `.env`; an empty variable counts as unset."""

    values: Mapping[str, str]
    origins: Mapping[str, Origin]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def settings(self, kind: OriginKind) -> Iterator[Variable]:
        """Yield what the variables from `.env`, or from the real environment, set."""
        mine = {name for name, origin in self.origins.items() if origin.kind is kind}
        for name, key in NAMED_VARIABLES.items():
            if name in mine:
                yield Variable(key, self.values[name], self.origins[name])
        for name in sorted(mine):
            if name.startswith(GENERIC_PREFIX):
                key = name.removeprefix(GENERIC_PREFIX).lower().replace("__", ".")
                yield Variable(key, self.values[name], self.origins[name])


def read_environment(environ: Mapping[str, str], cwd: Path) -> Environment:
    """Merge the environment with `cwd/.env`."""
    problems: list[Problem] = []
    unset: dict[str, str] = {}
    values: dict[str, str] = {}
    origins: dict[str, Origin] = {}
    for name, value, line in _dotenv(cwd / ".env", environ, problems, unset):
        values[name] = value
        origins[name] = Origin(OriginKind.DOTENV, name, line, cwd)
    for name, value in environ.items():
        if value != "":
            values[name] = value
            origins[name] = Origin(OriginKind.ENVIRONMENT, name, base=cwd)
    warnings = [text for name, text in unset.items() if name not in values]
    warnings += _warnings(values, origins)
    return Environment(values, origins, tuple(problems), tuple(warnings))


def _dotenv(
    path: Path, environ: Mapping[str, str], problems: list[Problem], unset: dict[str, str]
) -> Iterator[tuple[str, str, int]]:
    text = _dotenv_text(path, problems)
    known = {name: value for name, value in environ.items() if value != ""}
    for binding in parse_stream(StringIO(text)):
        # The parser gives a statement the blank lines before it.
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:blank].count("\n")
        if binding.error:
            problems.append(Problem(f".env:{line}", "is not NAME=value; mend or delete the line"))
        if not binding.key or not binding.value:
            continue
        is_verbatim = binding.original.string.partition("=")[2].lstrip().startswith("'")
        try:
            value = binding.value if is_verbatim else expand(binding.value, known)
        except UnsetVariable as error:
            unset[binding.key] = f".env:{line} {binding.key}: {error}; it counts as unset"
            continue
        known.setdefault(binding.key, value)
        yield binding.key, value, line


def _dotenv_text(path: Path, problems: list[Problem]) -> str:
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size > _DOTENV_BYTES_MAX:
            problems.append(Problem(".env", f"is larger than {_DOTENV_BYTES_MAX:,} bytes"))
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problems.append(Problem(".env", f"cannot be read: {reason}"))
        return ""


def _warnings(values: Mapping[str, str], origins: Mapping[str, Origin]) -> Iterator[str]:
    known = [*NAMED_VARIABLES, *LOADER_VARIABLES]
    for name in sorted(values):
        if name in known or name.startswith(GENERIC_PREFIX) or not name.startswith("IIR_"):
            continue
        if close := get_close_matches(name, known, n=1, cutoff=0.8):
            yield f"{origins[name]}: means nothing here; did you mean {close[0]}?"
    jira, base = values.get("JIRA_URL"), values.get("JIRA_BASE_URL")
    if jira and base and jira != base:
        yield "JIRA_URL and JIRA_BASE_URL differ; JIRA_BASE_URL is used"
