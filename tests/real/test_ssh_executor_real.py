"""The SSH executor against a real sshd, sudo and systemd."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import pytest

from it_incident_response.actions import (
    CleanDisk,
    DiagnosticCommand,
    RenewCertificate,
    RestartService,
    RunDiagnosticCommand,
)
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import (
    ActionInDoubt,
    ConnectorRejected,
    ConnectorUnavailable,
)
from it_incident_response.executors.ssh import SshExecutor, SshSettings
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.waiting import Eventually

FOLDER = "/srv/data/cache"
RESTART = RestartService(host="web-1", unit="checkout.service")
OTHER = RestartService(host="web-1", unit="node-exporter.service")
CLEAN = CleanDisk(host="web-1", path=FOLDER)
RENEW = RenewCertificate(host="web-1", unit="renew.service")
LOOK = RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.UPTIME)
SOCKETS = RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.SOCKETS)

_RENEW_UNIT = """[Service]
Type=oneshot
ExecStart=/bin/sh -c 'date +%%s.%%N >/srv/data/renewed'
"""


@pytest.fixture(scope="module")
def web(boot_host: BootHost) -> Host:
    """A host with a renewal unit, whose user may clean and renew too."""
    host = boot_host("web-1", sudo_commands=[*CLEAN.commands(), *RENEW.commands()])
    host.path("/etc/systemd/system/renew.service").write_text(_RENEW_UNIT)
    host.run("systemctl", "daemon-reload")
    return host


def _entry(host: Host, name: str = "web-1", **changes: object) -> HostEntry:
    values: dict[str, object] = {
        "address": host.address,
        "port": host.port,
        "services": (
            ServiceEntry(name="checkout", unit="checkout.service"),
            ServiceEntry(name="exporter", unit="node-exporter.service"),
        ),
        "certificate_unit": "renew.service",
        "cleanable_paths": (FOLDER,),
        "certificate_paths": ("/etc/ssl/web.pem",),
    }
    return HostEntry(name=name, **values | changes)  # type: ignore[arg-type]


def _executor(host: Host, *entries: HostEntry, **changes: object) -> SshExecutor:
    values = {"username": host.user, "private_key": host.key, "known_hosts": host.known_hosts}
    settings = SshSettings.model_validate({**values, **changes})
    return SshExecutor(Inventory(hosts=entries or (_entry(host),)), settings)


@pytest.fixture
async def executor(web: Host) -> AsyncIterator[SshExecutor]:
    """An executor for the host, which is well at the beginning."""
    if web.unit_state() != "active":
        web.restart_service()
    executor = _executor(web)
    yield executor
    await executor.close()


@pytest.fixture
def slow_start(web: Host) -> Iterator[None]:
    """Make every start of the service take ten seconds."""
    drop_in = web.path("/etc/systemd/system/checkout.service.d/slow.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nExecStartPre=/bin/sleep 10\n")
    web.run("systemctl", "daemon-reload")
    yield
    drop_in.unlink()
    web.run("systemctl", "daemon-reload")
    web.restart_service()


@pytest.fixture
def replace_ss(web: Host) -> Iterator[Path]:
    """A program that runs in place of `ss`: the file is to be written by the test."""
    program = web.path("/usr/local/bin/ss")
    program.touch(mode=0o755)
    yield program
    program.unlink()


def _invocation(host: Host) -> str:
    shown = host.run("systemctl", "show", "-P", "InvocationID", "checkout.service")
    return shown.stdout.strip()


def _is_running(host: Host, *pattern: str) -> bool:
    return host.run("pgrep", "-f", *pattern).returncode == 0


async def test_a_restart_really_restarts(web: Host, executor: SshExecutor) -> None:
    web.kill_service()
    dead = await executor.probe(RESTART)
    assert dead.took_effect is False
    assert "failed" in dead.detail
    preview = await executor.preview(RESTART)
    assert preview.where == f"deploy@web-1 ({web.address}:22)"
    assert len(preview.notes) == 1
    assert "checkout.service is failed" in preview.notes[0]
    assert web.unit_state() == "failed"
    outcome = await executor.execute(RESTART, key="k")
    assert outcome.succeeded, outcome
    assert (await executor.probe(RESTART, before=dead.outputs)).took_effect is True
    assert web.unit_state() == "active"


async def test_a_restart_of_a_living_service_is_told_from_none(
    web: Host, executor: SshExecutor
) -> None:
    before = await executor.probe(RESTART)
    invocation = _invocation(web)
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is False
    await executor.execute(RESTART, key="k")
    await executor.execute(RESTART, key="k")
    assert _invocation(web) != invocation
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is True


async def test_where_a_key_gets_no_terminal_commands_run_without(web: Host) -> None:
    """What runs by sudo cannot be stopped then; that is no reason not to run it."""
    keys = web.path("/home/deploy/.ssh/authorized_keys")
    usual = keys.read_text()
    keys.write_text(f"no-pty {usual}")
    executor = _executor(web)
    before = await executor.probe(RESTART)
    outcome = await executor.execute(RESTART, key="k")
    keys.write_text(usual)
    assert outcome.succeeded, outcome
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is True
    await executor.close()


async def test_sudo_refuses_another_unit_and_the_advice_is_right(
    web: Host, executor: SshExecutor
) -> None:
    """The line that the error prints is put into sudoers as it is; then it works."""
    preview = await executor.preview(OTHER)
    outcome = await executor.execute(OTHER, key="k1")
    assert not outcome.succeeded
    assert outcome.error in preview.notes
    line = str(outcome.error).partition("visudo:")[2].strip()
    web.path("/etc/sudoers.d/more").write_text(f"{line}\n")
    web.path("/etc/sudoers.d/more").chmod(0o440)
    outcome = await executor.execute(OTHER, key="k2")
    web.path("/etc/sudoers.d/more").unlink()
    assert outcome.succeeded, outcome


async def test_a_service_that_does_not_come_up_is_a_failure(
    web: Host, executor: SshExecutor, eventually: Eventually
) -> None:
    web.path("/etc/systemd/system/checkout.service.d").mkdir(exist_ok=True)
    drop_in = web.path("/etc/systemd/system/checkout.service.d/broken.conf")
    drop_in.write_text("[Service]\nExecStartPre=/bin/false\n")
    web.run("systemctl", "daemon-reload")
    before = await executor.probe(RESTART)
    outcome = await executor.execute(RESTART, key="k")
    drop_in.unlink()
    web.run("systemctl", "daemon-reload")
    assert not outcome.succeeded
    assert "exited with status 1" in str(outcome.error)
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is False


async def test_an_unknown_host_key_is_refused(web: Host, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    public = asyncssh.read_public_key(str(web.host_key.with_suffix(".pub")))
    with pytest.raises(ConnectorRejected, match="is not in") as caught:
        await _executor(web, known_hosts=empty).execute(RESTART, key="k")
    assert public.get_fingerprint() in str(caught.value)


async def test_a_wrong_host_key_is_refused(web: Host, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known = tmp_path / "known_hosts"
    known.write_text(f"{web.address} {other}")
    with pytest.raises(ConnectorRejected, match="another host key"):
        await _executor(web, known_hosts=known).execute(RESTART, key="k")


async def test_a_host_key_of_another_type_is_refused(web: Host, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    known = tmp_path / "known_hosts"
    known.write_text(f"{web.address} {other}")
    with pytest.raises(ConnectorRejected, match="another host key"):
        await _executor(web, known_hosts=known).execute(RESTART, key="k")


async def test_a_hashed_known_hosts_file_is_understood(web: Host, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(web.known_hosts.read_text())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert web.address not in known.read_text()
    executor = _executor(web, known_hosts=known)
    await executor.check()
    await executor.close()


async def test_a_wrong_user_key_is_refused(web: Host, tmp_path: Path) -> None:
    key = tmp_path / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key))
    key.chmod(0o600)
    with pytest.raises(ConnectorRejected, match="refused the login of 'deploy'"):
        await _executor(web, private_key=key).execute(RESTART, key="k")


async def test_the_keys_of_an_agent_are_used(
    web: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL
    ) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        try:
            while subprocess.run(["ssh-add", "-q", str(web.key)], capture_output=True).returncode:
                await asyncio.sleep(0.01)
            executor = _executor(web, private_key=None)
            await executor.check()
            await executor.close()
        finally:
            agent.terminate()


async def test_a_host_that_is_down(web: Host) -> None:
    executor = _executor(web, _entry(web, port=2))
    with pytest.raises(ConnectorUnavailable, match="Connect"):
        await executor.execute(RESTART, key="k")


@pytest.mark.usefixtures("slow_start")
async def test_a_connection_cut_in_the_middle_is_in_doubt_until_probed(
    web: Host, executor: SshExecutor, eventually: Eventually
) -> None:
    """What is in doubt is found out by the probe, with the state from before."""
    before = await executor.probe(RESTART)
    attempt = asyncio.ensure_future(executor.execute(RESTART, key="k"))
    await eventually(lambda: web.unit_state() == "activating", 10, "the restart to begin")
    web.run("pkill", "-KILL", "-u", "deploy", "-x", "sshd")
    with pytest.raises(ActionInDoubt, match="the connection broke"):
        await attempt
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is None
    await eventually(lambda: web.unit_state() == "active", 20, "the restart to end by itself")
    assert (await executor.probe(RESTART, before=before.outputs)).took_effect is True


@pytest.mark.usefixtures("slow_start")
async def test_a_restart_past_its_time_limit_is_in_doubt(web: Host, executor: SshExecutor) -> None:
    impatient = _executor(web, command_timeout_s=0.5)
    with pytest.raises(ActionInDoubt, match="had not ended after"):
        await impatient.execute(RESTART, key="k")
    await impatient.close()


@pytest.mark.parametrize("stubborn", [False, True])
async def test_cancelling_a_look_ends_its_process(
    web: Host, executor: SshExecutor, eventually: Eventually, replace_ss: Path, stubborn: bool
) -> None:
    trap = "trap '' TERM\n" if stubborn else ""
    replace_ss.write_text(f"#!/bin/bash\n{trap}while :; do sleep 777; done\n")
    attempt = asyncio.ensure_future(executor.execute(SOCKETS, key="k"))
    await eventually(lambda: _is_running(web, "sleep 777"), 10, "the look to run")
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await eventually(lambda: not _is_running(web, "sleep 777"), 10, "its process to be gone")
    assert not _is_running(web, "local/bin/ss")


async def test_a_look_ends_on_the_host_even_if_the_connection_is_lost(
    web: Host, executor: SshExecutor, eventually: Eventually, replace_ss: Path
) -> None:
    """`timeout` on the host is the net below our own limit: here 1 s and 5 s of grace."""
    replace_ss.write_text("#!/bin/bash\nexec sleep 778\n")
    quick = _executor(web, command_timeout_s=1.0)
    attempt = asyncio.ensure_future(quick.execute(SOCKETS, key="k"))
    await eventually(lambda: _is_running(web, "sleep 778"), 10, "the look to run")
    web.run("pkill", "-KILL", "-u", "deploy", "-x", "sshd")
    assert not (await attempt).succeeded
    assert _is_running(web, "sleep 778")
    await eventually(lambda: not _is_running(web, "sleep 778"), 15, "the host to end it")
    await quick.close()


async def test_a_hundred_megabytes_are_cut_and_stopped(
    web: Host, executor: SshExecutor, eventually: Eventually, replace_ss: Path
) -> None:
    replace_ss.write_text("#!/bin/bash\nexec head -c 100000000 /dev/zero\n")
    outcome = await executor.execute(SOCKETS, key="k")
    (result,) = outcome.results
    assert outcome.succeeded
    assert result.is_truncated
    assert len(result.output) == 262_144
    await eventually(lambda: not _is_running(web, "head -c 1000"), 10, "the command to end")
    assert (await executor.execute(LOOK, key="k2")).succeeded  # the connection is still good


async def test_twenty_commands_at_once_share_one_connection(
    web: Host, executor: SshExecutor
) -> None:
    """More than OpenSSH's default of ten sessions a connection: the rest waits its turn."""
    outcomes = await asyncio.gather(*(executor.execute(LOOK, key=f"k{n}") for n in range(20)))
    assert all(outcome.succeeded for outcome in outcomes)
    shown = web.run("ss", "-Htn", "state", "established", f"( src {web.address}:22 )").stdout
    assert len(shown.splitlines()) == 1


