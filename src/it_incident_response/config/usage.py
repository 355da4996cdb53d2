"""Which systems the ports use, by choice or by default; what is not used may be half configured."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from it_incident_response.config.layers import Entries, Entry
from it_incident_response.config.origin import DEFAULT, Origin
from it_incident_response.config.problems import Problem
from it_incident_response.config.settings import Ports

PROMETHEUS_URL = "infrastructure.monitoring.prometheus.url"
ALERTMANAGER_URLS = (
    "infrastructure.monitoring.prometheus.alert_manager_url",
    "infrastructure.monitoring.alertmanager.url",
)
ELASTICSEARCH = "infrastructure.logging.elasticsearch"
SPLUNK = "infrastructure.logging.splunk"
TRACING = "infrastructure.tracing"
_SPLUNK_CREDENTIALS = ("api_key", "authorization.credentials", "basic_auth.password")
_SYSTEMS = {
    "infrastructure.monitoring.prometheus": "prometheus",
    "infrastructure.monitoring.alertmanager": "alertmanager",
    ELASTICSEARCH: "elasticsearch",
    SPLUNK: "splunk",
    "infrastructure.visualization.grafana": "grafana",
    f"{TRACING}.jaeger": "jaeger",
    f"{TRACING}.tempo": "tempo",
    "automation.deployment.ansible": "ansible",
    "automation.deployment.kubernetes": "kubernetes",
    "automation.remediation.ssh": "ssh",
    "automation.remediation.terraform": "terraform",
    "ticketing.jira": "jira",
    "agents.diagnostic.ml_model_path": "ml_model",
}
_ACTING = "the area `acting` (Ansible, Kubernetes and Terraform)"
_LATER = {
    "ansible": _ACTING,
    "kubernetes": _ACTING,
    "terraform": _ACTING,
    "jira": "the area `record` (tickets, notifications and postmortems)",
}
"""Systems that can be configured but not yet chosen, and the part of the plan that brings each."""


def system_of(key: str) -> str | None:
    """Return the outside system that a key belongs to, or None if it is our own affair."""
    if key == ALERTMANAGER_URLS[0]:
        return "alertmanager"
    return next(
        (
            name
            for prefix, name in _SYSTEMS.items()
            if key == prefix or key.startswith(prefix + ".")
        ),
        None,
    )


def truth(entries: Entries, key: str) -> bool:
    """Return whether a switch is on; nonsense counts as off here and is refused later."""
    entry = entries.get(key)
    try:
        return entry is not None and TypeAdapter(bool).validate_python(entry.value)
    except ValidationError:
        return False


def choose_ports(entries: Entries, problems: list[Problem]) -> Mapping[str, str]:
    """Fill in the ports that nobody chose; refuse systems that cannot be chosen yet."""
    for name in Ports.model_fields:
        key = f"ports.{name}"
        entry = entries.get(key)
        if entry is not None and str(entry.value) in _LATER:
            problems.append(_not_yet(name, entry))
            del entries[key]
    for name, (choice, origin) in _defaults(entries).items():
        entries.setdefault(f"ports.{name}", Entry(choice, origin))
    return {name: str(entries[f"ports.{name}"].value) for name in Ports.model_fields}


def _not_yet(port: str, entry: Entry) -> Problem:
    system = str(entry.value)
    choices = [str(choice) for choice in _choices(port)]
    what = (
        f"{system} cannot serve {port} in this version; it comes with {_LATER[system]}; "
        f"until then write one of: {', '.join(choices)}"
    )
    return Problem(str(entry.origin), what, f"ports.{port}")


def _choices(port: str) -> tuple[Any, ...]:
    annotation: Any = Ports.model_fields[port].annotation
    return tuple(annotation.__args__)


def _defaults(entries: Entries) -> Mapping[str, tuple[str, Origin]]:
    if not truth(entries, "use_real_data"):
        return {name: (_simulated(name), DEFAULT) for name in Ports.model_fields}
    has_prometheus = _is_given(entries, PROMETHEUS_URL)
    has_alertmanager = any(_is_given(entries, key) for key in ALERTMANAGER_URLS)
    is_executing = truth(entries, "agents.resolution.execute_real_commands")
    choices = {
        "alerts": "alertmanager" if has_alertmanager else "prometheus",
        "metrics": "prometheus" if has_prometheus else "none",
        "logs": "real" if _log_systems(entries) else "none",
        "changes": "real",
        "traces": "real" if _has_tracing(entries) else "none",
        "silences": "alertmanager" if has_alertmanager else "none",
        "execution": "ssh" if is_executing else "simulated",
    }
    origin = DEFAULT._replace(via="follows use_real_data")
    return {name: (choice, origin) for name, choice in choices.items()}


def _simulated(port: str) -> str:
    return "simulated" if "simulated" in _choices(port) else "none"


def _is_given(entries: Entries, key: str) -> bool:
    return key in entries and entries[key].value is not None


def _log_systems(entries: Entries) -> frozenset[str]:
    """Return the log systems that could answer; Splunk answers nobody without credentials."""
    usable = {"elasticsearch"} if _is_given(entries, f"{ELASTICSEARCH}.url") else set()
    secrets = (f"{SPLUNK}.{name}{end}" for name in _SPLUNK_CREDENTIALS for end in ("", "_file"))
    if _is_given(entries, f"{SPLUNK}.url") and any(_is_given(entries, key) for key in secrets):
        usable.add("splunk")
    return frozenset(usable)


def _has_tracing(entries: Entries) -> bool:
    keys = ("jaeger.url", "tempo.url", "otlp.path")
    return any(_is_given(entries, f"{TRACING}.{key}") for key in keys)


def default_dry_run(entries: Entries, ports: Mapping[str, str]) -> None:
    """Leave dry run off only where nothing real is touched, unless somebody wrote otherwise."""
    is_simulated = all(choice in ("simulated", "none") for choice in ports.values())
    if is_simulated:
        entries.setdefault("agents.resolution.dry_run", Entry(False, DEFAULT))


def systems_in_use(entries: Entries, ports: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the systems that a port or switch uses."""
    used = set(ports.values()) - {"simulated", "real", "none"}
    if ports["logs"] == "real":
        used |= _log_systems(entries)
    if ports["traces"] == "real":
        used |= {"jaeger", "tempo"}
    if truth(entries, "agents.diagnostic.use_ml_model"):
        used.add("ml_model")
    return frozenset(used)


def missing_addresses(
    entries: Entries, ports: Mapping[str, str], reported: frozenset[str]
) -> list[Problem]:
    """Return a problem for each port whose system has no address.

    `reported` are keys that another problem is about already.
    """
    needs = {
        "prometheus": ((PROMETHEUS_URL,), "PROMETHEUS_URL"),
        "alertmanager": (ALERTMANAGER_URLS, "ALERTMANAGER_URL"),
        "elasticsearch": ((f"{ELASTICSEARCH}.url",), "ELASTICSEARCH_URL"),
        "splunk": ((f"{SPLUNK}.url",), "SPLUNK_URL"),
    }
    problems = []
    for name, choice in ports.items():
        keys, variable = needs.get(choice, ((), ""))
        if not keys or any(_is_given(entries, key) or key in reported for key in keys):
            continue
        what = f"is {choice}, but {keys[0]} is not set; write it or set {variable}"
        problems.append(Problem(str(entries[f"ports.{name}"].origin), what, f"ports.{name}"))
    return problems
