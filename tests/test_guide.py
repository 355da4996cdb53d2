"""The user's guide, executed: its own code blocks, against the simulated world behind real HTTP."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.analysis.rules_engine import DiagnosticRule, RulesEngine
from it_incident_response.errors import PolicyDenied
from it_incident_response.safety.approval_manager import ApprovalManager, DryRunExecutor
from tests.wire_host import served, world_with

ROOT = Path(__file__).parent.parent
FENCE = "`" * 3
_FENCED = re.compile(rf"^{FENCE}python\n(.*?)^{FENCE}", re.M | re.S)
WITHIN_S = 60

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    """Every Python code block of the guide."""
    seed = ROOT.parent / "shared" / "seed"
    if not seed.is_dir():
        pytest.skip("the folder ../shared is not beside this checkout")
    text = "\n".join(path.read_text("utf-8") for path in sorted(seed.glob("*.txt")))
    return _FENCED.findall(text)


def block_with(blocks: list[str], mark: str) -> str:
    (found,) = [block for block in blocks if mark in block]
    return found


@pytest.fixture(scope="module")
def prometheus() -> Any:
    """A Prometheus whose shop has a crashed service; yields its world and its URL."""
    world = world_with("service_down")
    with served(world) as url:
        yield world, url


@pytest.fixture
def environment(prometheus: Any, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PROMETHEUS_URL": prometheus[1], "HOME": str(tmp_path), "USER": "alice"}


def test_the_demo_of_the_guide_runs_as_written(
    blocks: list[str], environment: dict[str, str], prometheus: Any, tmp_path: Path
) -> None:
    script = tmp_path / "run_real_demo.py"
    script.write_text(block_with(blocks, "# run_real_demo.py (NEW)"), "utf-8")
    firing = len(prometheus[0].firing())
    done = subprocess.run(
        [sys.executable, str(script)],
        input="y\n" * firing,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"Found {firing} active alerts" in done.stdout
    assert done.stdout.count("Created incident: ") == firing
    causes = re.findall(r"Root cause: (.+?)(?=Execute|\n|$)", done.stdout)
    assert len(causes) == firing
    assert any("does not run" in cause for cause in causes), done.stdout
    assert prometheus[0].incidents[-1].ended_at is None, "a dry run mended something"


def test_our_own_demo_runs_and_asks_on_a_terminal(
    environment: dict[str, str], prometheus: Any, tmp_path: Path
) -> None:
    firing = len(prometheus[0].firing())
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"y\n" * firing)
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_real_demo.py")],
            stdin=theirs,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert f"Found {firing} active alerts" in done.stdout
    assert re.search(r"Root cause: \S.*\(\d+%\)", done.stdout)
    assert done.stdout.count("Execute remediation?") == firing
    assert "Traceback" not in done.stderr


def test_our_own_demo_says_what_is_wrong_without_a_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_real_demo.py")],
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**environment, "PROMETHEUS_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: prometheus: ")
    assert "Traceback" not in done.stderr


LOGS = [{"message": "Connection TIMEOUT after 30s", "level": "ERROR"}]
METRICS = [{"memory_usage": 95, "trend": "increasing"}]


def test_the_rules_of_the_guide_run_as_written(blocks: list[str]) -> None:
    block = block_with(blocks, "DATABASE_TIMEOUT_RULE = DiagnosticRule(")
    names: dict[str, Any] = {}
    exec("from typing import Dict\n" + block, names)
    engine = names["RulesEngine"]()
    calm = [{"memory_usage": 40, "trend": "flat"}]
    quiet = [{"message": "all is well", "level": "INFO"}]
    theirs = engine.diagnose(LOGS, calm)
    assert theirs["root_cause"] == "Database connection timeout"
    ours = RulesEngine(
        [
            DiagnosticRule(**vars(names[name]))
            for name in ("DATABASE_TIMEOUT_RULE", "MEMORY_LEAK_RULE")
        ]
    )
    assert ours.diagnose(LOGS, calm) == theirs
    assert ours.diagnose(quiet, METRICS)["root_cause"] == "Memory leak in application"
    assert ours.diagnose(quiet, calm) is None


def test_the_engine_without_arguments_knows_the_rules_of_the_guide() -> None:
    found = RulesEngine().diagnose(LOGS, [])
    assert found is not None
    assert found["root_cause"] == "Database connection timeout"
    assert {"root_cause", "confidence", "remediation", "rule_matched"} <= found.keys()


def test_the_safety_classes_behave_as_in_the_guide(
    blocks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    exec("from typing import Dict, List\n" + block_with(blocks, "class DryRunExecutor"), names)
    given = ("systemctl restart shop", {"host": "web-1"})
    theirs = names["DryRunExecutor"](dry_run=True).execute(given[0], **given[1])
    assert DryRunExecutor(dry_run=True).execute(given[0], **given[1]) == theirs
    incident, actions = {"id": "1", "title": "shop is down"}, ["restart shop"]
    theirs = names["ApprovalManager"](require_approval=False).request_approval(incident, actions)
    assert ApprovalManager(require_approval=False).request_approval(incident, actions) is theirs


def test_where_the_guide_would_run_anything_we_refuse() -> None:
    with pytest.raises(PolicyDenied, match="never run"):
        DryRunExecutor(dry_run=False).execute("rm -rf /")


def test_without_a_terminal_nobody_approves() -> None:
    asked = ApprovalManager().request_approval({"title": "shop is down"}, ["restart shop"])
    assert asked is False
