"""SshExecutor against a loopback server: who is trusted, what is in doubt, what is stopped."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest

from it_incident_response.actions import (
    DiagnosticCommand,
    RestartService,
    RollbackDeployment,
    RunDiagnosticCommand,
)
from it_incident_response.errors import (
    ActionInDoubt,
    ConfigError,
    ConnectorRejected,
    ConnectorUnavailable,
    TargetUnknown,
)
from it_incident_response.executors.ssh import SshExecutor
from tests.real.stack.waiting import Eventually
from tests.unit.executors.loopback_host import UNIT, LoopbackHost, is_alive, loopback_host

RESTART = RestartService(host="web-1", unit=UNIT)
LOOK = RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.UPTIME)
LOG = RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.KERNEL_LOG)


@pytest.fixture
async def bastion(tmp_path: Path) -> AsyncIterator[LoopbackHost]:
    """A second host."""
    async with loopback_host(tmp_path / "bastion") as host:
        yield host


def _flood(web: LoopbackHost) -> None:
    web.write_program("journalctl", "#!/bin/sh\necho $$ >$HOST_DIR/pid\nexec yes 'one more line'\n")


async def test_preview_shows_exactly_what_runs_and_where(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    preview = await executor.preview(RESTART)
    outcome = await executor.execute(RESTART, key="k")
    assert preview.commands == tuple(result.command for result in outcome.results)
    assert preview.commands[0][-6:] == ("-n", "--", "systemctl", "restart", "--", UNIT)
    assert preview.where == f"deploy@web-1 (127.0.0.1:{web.port})"
    assert preview.notes == (f"{UNIT} is active (running)",)


async def test_preview_says_what_sudo_would_refuse_and_how_to_permit_it(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    web.grant()
    preview = await executor.preview(RESTART)
    line = f"deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart -- {UNIT}"
    assert line in preview.notes[0]
    outcome = await executor.execute(RESTART, key="k")
    assert not outcome.succeeded
    assert outcome.error is not None
    assert line in outcome.error
    assert web.restarts == 0


async def test_without_sudo_the_command_runs_as_the_user(web: LoopbackHost) -> None:
    web.grant()
    executor = web.executor(sudo=False)
    outcome = await executor.execute(RESTART, key="k")
    assert outcome.succeeded
    assert "sudo" not in outcome.results[0].command
    await executor.close()


async def test_arguments_reach_the_shell_as_they_are(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    web.write_program("journalctl", '#!/bin/sh\nfor word; do printf "[%s]" "$word"; done\n')
    outcome = await executor.execute(LOG, key="k")
    words = "".join(f"[{word}]" for word in LOG.commands()[0][1:])
    assert outcome.results[0].output == words


async def test_output_is_made_harmless(web: LoopbackHost, executor: SshExecutor) -> None:
    hostile = r"\033[31mred\033[0m \033]0;title\007 \377 a\rb \342\200\256reversed"
    web.write_program("journalctl", f"#!/bin/sh\nprintf '{hostile}'\n")
    outcome = await executor.execute(LOG, key="k")
    text = outcome.results[0].output
    assert "red" in text
    assert "reversed" in text
    assert not set(text) & {"\033", "\007", "\r", "\u202e"}


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(web: LoopbackHost) -> None:
    key = web.known_hosts.read_text().split(None, 1)[1]
    fingerprint = asyncssh.import_public_key(key).get_fingerprint()
    web.known_hosts.write_text("")
    executor = web.executor()
    with pytest.raises(ConnectorRejected, match="is not in") as caught:
        await executor.execute(RESTART, key="k")
    assert fingerprint in str(caught.value)
    assert f"ssh-keyscan -p {web.port} 127.0.0.1" in str(caught.value)
    assert web.logins == web.restarts == 0
    web.known_hosts.unlink()
    with pytest.raises(ConnectorRejected, match="is not in"):
        await executor.check_host("web-1")


async def test_a_changed_host_key_is_refused(web: LoopbackHost) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    web.known_hosts.write_text(f"[127.0.0.1]:{web.port} {other}")
    executor = web.executor()
    with pytest.raises(ConnectorRejected, match="another host key"):
        await executor.execute(RESTART, key="k")
    assert web.logins == 0


async def test_a_revoked_host_key_is_refused(web: LoopbackHost) -> None:
    line = web.known_hosts.read_text()
    web.known_hosts.write_text(f"{line}@revoked {line}")
    with pytest.raises(ConnectorRejected, match="revoked"):
        await web.executor().check_host("web-1")
    assert web.logins == 0


async def test_a_broken_known_hosts_file_is_an_error_and_not_an_empty_one(
    web: LoopbackHost,
) -> None:
    web.known_hosts.write_text("@nonsense x y\n")
    with pytest.raises(ConfigError, match="known_hosts"):
        await web.executor().check_host("web-1")


async def test_the_users_own_ssh_configuration_is_not_read(web: LoopbackHost) -> None:
    """A `ProxyCommand` or `StrictHostKeyChecking no` there must not count."""
    config = Path(os.environ["HOME"]) / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text(f"Host *\n  ProxyCommand touch {web.folder}/proxied\n  User nobody\n")
    executor = web.executor()
    await executor.check_host("web-1")
    await executor.close()
    assert not (web.folder / "proxied").exists()


async def test_a_wrong_key_is_refused_and_names_the_user(web: LoopbackHost) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    other.write_private_key(str(web.key))
    with pytest.raises(ConnectorRejected, match="refused the login of 'deploy'"):
        await web.executor().execute(RESTART, key="k")


async def test_a_key_that_others_may_read_is_refused(web: LoopbackHost) -> None:
    web.key.chmod(0o640)
    with pytest.raises(ConfigError, match="0o640") as caught:
        await web.executor().check_host("web-1")
    assert "chmod 600" in str(caught.value)


async def test_a_missing_or_unreadable_key_is_an_error_without_its_text(web: LoopbackHost) -> None:
    web.key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END\n")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        await web.executor().check_host("web-1")
    assert "c2VjcmV0" not in str(caught.value)
    web.key.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        await web.executor().check_host("web-1")


async def test_a_passphrase_opens_the_key_and_is_never_shown(web: LoopbackHost) -> None:
    key = asyncssh.read_private_key(str(web.key))
    key.write_private_key(str(web.key), passphrase="open sesame", rounds=50)
    settings = web.settings(passphrase="open sesame")
    assert "sesame" not in repr(settings)
    executor = web.executor(passphrase="open sesame")
    await executor.check_host("web-1")
    await executor.close()
    for given in (None, "wrong"):
        with pytest.raises(ConfigError, match="passphrase") as caught:
            await web.executor(passphrase=given).check_host("web-1")
        assert "sesame" not in str(caught.value)


async def test_nobody_to_log_in_as_is_an_error(web: LoopbackHost) -> None:
    with pytest.raises(ConfigError, match="nobody is named"):
        await web.executor(username=None).check_host("web-1")
    executor = web.executor(web.entry(user="deploy"), username=None)
    await executor.check_host("web-1")
    await executor.close()


async def test_a_host_that_is_down_is_unavailable_and_nothing_was_started(
    web: LoopbackHost,
) -> None:
    executor = web.executor(web.entry(port=1))
    with pytest.raises(ConnectorUnavailable, match="Connect"):
        await executor.execute(RESTART, key="k")
    with pytest.raises(ConnectorUnavailable):
        await executor.check()


async def test_a_host_that_never_answers_is_given_up(web: LoopbackHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        executor = web.executor(web.entry(port=silent.getsockname()[1]), connect_timeout_s=0.2)
        with pytest.raises(ConnectorUnavailable, match=r"no answer within 0.2 s"):
            await executor.check_host("web-1")


async def test_a_key_may_be_tried_again_if_nothing_was_started(web: LoopbackHost) -> None:
    line = web.known_hosts.read_text()
    web.known_hosts.write_text("")
    executor = web.executor()
    with pytest.raises(ConnectorRejected):
        await executor.execute(RESTART, key="k")
    web.known_hosts.write_text(line)
    assert (await executor.execute(RESTART, key="k")).succeeded
    assert web.restarts == 1
    await executor.close()


async def _never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (lambda: False, "Session refused"),
        (asyncssh.SSHServerSession, "Session request failed"),
        (_never, "no channel was opened within 0.3 s"),
    ],
    ids=["channel", "command", "silence"],
)
async def test_a_refused_session_is_no_doubt_nothing_was_started(
    web: LoopbackHost, refusal: Callable[[], object], reason: str
) -> None:
    executor = web.executor(command_timeout_s=0.3)
    web.refusal = refusal
    with pytest.raises(ConnectorUnavailable, match=f"did not run .*: {reason}"):
        await executor.execute(RESTART, key="k")
    web.refusal = None
    assert (await executor.execute(RESTART, key="k")).succeeded
    await executor.close()


_WAIT_AFTER_RESTART = """#!/bin/sh
cd $HOST_DIR; echo x >>restarts; while [ ! -e go ]; do sleep 0.01; done
"""


async def test_a_later_command_that_cannot_start_leaves_a_failed_outcome(
    web: LoopbackHost, executor: SshExecutor, eventually: Eventually
) -> None:
    """Something was started: that must not look like "nothing happened"."""

    class Twice(RestartService):
        def commands(self) -> tuple[tuple[str, ...], ...]:
            return super().commands() * 2

    web.write_program("systemctl", _WAIT_AFTER_RESTART)
    attempt = asyncio.ensure_future(executor.execute(Twice(host="web-1", unit=UNIT), key="k"))
    await eventually(lambda: web.restarts == 1, 5, "the first command to have run")
    web.refusal = lambda: False
    (web.folder / "go").touch()
    outcome = await attempt
    assert not outcome.succeeded
    assert "Session refused" in (outcome.error or "")
    assert len(outcome.results) == web.restarts == 1


async def test_one_connection_serves_many_commands(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    outcomes = await asyncio.gather(*(executor.execute(LOOK, key=f"k{n}") for n in range(20)))
    assert all(outcome.succeeded for outcome in outcomes)
    assert web.logins == 1


async def test_a_connection_that_died_while_idle_is_replaced(
    web: LoopbackHost, executor: SshExecutor, eventually: Eventually
) -> None:
    await executor.execute(LOOK, key="k1")
    web.cut_connections()
    assert (await executor.execute(LOOK, key="k2")).succeeded
    assert web.logins == 2


async def test_a_connection_cut_in_the_middle_is_in_doubt(
    web: LoopbackHost, executor: SshExecutor, eventually: Eventually
) -> None:
    web.set_mode("hang")
    attempt = asyncio.ensure_future(executor.execute(RESTART, key="k"))
    await eventually(lambda: web.running_pid, 5, "the command to run")
    web.cut_connections()
    with pytest.raises(ActionInDoubt, match="the connection broke .* after"):
        await attempt
    with pytest.raises(ActionInDoubt):  # the key is spent: nothing runs a second time
        await executor.execute(RESTART, key="k")
    web.set_mode("well")
    assert (await executor.execute(RESTART, key="k2")).succeeded


async def test_a_look_cut_in_the_middle_is_only_a_failure(
    web: LoopbackHost, executor: SshExecutor, eventually: Eventually
) -> None:
    web.write_program("journalctl", "#!/bin/sh\necho $$ >$HOST_DIR/pid\nexec sleep 600\n")
    attempt = asyncio.ensure_future(executor.execute(LOG, key="k"))
    await eventually(lambda: web.running_pid, 5, "the command to run")
    web.cut_connections()
    outcome = await attempt
    assert not outcome.succeeded
    assert "the connection broke" in (outcome.error or "")


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
async def test_a_time_limit_is_in_doubt_and_the_process_is_stopped(
    web: LoopbackHost, eventually: Eventually, mode: str
) -> None:
    web.set_mode(mode)
    executor = web.executor(command_timeout_s=0.3)
    with pytest.raises(ActionInDoubt, match="had not ended after"):
        await executor.execute(RESTART, key="k")
    pid = web.running_pid
    assert pid is not None
    await eventually(lambda: not is_alive(pid), 5, "the process to be gone")
    await executor.close()


async def test_cancelling_stops_the_process_and_spends_the_key(
    web: LoopbackHost, executor: SshExecutor, eventually: Eventually
) -> None:
    web.set_mode("hang")
    attempt = asyncio.ensure_future(executor.execute(RESTART, key="k"))
    pid = await eventually(lambda: web.running_pid, 5, "the command to run")
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await eventually(lambda: not is_alive(pid), 5, "the process to be gone")
    with pytest.raises(ActionInDoubt, match="was cancelled"):
        await executor.execute(RESTART, key="k")


async def test_endless_output_is_cut_and_the_look_is_stopped(
    web: LoopbackHost, eventually: Eventually
) -> None:
    _flood(web)
    executor = web.executor(max_output_bytes=10_000)
    outcome = await executor.execute(LOG, key="k")
    (result,) = outcome.results
    assert outcome.succeeded
    assert result.is_truncated
    assert len(result.output) == 10_000
    pid = web.running_pid
    assert pid is not None
    await eventually(lambda: not is_alive(pid), 5, "the process to be gone")
    await executor.close()


async def test_a_change_is_not_cut_off_for_talking_too_much(web: LoopbackHost) -> None:
    web.set_mode("flood")
    executor = web.executor(max_output_bytes=10_000)
    outcome = await executor.execute(RESTART, key="k")
    assert outcome.succeeded
    assert outcome.results[0].is_truncated
    assert len(outcome.results[0].output) == 10_000
    assert web.restarts == 1
    await executor.close()


async def test_a_command_killed_by_a_signal_is_a_failure(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    web.write_program("journalctl", "#!/bin/sh\nkill -KILL $PPID\nkill -KILL $$\n")
    outcome = await executor.execute(LOG, key="k")
    assert not outcome.succeeded
    assert outcome.results[0].exit_status == 137


async def test_a_missing_program_is_a_failure_in_its_own_words(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    look = RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.SOCKETS)
    web.write_program("ss", "#!/bin/sh\necho 'ss: not found' >&2\nexit 127\n")
    outcome = await executor.execute(look, key="k")
    assert not outcome.succeeded
    assert "exited with status 127: ss: not found" in (outcome.error or "")


async def test_a_probe_that_fails_tells_nothing(web: LoopbackHost, executor: SshExecutor) -> None:
    web.write_program("systemctl", "#!/bin/sh\necho no bus >&2\nexit 1\n")
    probe = await executor.probe(RESTART)
    assert probe.took_effect is None
    assert probe.outputs == ()
    assert "no bus" in probe.detail


async def test_a_refused_probe_is_tried_by_sudo_only_if_sudo_permits_it(
    web: LoopbackHost, executor: SshExecutor
) -> None:
    refusing = '#!/bin/sh\n[ -n "$SUDO_TEST" ] || exit 1\necho ActiveState=active\n'
    web.write_program("systemctl", refusing)
    assert (await executor.probe(RESTART)).took_effect is None
    web.grant(" ".join(RESTART.probe_commands()[0]))
    sudo = (web.folder / "bin" / "sudo").read_text()
    web.write_program("sudo", sudo.replace('exec "$@"', 'SUDO_TEST=1 exec "$@"'))
    probe = await executor.probe(RESTART)
    assert probe.outputs == ("ActiveState=active\n",)
    assert "sudo" in probe.results[0].command


async def test_through_a_jump_host(web: LoopbackHost, bastion: LoopbackHost) -> None:
    (bastion.folder / "authorized_keys").write_bytes((web.folder / "authorized_keys").read_bytes())
    known = web.known_hosts.read_text() + bastion.known_hosts.read_text()
    web.known_hosts.write_text(known)
    entries = (web.entry(jump="bastion"), bastion.entry("bastion"))
    executor = web.executor(*entries)
    outcome = await executor.execute(RESTART, key="k")
    assert outcome.succeeded
    assert (bastion.logins, web.logins) == (1, 1)
    assert bastion.restarts == 0
    assert (await executor.preview(RESTART)).where.endswith("through bastion")
    await executor.close()


async def test_the_jump_host_s_key_is_checked_too(web: LoopbackHost, bastion: LoopbackHost) -> None:
    executor = web.executor(web.entry(jump="bastion"), bastion.entry("bastion"))
    with pytest.raises(ConnectorRejected, match="bastion .* is not in"):
        await executor.check_host("web-1")
    assert bastion.logins == 0


async def test_a_circle_of_jump_hosts_is_an_error(web: LoopbackHost) -> None:
    executor = web.executor(web.entry(jump="b"), web.entry("b", jump="web-1"))
    with pytest.raises(ConfigError, match="circle"):
        await executor.check_host("web-1")


async def test_only_listed_targets_and_its_own_actions(executor: SshExecutor) -> None:
    strangers = (
        RestartService(host="web-2", unit=UNIT),
        RestartService(host="web-1", unit="sshd.service"),
    )
    for stranger in strangers:
        for call in (executor.preview(stranger), executor.probe(stranger)):
            with pytest.raises(TargetUnknown):
                await call
        with pytest.raises(TargetUnknown):
            await executor.execute(stranger, key="k")
    with pytest.raises(ConfigError, match="not carried out over SSH"):
        await executor.preview(RollbackDeployment(service="checkout"))
    with pytest.raises(TargetUnknown):
        await executor.check_host("web-2")


async def test_check_logs_in_everywhere(web: LoopbackHost) -> None:
    executor = web.executor(web.entry(), web.entry("web-2"))
    assert (await executor.check()).detail == "logged in to 2 hosts"
    await executor.close()
    down = web.executor(web.entry(), web.entry("web-2", port=1))
    with pytest.raises(ConnectorUnavailable, match="web-2"):
        await down.check()
    await down.close()


def test_an_executor_outlives_an_event_loop(tmp_path: Path) -> None:
    """The synchronous façade may run each call in a loop of its own."""

    async def run(executor_of: list[SshExecutor]) -> None:
        async with loopback_host(tmp_path / str(len(executor_of))) as host:
            if not executor_of:
                executor_of.append(host.executor())
                await executor_of[0].check_host("web-1")
            else:
                with pytest.raises(ConnectorUnavailable):
                    await executor_of[0].check_host("web-1")

    kept: list[SshExecutor] = []
    asyncio.run(run(kept))
    asyncio.run(run(kept))