async def test_every_diagnostic_command_says_something(web: Host, executor: SshExecutor) -> None:
    web.path(FOLDER).mkdir(exist_ok=True)
    _write_certificate(web)
    needs = {
        DiagnosticCommand.UNIT_STATUS: {"unit": "checkout.service"},
        DiagnosticCommand.UNIT_LOG: {"unit": "checkout.service"},
        DiagnosticCommand.FOLDER_USAGE: {"path": FOLDER},
        DiagnosticCommand.CERTIFICATE_DATES: {"path": "/etc/ssl/web.pem"},
    }
    for command in DiagnosticCommand:
        parameters = {"host": "web-1", "command": command, **needs.get(command, {})}
        look = RunDiagnosticCommand.model_validate(parameters)
        outcome = await executor.execute(look, key=command)
        assert outcome.succeeded, outcome
        assert look.facts(outcome.results[0].output), command


def _write_certificate(web: Host) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "9"]
        + ["-subj", "/CN=web-1", "-keyout", "/dev/null"],
        capture_output=True,
        check=True,
        text=True,
    )
    web.path("/etc/ssl/web.pem").write_text(made.stdout)


def _age(path: Path, hours: float) -> None:
    moment = path.lstat().st_mtime - hours * 3600
    os.utime(path, (moment, moment), follow_symlinks=False)


