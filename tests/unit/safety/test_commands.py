"""`iir approvals` and `iir policy`, over a real store, with a stand-in for the composition."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from it_incident_response.cli import approvals_commands, cli, policy_commands
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.plan import Plan
from it_incident_response.storage import open_store
from tests.unit.safety.world import FakeClock, World

EXAMPLE = Path(__file__).parents[3] / "config" / "policy.example.yaml"


class Shell:
    """Runs commands against one database; each opens and closes it, as a process does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.clock = FakeClock()

    @asynccontextmanager
    async def open(self, ctx: click.Context | None = None) -> AsyncIterator[Any]:
        store = open_store(self._url, clock=self.clock)
        await store.open()
        world = World(store, self.clock)
        try:
            yield SimpleNamespace(
                store=store,
                clock=self.clock,
                approvals=world.approvals,
                policy=world.policy,
                inventory=world.inventory,
                world=world,
            )
        finally:
            await store.close()

    def do(self, work: Callable[[World], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with self.open() as runtime:
                return await work(runtime.world)

        return asyncio.run(inside())

    def run(self, *arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=typed)


@pytest.fixture
def shell(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell(database_url)
    monkeypatch.setattr(approvals_commands, "open_runtime", shell.open)
    monkeypatch.setattr(policy_commands, "open_runtime", shell.open)
    monkeypatch.setattr(approvals_commands.getpass, "getuser", lambda: "alice")
    monkeypatch.setenv("COLUMNS", "200")
    return shell


@pytest.fixture
def asked(shell: Shell) -> tuple[Plan, Approval]:
    async def ask(world: World) -> tuple[Plan, Approval]:
        plan = await world.plan("web-1")
        return plan, await world.approvals.request(plan, by="agent:resolution")

    plan, request = shell.do(ask)
    return plan, request


def status_of(shell: Shell, request: Approval) -> Approval:
    async def read(world: World) -> Approval:
        return await world.store.approval(request.id)

    stored: Approval = shell.do(read)
    return stored


def test_nothing_waits(shell: Shell) -> None:
    result = shell.run("approvals", "list")
    assert (result.exit_code, result.output) == (0, "Nothing waits for approval.\n")
    assert json.loads(shell.run("approvals", "list", "--json").output) == []


def test_what_waits_is_listed(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    _, request = asked
    output = shell.run("approvals", "list").output
    for part in (request.id, "pending", "in 1h 0m", "INC-000001", "Restart nginx.service on web-1"):
        assert part in output
    [listed] = json.loads(shell.run("approvals", "list", "--json").output)
    assert listed["id"] == request.id
    assert "There is none." in shell.run("approvals", "list", "--status", "rejected").output


def test_show_has_all_that_an_approver_needs(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    plan, request = asked
    output = shell.run("approvals", "show", request.id[:13]).output
    for part in (
        "INC-000001 (high)  web is down",
        "asked by agent:resolution",
        "denied unless decided before 2026-03-11 13:00:00Z",
        "Cause (confirmed, 90%)",
        "Restart nginx.service on web-1; its open connections are cut.",
        "web-1$ sudo -n systemctl restart -- nginx.service",
        "risk: medium",
        "nothing to undo afterwards",
        "any-change: Every change needs a person's approval.",
        "verified by:",
        plan.digest,
    ):
        assert part in output
    shown = json.loads(shell.run("approvals", "show", request.id, "--json").output)
    assert shown["digest"] == plan.digest
    assert shown["plan"]["steps"][0]["commands"] == [list(c) for c in plan.steps[0].commands]


def test_hostile_text_is_shown_harmless(shell: Shell) -> None:
    async def ask(world: World) -> Approval:
        plan = await world.plan("web-1")
        evil = plan.model_copy(update={"reason": "x\x1b[2J\u202e[red]y"})
        return await world.approvals.request(evil, by="agent:\x1b]0;evil\x07")

    request = shell.do(ask)
    output = shell.run("approvals", "show", request.id).output
    assert not set("\x1b\u202e\x07") & set(output)
    assert "[red]y" in output


def test_a_long_command_is_shown_whole(shell: Shell) -> None:
    async def ask(world: World) -> Approval:
        world.executor.prefix = ("sudo", "-n", "x" * 5000, "last-word")
        return await world.approvals.request(await world.plan("web-1"), by="agent:resolution")

    request = shell.do(ask)
    output = shell.run("approvals", "show", request.id).output.replace("\n", "")
    assert "x" * 5000 + " last-word" in output


def test_approving_shows_and_asks_first(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    _, request = asked
    refused = shell.run("approvals", "approve", request.id, typed="n\n")
    assert refused.exit_code == 1
    assert "sudo -n systemctl restart" in refused.output
    assert status_of(shell, request).status is ApprovalStatus.PENDING
    assert shell.run("approvals", "approve", request.id).exit_code == 1, "no input is no yes"
    done = shell.run("approvals", "approve", request.id, "--reason", "seen", typed="y\n")
    assert done.exit_code == 0
    decided = status_of(shell, request)
    assert (decided.status, decided.decided_by) == (ApprovalStatus.APPROVED, "alice")
    assert (decided.decided_via, decided.reason) == ("cli", "seen")


def test_approving_for_somebody_else_says_who_sat_there(
    shell: Shell, asked: tuple[Plan, Approval]
) -> None:
    _, request = asked
    done = shell.run("approvals", "approve", request.id, "--yes", "--by", "bob", "--json")
    assert json.loads(done.output)["status"] == "approved"
    decided = status_of(shell, request)
    assert (decided.decided_by, decided.decided_via) == ("bob", "cli, run by alice")


def test_rejecting(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    _, request = asked
    assert shell.run("approvals", "reject", request.id, typed="n\n").exit_code == 1
    done = shell.run("approvals", "reject", request.id, "--yes", "--reason", "no")
    assert f"{request.id}: rejected by alice" in done.output
    assert status_of(shell, request).status is ApprovalStatus.REJECTED


def test_errors_have_their_exit_codes(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    plan, request = asked
    assert shell.run("approvals", "show", "0" * 36).exit_code == 3
    other = shell.run("approvals", "approve", request.id, "--yes", "--digest", "0" * 64)
    assert other.exit_code == 2
    assert plan.digest in other.output
    denied = shell.run("approvals", "approve", request.id, "--yes", "--by", "agent:x")
    assert denied.exit_code == 7
    assert "is not a person" in denied.output
    assert "Traceback" not in denied.output
    same = ("approvals", "approve", request.id, "--yes", "--digest", plan.digest[:12])
    assert shell.run(*same).exit_code == 0
    assert shell.run(*same).exit_code == 4


def test_the_policy_in_force_is_shown(shell: Shell) -> None:
    output = shell.run("policy", "show").output
    for part in ("the built-in default", "any-change", "otherwise: forbid", "max_fleet_share: 0.5"):
        assert part in output
    shown = json.loads(shell.run("policy", "show", "--json").output)
    assert [rule["name"] for rule in shown["rules"]] == ["read-only", "high-risk", "any-change"]


def test_a_policy_file_is_checked(shell: Shell, tmp_path: Path) -> None:
    result = shell.run("policy", "check", str(EXAMPLE))
    assert result.exit_code == 0
    assert "6 rules, 2 freezes: no mistake found" in result.output
    assert json.loads(shell.run("policy", "check", str(EXAMPLE), "--json").output)["rules"] == 6
    wrong = tmp_path / "p.yaml"
    wrong.write_text("rules:\n  - {name: a, effect: auto, when: {actions: [restart]}}\n")
    slip = shell.run("policy", "check", str(wrong))
    assert slip.exit_code == 2
    assert "no action fits 'restart'" in slip.output
    wrong.write_text("rules: 5\n")
    assert f"{wrong}:1: rules" in shell.run("policy", "check", str(wrong)).output


def test_a_ruling_is_explained(shell: Shell, asked: tuple[Plan, Approval]) -> None:
    plan, request = asked
    for reference in (plan.id, request.id):
        output = shell.run("policy", "explain", reference).output
        assert "needs approval by anyone with a role" in output
        assert "any-change: Every change needs a person's approval." in output
    [ruling] = json.loads(shell.run("policy", "explain", plan.id, "--json").output)["rulings"]
    assert ruling["effect"] == "approve"
    assert shell.run("policy", "explain", "nothing").exit_code == 3
