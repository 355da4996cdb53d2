"""What the programs on a simulated host print: read-only looks at the state."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from it_incident_response.domain.evidence import LogLevel, TimeWindow
from it_incident_response.ports.clock import utc
from it_incident_response.ports.sources import LogQuery
from it_incident_response.simulation.remedies import OLD_FILES_AGE_H
from it_incident_response.simulation.state import Host, Instance, Mount
from it_incident_response.simulation.world import SimulatedWorld

Answer = tuple[int, str]
"""Exit status and output."""

_KIB = 1024
_LOG_WINDOW = timedelta(hours=6)
_FILE_BYTES = 256 * 1024 * 1024


def look(world: SimulatedWorld, host: str, command: Sequence[str]) -> Answer:
    """Run a read-only command on a host; an unknown one ends with 127, as in a shell."""
    world.catch_up()
    words = _without_sudo(command)
    machine = world.state.hosts.get(host)
    if machine is None or not words:
        return 127, "no such host or command"
    program = _PROGRAMS.get(words[0])
    if program is None:
        return 127, f"{words[0]}: command not found"
    return program(world, machine, words[1:])


def _without_sudo(command: Sequence[str]) -> list[str]:
    words = list(command)
    if words[:1] == ["sudo"]:
        words = [word for word in words[1:] if not word.startswith("-")][:1] + words[2:]
        words = words[1:] if words and words[0] == "-n" else words
    return words


def _systemctl(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    if "--failed" in words:
        failed = [i for i in world.state.on_host(host.spec.name) if not i.is_up]
        lines = [f"{i.spec.unit} loaded failed failed {i.spec.name}" for i in failed]
        return 0, "\n".join(lines)
    verb = words[0] if words else ""
    unit = words[-1] if words else ""
    if verb == "show":
        wanted = next((w.partition("=")[2] for w in words if w.startswith("--property=")), "")
        return 0, _show(world, host, unit, wanted.split(",") if wanted else [])
    instance = world.state.by_unit(host.spec.name, unit)
    if verb == "is-active":
        active = instance is not None and instance.is_up
        return (0, "active") if active else (3, "failed" if instance else "inactive")
    return 1, f"Unknown command verb {verb}."


def _show(world: SimulatedWorld, host: Host, unit: str, wanted: list[str]) -> str:
    properties = _properties(world, host, unit)
    names = wanted or list(properties)
    return "\n".join(f"{name}={properties[name]}" for name in names if name in properties)


def _properties(world: SimulatedWorld, host: Host, unit: str) -> dict[str, str]:
    instance = world.state.by_unit(host.spec.name, unit)
    if instance is not None:
        return _service_properties(host, instance)
    if unit == host.spec.certificate_unit:
        state = world.state
        invocation = _invocation(host, unit, state.renewed_at) if state.renewals else ""
        return {
            **_unit_properties(host, "inactive", "dead", state.renewed_at, invocation),
            "Result": "success" if state.certificate_renewal_works else "exit-code",
            "ExecMainStatus": "0" if state.certificate_renewal_works else "1",
            "Type": "oneshot",
        }
    return {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}


def _service_properties(host: Host, instance: Instance) -> dict[str, str]:
    started = instance.process.started_at
    if instance.is_up:
        found = _unit_properties(
            host, "active", "running", started, _invocation(host, instance.spec.unit, started)
        )
        return {**found, "MainPID": str(_pid(started, instance.spec.name))}
    found = _unit_properties(
        host, "failed", "failed", started, _invocation(host, instance.spec.unit, started)
    )
    status = {"signal": "11", "oom-kill": "9"}.get(instance.last_exit, "1")
    return {**found, "Result": instance.last_exit or "exit-code", "ExecMainStatus": status}


def _unit_properties(
    host: Host, active: str, sub: str, since: float, invocation: str
) -> dict[str, str]:
    return {
        "LoadState": "loaded",
        "ActiveState": active,
        "SubState": sub,
        "Result": "success",
        "MainPID": "0",
        "NRestarts": "0",
        "InvocationID": invocation,
        "ActiveEnterTimestampMonotonic": str(int(max(0.0, since - host.boot_at) * 1e6)),
        "ActiveEnterTimestamp": f"{utc(since):%a %Y-%m-%d %H:%M:%S} UTC" if since else "",
        "ExecMainStatus": "0",
        "UnitFileState": "enabled",
        "Type": "simple",
    }


def _invocation(host: Host, unit: str, since: float) -> str:
    return hashlib.sha256(f"{host.spec.name}/{unit}/{since}".encode()).hexdigest()[:32]


def _pid(since: float, name: str) -> int:
    return 400 + int(hashlib.sha256(f"{since}/{name}".encode()).hexdigest()[:6], 16) % 31000


def _df(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    paths = [word for word in words if word.startswith("/")]
    mounts = [host.mount(path) for path in paths] or host.mounts
    unit = "Inodes" if "-i" in words else "1024-blocks"
    lines = [f"Filesystem {unit} Used Available Capacity Mounted on"]
    lines += [_df_line(mount, "-i" in words) for mount in mounts]
    return 0, "\n".join(lines)


def _df_line(mount: Mount, inodes: bool) -> str:
    size, used = mount.size_bytes / _KIB, mount.used_bytes / _KIB
    if inodes:
        size = mount.size_bytes / 16384
        used = size * (0.12 + 0.05 * mount.used_share)
    percent = -(-100 * used // size)  # df rounds up
    return f"{mount.device} {size:.0f} {used:.0f} {size - used:.0f} {percent:.0f}% {mount.path}"


def _find(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    path = next((word for word in words if word.startswith("/")), "")
    if path not in host.spec.cleanable:
        return 1, f"find: '{path}': No such file or directory"
    age = next((w for before, w in zip(words, words[1:], strict=False) if before == "-mmin"), "+0")
    is_old_enough = int(age.lstrip("+") or 0) <= OLD_FILES_AGE_H * 60
    size = host.mount(path).reclaimable.get(path, 0.0) if is_old_enough else 0.0
    files = [_FILE_BYTES] * int(size // _FILE_BYTES)
    if size % _FILE_BYTES >= 1:
        files.append(int(size % _FILE_BYTES))
    names = [f"{path}/archive-{number:04d}.log" for number in range(len(files))]
    if "-quit" in words:
        return 0, "\n".join(names[:1])
    if "-printf" in words:
        return 0, "".join(f"{s}\t{name}//\n" for s, name in zip(files, names, strict=True))
    return 0, "\n".join(names)


def _du(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    path = words[-1] if words else "/"
    if path not in host.spec.cleanable:
        return 1, f"du: cannot access '{path}': No such file or directory"
    return 0, f"{host.mount(path).reclaimable.get(path, 0.0) / _KIB:.0f}\t{path}"


def _cat(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    pages = {
        "/proc/meminfo": _meminfo,
        "/proc/uptime": lambda w, h: f"{w.state.at - h.boot_at:.2f} {w.state.at - h.boot_at:.2f}",
        "/proc/loadavg": _loadavg,
    }
    if unknown := [word for word in words if word not in pages]:
        return 1, f"cat: {unknown[0]}: No such file or directory"
    return 0, "\n".join(pages[word](world, host) for word in words)


def _meminfo(world: SimulatedWorld, host: Host) -> str:
    total, available = host.spec.memory_bytes / _KIB, host.memory_available_bytes / _KIB
    return (
        f"MemTotal:       {total:.0f} kB\nMemFree:        {0.4 * available:.0f} kB\n"
        f"MemAvailable:   {available:.0f} kB\nSwapTotal:      0 kB\nSwapFree:       0 kB"
    )


def _loadavg(world: SimulatedWorld, host: Host) -> str:
    load = host.cpu_demand * host.spec.cores
    return f"{load:.2f} {load:.2f} {load:.2f} {max(1, int(load))}/420 31337"


def _ps(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    rows = [_ps_row(world, host, i) for i in world.state.on_host(host.spec.name) if i.is_up]
    column = 2 if "--sort=-pcpu" in words else 4
    rows.sort(key=lambda row: -float(row[column]))
    header = "    PID USER                 %CPU %MEM   RSS ELAPSED COMMAND"
    return 0, "\n".join([header, *(" ".join(row) for row in rows)])


def _ps_row(world: SimulatedWorld, host: Host, instance: Instance) -> tuple[str, ...]:
    cores = instance.rate * instance.spec.cpu_s + instance.process.spin_cores
    rss = instance.rss_bytes
    started = instance.process.started_at
    return (
        str(_pid(started, instance.spec.name)),
        instance.spec.name,
        f"{100 * cores:.1f}",
        f"{100 * rss / host.spec.memory_bytes:.1f}",
        f"{rss / _KIB:.0f}",
        f"{max(0.0, world.state.at - started):.0f}",
        instance.spec.unit.partition(".")[0],
    )


def _ss(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    open_now = sum(
        int(2 * i.workers_busy + i.pool_in_use) + 20 for i in world.state.on_host(host.spec.name)
    )
    return 0, f"Total: {open_now + 40}\nTCP:   {open_now} (estab {open_now - 8}, closed 0)"


def _journalctl(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    count = next((int(w.partition("=")[2]) for w in words if w.startswith("--lines=")), 200)
    unit = next((w.partition("=")[2] for w in words if w.startswith("--unit=")), None)
    now = world.clock.now()
    window = TimeWindow(start=now - _LOG_WINDOW, end=now + timedelta(seconds=1))
    lines, _ = world.logs.lines(
        LogQuery(window=window, hosts=(host.spec.name,), minimum_level=LogLevel.INFO, limit=20_000)
    )
    services = {i.spec.unit: i.spec.name for i in world.state.on_host(host.spec.name)}
    wanted = None if "--dmesg" in words else services.get(unit or "", "")
    chosen = [line for line in lines if line.service == wanted][-count:]
    source = "kernel" if wanted is None else (unit or "").partition(".")[0]
    return 0, "\n".join(
        f"{line.at:%Y-%m-%dT%H:%M:%S+0000} {host.spec.name} {source}: {line.message}"
        for line in chosen
    )


def _openssl(world: SimulatedWorld, host: Host, words: list[str]) -> Answer:
    if words[-1:] != list(host.spec.certificate_paths[:1]):
        return 1, "Could not open file or uri for loading certificate"
    end = utc(world.state.certificate_expires_at)
    return 0, (
        f"subject=CN = {world.shop.domain}\nnotBefore={_openssl_date(end - timedelta(days=90))}\n"
        f"notAfter={_openssl_date(end)}"
    )


def _openssl_date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%b %e %H:%M:%S %Y} GMT"


_PROGRAMS: dict[str, Callable[[SimulatedWorld, Host, list[str]], Answer]] = {
    "systemctl": _systemctl,
    "df": _df,
    "find": _find,
    "du": _du,
    "cat": _cat,
    "ps": _ps,
    "ss": _ss,
    "journalctl": _journalctl,
    "openssl": _openssl,
}