async def test_cleaning_deletes_old_files_of_the_folder_and_nothing_else(
    web: Host, executor: SshExecutor
) -> None:
    folder, outside = web.path(FOLDER), web.path("/srv/data/outside")
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    outside.write_bytes(b"x" * 1000)
    old = [folder / "old", folder / "sub" / "also old", folder / "new\nline"]
    for path in old:
        path.write_bytes(b"x" * 1_000_000)
    new, link = folder / "new", folder / "link"
    new.write_bytes(b"x" * 1000)
    link.symlink_to("/srv/data/outside")
    linked_folder = folder / "linked"
    linked_folder.symlink_to("/srv/data")
    for path in (*old, outside, link, linked_folder, folder / "sub"):
        _age(path, 48)

    preview = await executor.preview(CLEAN)
    assert preview.notes[0] == f"3 files, 2.9 MiB, would be deleted from {FOLDER}"
    assert all(path.exists() for path in old)
    before = await executor.probe(CLEAN)
    assert before.took_effect is False
    outcome = await executor.execute(CLEAN, key="k")
    assert outcome.succeeded, outcome
    probe = await executor.probe(CLEAN, before=before.outputs)
    assert probe.took_effect is True, probe
    assert not any(path.exists() for path in old)
    assert new.exists()
    assert outside.exists()
    assert link.is_symlink()
    assert linked_folder.is_symlink()
    assert (folder / "sub").is_dir()


