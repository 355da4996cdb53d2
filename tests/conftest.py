"""What every test gets: a clean environment, no network but loopback, waiting, and `--real`."""

import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.real.stack import waiting
from tests.real.stack.process import LIVE

pytest_plugins = ["tests.real.stack.fixtures"]

_REAL_FOLDER = Path(__file__).parent / "real"
_SHARED = Path(__file__).parent.parent.parent / "shared"
_SHARED_IS_ABSENT = "the folder ../shared is not beside this checkout"
_NO_JAVA = "no JDK of version 21 or later"
"""Debian 12 has none: where the machine brings one, real search servers are tested."""
_ALLOWED_SKIPS = (_SHARED_IS_ABSENT, _NO_JAVA)

_OWN_VARIABLES = (
    "PROMETHEUS_URL",
    "ALERTMANAGER_URL",
    "ELASTICSEARCH_URL",
    "GRAFANA_",
    "SPLUNK_",
    "JIRA_",
    "SSH_",
    "ANSIBLE_",
    "KUBECONFIG",
    "USE_REAL_DATA",
    "EXECUTE_REAL_REMEDIATION",
    "REQUIRE_APPROVAL_FOR_CHANGES",
    "DRY_RUN_MODE",
    "IIR_",
    "_IIR_",
    "XDG_",
    "NO_COLOR",
    "FORCE_COLOR",
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


_TESTS = Path(__file__).parent
_SLOW = tuple(
    _TESTS / part
    for part in (
        "workflow",
        "test_guide.py",
        "unit/cli/test_process.py",
        "unit/system/test_facade.py",
        "unit/simulation/test_world.py",
        "unit/analysis/test_correlation.py",
        "unit/agents/test_undoing.py",
        "unit/cli/test_control_commands.py",
        "unit/executors/test_ssh.py",
        "unit/safety/test_bypass.py",
        "unit/servers/test_crash.py",
        "unit/servers/test_hostile.py",
        "unit/storage/test_backup.py",
        "contracts/test_executor_contract.py",
        "contracts/test_store_retention_contract.py",
        "contracts/test_store_waking_contract.py",
        "test_guards.py",
        "contracts/test_action_contract.py",
        "unit/agents/test_log_detection_agent.py",
        "unit/analysis/test_many_series.py",
        "unit/analysis/test_template_memory.py",
        "unit/cli/test_export_command.py",
        "unit/cli/test_record_commands.py",
        "unit/integrations/test_elasticsearch_client.py",
        "unit/integrations/test_elasticsearch_parts.py",
        "unit/integrations/test_splunk_client.py",
        "unit/integrations/test_splunk_detection.py",
        "unit/safety/test_no_action_twice.py",
        "unit/safety/test_stopping.py",
        "unit/safety/test_time_gate.py",
        "unit/servers/test_listening.py",
        "unit/simulation/test_executor.py",
        "unit/simulation/test_scenarios.py",
        "unit/simulation/test_signals.py",
        "unit/simulation/test_sources.py",
    )
)
"""What plays whole incidents, storms, stand-ins for servers or processes that die: `--slow` adds
it to the quick run."""
_QUICK = (_TESTS / "workflow" / "test_replay.py",)
"""What lies among it and is quick: a change that breaks open incidents must be seen at once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--real` and `--slow`."""
    parser.addoption(
        "--slow",
        action="store_true",
        help="also run the tests marked `slow`, which play whole incidents, days and storms",
    )
    parser.addoption(
        "--real",
        action="store_true",
        help="also run the tests marked `real`, which start real servers on this machine",
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the quick run leaves out."""
    left_out = {
        "--slow": "whole incidents, storms and stand-ins for servers",
        "--real": "real servers on this machine",
    }
    return [
        f"left out: tests with {what}; {option} adds them"
        for option, what in left_out.items()
        if not config.getoption(option)
    ]


def _is_slow(path: Path) -> bool:
    return path not in _QUICK and any(place in (path, *path.parents) for place in _SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import whole files of tests that are left out."""
    if collection_path.suffix != ".py":
        return None
    is_slow = _is_slow(collection_path) and not config.getoption("--slow")
    is_real = _REAL_FOLDER in collection_path.parents and not config.getoption("--real")
    return True if is_slow or is_real else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything under tests/real as real; leave out what no option asked for."""
    for item in items:
        if _REAL_FOLDER in item.path.parents:
            item.add_marker("real")
        if _is_slow(item.path):
            item.add_marker("slow")
    left_out = [
        item
        for item in items
        for kind in ("slow", "real")
        if item.get_closest_marker(kind) and not config.getoption(f"--{kind}")
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_strict(config: pytest.Config) -> bool:
    """True in CI, where a missing component must not look like success."""
    is_ci = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    return is_ci and bool(config.getoption("--real"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show server logs with a failed real test; in CI, make a skipped one fail."""
    report = yield
    if item.get_closest_marker("real") is None:
        return report
    if report.skipped and not hasattr(report, "wasxfail") and _is_strict(item.config):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in _ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: CI must run every real test, but: {reason}"
    if report.failed:
        for server in LIVE:
            report.sections.append((f"log of {server.name}: {server.log}", server.log_tail()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, make a real test module that skips itself as a whole fail."""
    report = yield
    is_real = collector.path == _REAL_FOLDER or _REAL_FOLDER in collector.path.parents
    if is_real and report.outcome == "skipped" and _is_strict(collector.config):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: CI must run every real test: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's configuration, home folder and working directory out of the tests."""
    for name in list(os.environ):
        if name.startswith(_OWN_VARIABLES) or name.lower() in _PROXY_VARIABLES:
            monkeypatch.delenv(name)
    home = tmp_path / ".home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)


class NetworkForbidden(RuntimeError):
    """A test reached for the network; no OSError, so that no code under test can handle it."""


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    return host in (None, "", "localhost", "::1", "0.0.0.0", "::") or (
        isinstance(host, str) and host.startswith("127.")
    )


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups beyond loopback; `.invalid` names fail as they must."""

    def guarded(original: Callable[..., object]) -> Callable[..., object]:
        def connect(self: socket.socket, address: object) -> object:
            is_internet = self.family in (socket.AF_INET, socket.AF_INET6)
            if is_internet and isinstance(address, tuple) and not _is_loopback(address[0]):
                raise NetworkForbidden(f"a test tried to connect to {address[0]!r}")
            return original(self, address)

        return connect

    def getaddrinfo(host: object, *arguments: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.rstrip(".").endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_loopback(host) and not _is_address(host):
            raise NetworkForbidden(f"a test tried to look up {host!r}")
        return resolve(host, *arguments, **options)

    resolve: Callable[..., object] = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _is_address(host: object) -> bool:
    """Tell whether resolving `host` needs no name server, since it is an address already."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, str(host))
        except OSError:
            continue
        return True
    return False


@pytest.fixture
def wait_until() -> waiting.WaitUntil:
    """`wait_until(condition, deadline_s, what)`: poll, and fail with what was seen last."""
    return waiting.wait_until


@pytest.fixture
def eventually() -> waiting.Eventually:
    """`await eventually(condition, deadline_s, what)`: the same without blocking the loop."""
    return waiting.eventually


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the checkout, which holds recordings and data sets."""
    if not _SHARED.is_dir():
        pytest.skip(_SHARED_IS_ABSENT)
    return _SHARED
