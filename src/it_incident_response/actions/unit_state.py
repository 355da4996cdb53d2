"""What `systemctl show` says about a unit, and whether it was started anew."""

from collections.abc import Mapping

PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,InvocationID,"
    "ActiveEnterTimestampMonotonic,ActiveEnterTimestamp,ExecMainStatus,UnitFileState,Type"
)
"""Properties of `org.freedesktop.systemd1`; an unknown one is left out by systemctl."""

_STILL_CHANGING = frozenset(
    {"activating", "deactivating", "reloading", "refreshing", "maintenance"}
)


def show_command(unit: str) -> tuple[str, ...]:
    """Return the read-only command that prints the unit's state as `Name=value` lines."""
    return ("systemctl", "show", "--no-pager", f"--property={PROPERTIES}", "--", unit)


def parse_properties(output: str) -> Mapping[str, str]:
    """Return the `Name=value` lines of `systemctl show`; other lines are skipped."""
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator and name}


def was_started_anew(after: Mapping[str, str], before: Mapping[str, str] | None) -> bool | None:
    """Say whether the unit has begun another invocation since `before`; None: cannot be told.

    systemd gives each start of a unit a new 128-bit InvocationID (systemd.exec(5), since 232), so
    no clock is compared: a target's may be wrong. Older ones: main process or the monotonic time
    of activation.
    """
    if before is None:
        return None
    for name in ("InvocationID", "MainPID", "ActiveEnterTimestampMonotonic"):
        new, old = after.get(name, ""), before.get(name, "")
        if new not in ("", "0"):
            return new != old
    return None


def is_still_changing(state: Mapping[str, str]) -> bool:
    """True while systemd is still starting or stopping the unit."""
    return state.get("ActiveState", "") in _STILL_CHANGING


def describe_state(unit: str, state: Mapping[str, str]) -> str:
    """Return one sentence about the unit's state, for a human."""
    if state.get("LoadState") == "not-found":
        return f"{unit} does not exist there"
    active = state.get("ActiveState", "in an unknown state")
    detail = f" ({state['SubState']})" if state.get("SubState") else ""
    since = state.get("ActiveEnterTimestamp", "")
    tail = f" since {since}" if since and active == "active" else ""
    restarts = state.get("NRestarts", "0")
    times = (
        f"; systemd restarted it {restarts} times by itself" if restarts not in ("", "0") else ""
    )
    return f"{unit} is {active}{detail}{tail}{times}"