async def test_a_renewal_runs_the_unit(web: Host, executor: SshExecutor) -> None:
    for number in range(2):
        before = await executor.probe(RENEW)
        stamp = web.path("/srv/data/renewed")
        was = stamp.read_text() if stamp.exists() else ""
        outcome = await executor.execute(RENEW, key=f"k{number}")
        assert outcome.succeeded, outcome
        assert stamp.read_text() != was
        probe = await executor.probe(RENEW, before=before.outputs)
        assert probe.took_effect is None  # systemd forgets a finished unit that nothing refers to


async def test_through_a_jump_host(web: Host, boot_host: BootHost, tmp_path: Path) -> None:
    bastion = boot_host("bastion", services=())
    keys = bastion.path("/home/deploy/.ssh/authorized_keys")
    keys.write_text(web.key.with_suffix(".pub").read_text())
    known = tmp_path / "known_hosts"
    known.write_text(web.known_hosts.read_text() + bastion.known_hosts.read_text())
    entries = (_entry(web, jump="bastion"), _entry(bastion, "bastion"))
    executor = _executor(web, *entries, known_hosts=known)
    outcome = await executor.execute(RESTART, key="k")
    assert outcome.succeeded, outcome
    assert "Accepted publickey for deploy" in bastion.journal()
    assert bastion.journal().count("Accepted publickey") == 1
    bastion.kill()
    with pytest.raises(ConnectorUnavailable):
        await executor.check_host("bastion")
    await executor.close()
