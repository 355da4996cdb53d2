"""The simulated world: one state behind every port, moved on by its clock."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import InputRejected
from it_incident_response.ports.clock import Clock, utc
from it_incident_response.simulation import physics, remedies
from it_incident_response.simulation.alert_rules import AlertBook, to_alert
from it_incident_response.simulation.clock import VirtualClock
from it_incident_response.simulation.exporters import blocks
from it_incident_response.simulation.faults import FAULTS, Fault, make_fault
from it_incident_response.simulation.history import History
from it_incident_response.simulation.log_lines import Burst, LogBook
from it_incident_response.simulation.shop import SHOP, Shop
from it_incident_response.simulation.signals import groups
from it_incident_response.simulation.state import Process, Release, State, new_state

PAST_S = 2.25 * 3600
"""How much quiet past a world is born with."""
HISTORY_TICKS = 8 * 240
"""Eight hours are kept."""
_DEPLOYS_PER_HOUR = 1.2
_AUTHORS = ("mia", "noor", "sven", "ada", "kwame", "lin")
_CHORES = (
    "update dependencies",
    "translate more texts",
    "log the request id",
    "rename an internal field",
    "add a counter",
    "remove an unused flag",
)

_CHOICES_MAX = 50
"""Draws after which a target to avoid is taken after all."""


@dataclass
class Incident:
    """A fault that was injected, and how it went on: what an evaluation may compare with."""

    fault: Fault
    began_at: float
    ended_at: float | None = None
    """Unix seconds at which its cause was gone; None while it is there."""
    healed_by: str | None = None
    """Kind of the last action before its end; None if it ended by itself."""


@dataclass(order=True)
class _Later:
    at: float
    order: int
    change: Callable[[State], None] = field(compare=False)


class SimulatedWorld:
    """A shop with its monitoring, on a clock; the same seed and calls give the same world.

    The world moves in ticks of 15 s and catches up with its clock whenever it is looked at, so it
    needs no task of its own. It is born with `past_s` of quiet history, whose making takes most of
    the time that it takes to make a world.
    """

    def __init__(
        self,
        seed: int = 7,
        clock: Clock | None = None,
        shop: Shop = SHOP,
        *,
        past_s: float = PAST_S,
    ) -> None:
        self.seed = seed
        self.clock: Clock = clock if clock is not None else VirtualClock()
        self.shop = shop
        self.inventory: Inventory = shop.inventory()
        self.topology = Topology.from_inventory(self.inventory)
        born = self.clock.now().timestamp()
        start = born - born % physics.TICK_S - past_s
        self._noise = np.random.default_rng([seed, 1])
        self._events = np.random.default_rng([seed, 2])
        self._choices = np.random.default_rng([seed, 3])
        self.state = new_state(shop, start, np.random.default_rng([seed, 0]))
        self.history = History(blocks(self.state), HISTORY_TICKS)
        self.alerts = AlertBook(self.history, groups(self.history, shop))
        self.logs = LogBook(seed)
        self.changes: list[Change] = []
        self.incidents: list[Incident] = []
        self.ticks = 0
        self._later: list[_Later] = []
        self._width = physics.noise_width(self.state)
        self._last_deed: str | None = None
        self._is_born = False
        self.catch_up()
        self._is_born = True

    def catch_up(self) -> None:
        """Tick until the world is as late as its clock."""
        now = self.clock.now().timestamp()
        while self.state.at + physics.TICK_S <= now:
            self._tick()

    def _tick(self) -> None:
        self._deploy_something_innocent()
        self._apply_what_is_due()
        was_up = [instance.is_up for instance in self.state.instances]
        physics.tick(self.state, self._noise.standard_normal(self._width).tolist())
        self._note_kills(was_up)
        self.ticks += 1
        self.history.record(self.state.at)
        self.logs.observe(self.state, self.ticks)
        if self._is_born:  # the past is quiet: a test holds that over whole days
            self.alerts.evaluate(self.state.at)
        self._close_incidents()

    def _apply_what_is_due(self) -> None:
        due = [later for later in self._later if later.at <= self.state.at]
        if not due:
            return
        self._later = [later for later in self._later if later.at > self.state.at]
        for later in sorted(due):
            later.change(self.state)

    def _after(self, seconds: float, change: Callable[[State], None]) -> None:
        self._later.append(_Later(self._now() + seconds, len(self._later), change))

    def _now(self) -> float:
        return max(self.state.at, self.clock.now().timestamp())

    def _note_kills(self, was_up: list[bool]) -> None:
        for instance, was in zip(self.state.instances, was_up, strict=True):
            if not was or instance.is_up:
                continue
            kib = int(instance.rss_bytes / 1024)
            name = instance.spec.unit.partition(".")[0]
            at = self.state.at - physics.TICK_S
            self.logs.add(Burst(at, "oom", None, instance.host, 1, f"{name}|{kib}"))
            self._note_end(instance.host, instance.spec.name, "oom-kill", at)

    def _note_end(self, host: str, service: str, result: str, at: float) -> None:
        unit = self.shop.by_name[service].unit
        self.logs.add(Burst(at, "unit_failed", service, host, 1, f"{unit}|{result}"))

    # --- what people do -----------------------------------------------------------------------

    def _deploy_something_innocent(self) -> None:
        chance = _DEPLOYS_PER_HOUR * physics.TICK_S / 3600
        if self._events.random() >= chance:
            return
        names = [s.name for s in self.shop.services if s.has_http_metrics]
        self.deploy(names[int(self._events.integers(len(names)))])

    def deploy(self, name: str) -> None:
        """Let somebody deploy a new, flawless release of a service."""
        service = self.state.services[name]
        if service.release.is_flawed:
            return  # nobody adds to a service that is on fire
        major, minor, patch = service.release.version.split(".")
        version = f"{major}.{minor}.{int(patch) + 1}"
        service.releases.append(Release(version))
        self._note_deploy(name, version, _CHORES[int(self._events.integers(len(_CHORES)))])

    def _note_deploy(self, service: str, version: str, why: str) -> None:
        at = self.state.at
        author = _AUTHORS[int(self._events.integers(len(_AUTHORS)))]
        self.changes.append(
            Change(
                change_id=f"deploy-{service}-{version}",
                what="deploy",
                entity=Entity(EntityKind.SERVICE, service),
                at=utc(at),
                summary=f"{service} {version}: {why}",
                author=author,
            )
        )
        del self.changes[:-2000]

    # --- faults -------------------------------------------------------------------------------

    def inject(self, kind: str) -> Incident:
        """Let something go wrong now; raises `InputRejected` for an unknown kind of fault."""
        return self.begin(self.draw(kind))

    def draw(self, kind: str, *, avoid: Collection[Entity] = ()) -> Fault:
        """Return a fault that has not begun, if possible with none of the targets to `avoid`.

        Raises `InputRejected` for an unknown kind of fault.
        """
        if kind not in FAULTS:
            raise InputRejected(
                f"there is no fault called {kind!r}", hint=f"one of: {', '.join(sorted(FAULTS))}"
            )
        self.catch_up()
        fault = make_fault(kind, self.state, self._choices)
        for _ in range(_CHOICES_MAX):
            if fault.target not in avoid:
                break
            fault = make_fault(kind, self.state, self._choices)
        return fault

    def begin(self, fault: Fault) -> Incident:
        """Let this very fault begin now."""
        up_before = [instance.is_up for instance in self.state.instances]
        releases = {name: s.release.version for name, s in self.state.services.items()}
        fault.begin(self.state)
        for instance, was in zip(self.state.instances, up_before, strict=True):
            if was and not instance.is_up:
                self._note_end(instance.host, instance.spec.name, "signal", self.state.at)
        for name, service in self.state.services.items():
            if service.release.version != releases[name]:
                for instance in service.instances:
                    instance.process = Process(started_at=self.state.at)
                self._note_deploy(name, service.release.version, "rework order totals")
        incident = Incident(fault, self.state.at)
        self.incidents.append(incident)
        if fault.ends_by_itself_after_s is not None:
            self._after(fault.ends_by_itself_after_s, fault.end)
        return incident

    def _close_incidents(self) -> None:
        for incident in self.incidents:
            if incident.ended_at is None and not incident.fault.is_present(self.state):
                incident.ended_at = self.state.at
                incident.healed_by = self._last_deed

    # --- actions ------------------------------------------------------------------------------

    def perform(self, deed: remedies.Deed) -> remedies.Effect:
        """Do an action to the world; it takes no time here, `Effect.takes_s` says how long."""
        self.catch_up()
        effect = remedies.apply(deed, self.state, self.logs)
        if effect.later is not None:
            self._after(effect.after_s, effect.later)
        if effect.succeeded:
            self._last_deed = deed.kind
            self._note_change(deed)
        return effect

    def _note_change(self, deed: remedies.Deed) -> None:
        if deed.kind not in ("rollback_deployment", "scale_service"):
            return
        what = "deploy" if deed.kind == "rollback_deployment" else "scale"
        self.changes.append(
            Change(
                change_id=f"{deed.kind}-{self.ticks}",
                what=what,
                entity=Entity(EntityKind.SERVICE, deed.text("service") or deed.target),
                at=utc(self._now()),
                summary=f"{deed.kind.replace('_', ' ')}: {deed.target}",
            )
        )

    # --- looking ------------------------------------------------------------------------------

    def firing(self) -> list[Alert]:
        """Return the alerts that fire now, silences apart, the longest firing first."""
        self.catch_up()
        now = self.clock.now()
        return [to_alert(standing, now) for standing in self.alerts.firing()]

    def resolved_since(self, moment: datetime) -> list[Alert]:
        """Return the alerts that ceased to fire after `moment`, as resolved ones."""
        self.catch_up()
        now, since = self.clock.now(), moment.timestamp()
        return [to_alert(s, now, ended) for s, ended in self.alerts.ended if ended > since]

    async def run(self, seconds: float) -> None:
        """Let so much time pass on the world's clock."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while (left := (end - self.clock.now()).total_seconds()) > 0:
            await self.clock.sleep(min(left, physics.TICK_S))
            self.catch_up()
