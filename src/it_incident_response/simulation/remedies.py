"""What actions do to the state, by their physics; whether that heals depends on the cause."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from it_incident_response.simulation.log_lines import Burst, LogBook
from it_incident_response.simulation.state import (
    CERTIFICATE_LIFETIME_S,
    DISK_FULL_SHARE,
    Instance,
    Process,
    Service,
    State,
)

ROLLBACK_S = 30.0
"""A rolling change has reached every instance after this long."""
SCALE_S = 45.0
"""New replicas answer after this long."""
RENEWAL_S = 10.0
OLD_FILES_AGE_H = 192
"""All that can be deleted in the world's folders is this old, also what a fault unpacks there."""
_TIMES_OUT_S = 4.0


@dataclass(frozen=True)
class Deed:
    """An action as the world sees it."""

    kind: str
    host: str | None
    target: str
    """Name of the target entity."""
    parameters: Mapping[str, JsonValue]

    def text(self, name: str) -> str | None:
        """Return a parameter if it is text."""
        value = self.parameters.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Effect:
    """How an action ended on the target, at once, and what follows later."""

    succeeded: bool
    output: str = ""
    takes_s: float = 1.0
    later: Callable[[State], None] | None = None
    after_s: float = 0.0


def apply(deed: Deed, state: State, logs: LogBook) -> Effect:
    """Do the action to the world; unknown kinds and targets fail, as a shell would."""
    act = _ACTS.get(deed.kind)
    if act is None:
        return Effect(False, f"{deed.kind}: this world cannot do that")
    return act(deed, state, logs)


def _restart(deed: Deed, state: State, logs: LogBook) -> Effect:
    instance = _instance(deed, state)
    if instance is None:
        return Effect(
            False, f"Failed to restart {deed.text('unit') or deed.target}: unit not found."
        )
    host = state.hosts[instance.host]
    if host.mount(instance.spec.data_mount).used_share >= DISK_FULL_SHARE:
        # A service that cannot write its files does not come back: the restart made it worse.
        instance.is_up = False
        instance.last_exit = "exit-code"
        logs.add(_unit_burst("unit_failed", instance, state, "exit-code"))
        return Effect(
            False,
            f"Job for {instance.spec.unit} failed because the control process exited with "
            f'error code.\nSee "systemctl status {instance.spec.unit}" for details.',
            takes_s=_TIMES_OUT_S,
        )
    restart(instance, state.at)
    if instance.spec.name == state.shop.cache:
        state.cache_cold_share = 1.0
    if instance.spec.name == state.shop.database:
        state.database_cold_share = 1.0
    logs.add(_unit_burst("unit_started", instance, state))
    return Effect(True, takes_s=instance.spec.start_s)


def restart(instance: Instance, at: float) -> None:
    """Replace the process; requests fail while it starts."""
    instance.process = Process(started_at=at)
    instance.is_up = True
    instance.last_exit = ""
    instance.restarts += 1
    instance.outage_s += instance.spec.start_s


def _unit_burst(kind: str, instance: Instance, state: State, result: str = "") -> Burst:
    detail = f"{instance.spec.unit}|{result}" if result else instance.spec.unit
    return Burst(state.at, kind, instance.spec.name, instance.host, 1, detail)


def _instance(deed: Deed, state: State) -> Instance | None:
    unit = deed.text("unit")
    if deed.host is None or deed.host not in state.hosts:
        return None
    if unit is not None:
        return state.by_unit(deed.host, unit)
    return next((i for i in state.on_host(deed.host) if i.spec.name == deed.target), None)


def _clean_disk(deed: Deed, state: State, logs: LogBook) -> Effect:
    host = state.hosts.get(deed.host or "")
    path = deed.text("path")
    if host is None or path is None:
        return Effect(False, "no such host or path")
    if path not in host.spec.cleanable:
        return Effect(False, f"find: '{path}': No such file or directory")
    hours = deed.parameters.get("older_than_hours")
    if isinstance(hours, int) and hours > OLD_FILES_AGE_H:
        return Effect(True, "0", takes_s=1.0)
    mount = host.mount(path)
    freed = min(mount.reclaimable.get(path, 0.0), mount.used_bytes)
    mount.used_bytes -= freed
    mount.reclaimable[path] = 0.0
    if mount.growth_path == path:
        # The job that filled it works on those files; without them it ends.
        mount.growth_bytes_per_s = 0.0
    return Effect(True, f"{freed:.0f}", takes_s=3.0)


def _renew(deed: Deed, state: State, logs: LogBook) -> Effect:
    host = state.hosts.get(deed.host or "")
    if host is None or host.spec.certificate_unit is None:
        return Effect(False, "Unit certbot-renew.service not found.")
    state.renewals += 1
    state.renewed_at = state.at
    if not state.certificate_renewal_works:
        return Effect(False, "certbot: the ACME server refused the challenge", takes_s=8.0)
    entrance = state.services[state.shop.entrance]

    def install(later: State) -> None:
        later.certificate_expires_at = later.at + CERTIFICATE_LIFETIME_S
        logs.add(Burst(later.at, "certificate_renewed", entrance.spec.name, host.spec.name))

    return Effect(True, takes_s=5.0, later=install, after_s=RENEWAL_S)


def _rollback(deed: Deed, state: State, logs: LogBook) -> Effect:
    service = _service(deed, state)
    if service is None:
        return Effect(False, f"error: no such deployment: {deed.target}")
    if len(service.releases) < 2:
        return Effect(False, "error: no rollout history found")

    def install(later: State) -> None:
        if len(service.releases) > 1:
            service.releases.pop()
        for instance in service.instances:
            if instance.is_up:
                # One after the other: the process is new, but no request is lost.
                instance.process = Process(started_at=later.at)

    previous = service.releases[-2].version
    return Effect(True, f"rolled back to {previous}", 2.0, install, ROLLBACK_S)


def _scale(deed: Deed, state: State, logs: LogBook) -> Effect:
    service = _service(deed, state)
    replicas = deed.parameters.get("replicas")
    if service is None or not isinstance(replicas, int) or not 1 <= replicas <= 1000:
        return Effect(False, f"error: cannot scale {deed.target}")

    def install(later: State) -> None:
        service.replicas = replicas

    return Effect(True, f"{service.spec.name} scaled", 1.0, install, SCALE_S)


def _service(deed: Deed, state: State) -> Service | None:
    return state.services.get(deed.text("service") or deed.target)


def _look(deed: Deed, state: State, logs: LogBook) -> Effect:
    return Effect(True, takes_s=0.5)


_ACTS: dict[str, Callable[[Deed, State, LogBook], Effect]] = {
    "restart_service": _restart,
    "clean_disk": _clean_disk,
    "renew_certificate": _renew,
    "rollback_deployment": _rollback,
    "scale_service": _scale,
    "run_diagnostic_command": _look,
}
"""Kind of action to what it does."""
