"""Puts the parts together as the settings say; opened, it is a `Runtime`."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property

from pydantic import BaseModel, SecretStr

from it_incident_response.actions import RunDiagnosticCommand, parse_action
from it_incident_response.agents.detection_agent import DetectionAgent, Reader
from it_incident_response.agents.diagnostic_agent import DiagnosticAgent
from it_incident_response.agents.gathering import (
    Gatherer,
    GatherSettings,
    KnownTopology,
    Sources,
)
from it_incident_response.agents.log_detection_agent import LogDetector
from it_incident_response.agents.own_actions import OwnActions, ToldChanges
from it_incident_response.agents.resolution_agent import ResolutionAgent
from it_incident_response.agents.verification import VerificationSettings, Verifier
from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.analysis.rules_engine import RulesEngine
from it_incident_response.config import Settings
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.topology import Topology
from it_incident_response.integrations import parse_alerts, parse_webhook
from it_incident_response.ports import (
    Annotator,
    ChangeSource,
    Clock,
    ConditionSource,
    Silencer,
    Store,
)
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.gate import ActionGate, ExecutionFlags
from it_incident_response.safety.people import ANYBODY
from it_incident_response.safety.policy import Policy
from it_incident_response.safety.redaction import Redactor
from it_incident_response.simulation import SimulatedWorld
from it_incident_response.storage import open_store
from it_incident_response.system.adapters import Adapters, choose_adapters
from it_incident_response.system.conditions import ConditionsByOrigin
from it_incident_response.system.preloading import preload
from it_incident_response.system.views import IncidentView, incident_view
from it_incident_response.workflow.dashboard_marks import DashboardMarks
from it_incident_response.workflow.desk import IncidentDesk
from it_incident_response.workflow.direct import DirectRunner
from it_incident_response.workflow.outbox import Outbox, OutboxSettings
from it_incident_response.workflow.stage_runner import StageRunner
from it_incident_response.workflow.taking_in import Polled, TakingIn, TakingInSettings

log = logging.getLogger(__name__)

READERS: Mapping[str, Reader] = {"alertmanager": parse_webhook, "alerts": parse_alerts}
"""Which function reads a body of which inbox source."""


class NoEarlierClock:
    """A clock that is never earlier than the record: a simulated world may run faster than time."""

    def __init__(self, clock: Clock, floor: datetime | None) -> None:
        self._clock = clock
        self._floor = floor

    def now(self) -> datetime:
        """Return the time of the clock, or of the record if that is later."""
        now = self._clock.now()
        return max(now, self._floor) if self._floor else now

    async def sleep(self, seconds: float) -> None:
        """Sleep on the clock underneath."""
        await self._clock.sleep(seconds)


async def _latest(store: Store) -> datetime | None:
    """Return the latest time that the record is sure to have."""
    times = [approval.requested_at for approval in (await store.approvals())[:1]]
    times += [known.alert.received_at for known in await store.alerts(firing_only=False, limit=1)]
    return max(times, default=None)


class Runtime:
    """Everything, opened and connected to each other; each part is made when first used."""

    def __init__(self, settings: Settings, adapters: Adapters, store: Store) -> None:
        self.settings = settings
        self.adapters = adapters
        self.store = store
        self.readers = READERS

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self.adapters.clock

    @property
    def inventory(self) -> Inventory:
        """Hosts and services that may be acted on."""
        return self.adapters.inventory

    @property
    def silencer(self) -> Silencer | None:
        """What can mute alerts."""
        return self.adapters.silencer

    @property
    def is_world_only(self) -> bool:
        """True if every action takes place in the simulated world."""
        ports = self.settings.ports
        has_world = self.adapters.world is not None or ports.is_all_simulated
        return has_world and ports.execution == "simulated"

    @cached_property
    def topology(self) -> KnownTopology:
        """Who calls whom and what runs where."""
        written = Topology.from_inventory(self.inventory)
        return KnownTopology(written, self.adapters.topologies, self.clock)

    @cached_property
    def policy(self) -> Policy:
        """The policy file's, or the default; in a simulated world anybody may approve high risk."""
        path = self.settings.policy
        if path:
            return Policy.load(path)
        policy = Policy.default()
        if not self.is_world_only:
            return policy
        return policy.model_copy(update={"roles": dict.fromkeys(policy.roles, (ANYBODY,))})

    @cached_property
    def redactor(self) -> Redactor:
        """Takes secrets out of whatever is stored or shown."""
        given = self.settings.redaction
        return Redactor(
            shapes=given.shapes,
            secrets=tuple(_secrets_of(self.settings)),
            emails=given.emails,
            cards=given.cards,
        )

    @cached_property
    def approvals(self) -> ApprovalManager:
        """Who approved what."""
        return ApprovalManager(
            self.settings.resolution.require_approval,
            store=self.store,
            clock=self.clock,
            policy=self.policy,
            inventory=self.inventory,
            timeout_s=self.settings.approval.timeout_s,
        )

    @cached_property
    def gate(self) -> ActionGate:
        """The only way to an executor."""
        switches = self.settings.resolution
        return ActionGate(
            store=self.store,
            clock=self.clock,
            policy=self.policy,
            approvals=self.approvals,
            executors=self.adapters.executors,
            inventory=self.inventory,
            parse=lambda record: parse_action(record, self.inventory),
            flags=ExecutionFlags(
                execute_real=self.is_world_only or switches.execute_real_commands,
                dry_run=switches.dry_run,
            ),
            redactor=self.redactor,
        )

    @cached_property
    def desk(self) -> IncidentDesk:
        """What people do by hand."""
        return IncidentDesk(
            self.store,
            self.clock,
            self.inventory,
            requests=self.approvals,
            policy=self.policy,
        )

    @cached_property
    def detection(self) -> DetectionAgent:
        """From alerts to incidents."""
        given = self.settings.correlation
        settings = CorrelationSettings(
            join_window_s=given.window_s,
            reopen_window_s=given.reopen_window_s,
            flap_changes=given.flapping_changes,
            flap_window_s=given.flapping_window_s,
        )
        return DetectionAgent(
            self.store,
            self.readers,
            self.clock,
            inventory=self.inventory,
            settings=settings,
            topology=lambda: self.topology.now,
        )

    @cached_property
    def log_detector(self) -> LogDetector | None:
        """What raises alerts from logs; None without rules for it."""
        given, logs = self.settings.detection, self.adapters.logs
        if not given.rules or not logs:
            return None
        return LogDetector(
            given.log_rules,
            logs,
            self.store,
            self.clock,
            settings=given.settings,
            redact=self.redactor.redact,
        )

    @cached_property
    def conditions(self) -> ConditionSource | None:
        """What can say whether an alert's condition holds."""
        detector, others = self.log_detector, self.adapters.conditions
        return others if detector is None else ConditionsByOrigin(detector, others)

    @property
    def polled(self) -> Sequence[Polled]:
        """Sources of alerts beside the main one."""
        detector = self.log_detector
        if detector is None:
            return ()
        interval_s = self.settings.detection.interval_s
        return (Polled(detector, detector, interval_s, "looking for trouble in logs"),)

    @cached_property
    def rules(self) -> RulesEngine:
        """The shipped rules and those of `diagnosis.rules_dirs`."""
        engine = RulesEngine.shipped(extra=self.settings.diagnosis.rules_dirs)
        for problem in engine.problems:
            log.warning("a rule is left out: %s", problem)
        return engine

    @cached_property
    def diagnostic(self) -> DiagnosticAgent:
        """From an incident to a diagnosis."""
        adapters, given = self.adapters, self.settings.diagnosis
        can_look = self.settings.ports.execution != "simulated" and self.gate.flags.execute_real
        sources = Sources(
            metrics={"stored": adapters.metrics} if adapters.metrics else {},
            logs=adapters.logs,
            panels=adapters.panels,
            traces=adapters.traces,
            changes=self._changes(),
            look=self._look if can_look else None,
            inventory=self.inventory,
        )
        settings = GatherSettings(window_s=given.window_s, baseline_s=given.baseline_s)
        gatherer = Gatherer(sources, self.clock, settings, self.redactor, self.topology)
        return DiagnosticAgent(self.store, self.clock, gatherer, self.rules)

    def _changes(self) -> Mapping[str, ChangeSource]:
        if self.settings.ports.changes == "none":
            return {}
        told, ours = ToldChanges(self.store), OwnActions(self.store)
        return {**self.adapters.changes, "told": told, "ours": ours}

    @cached_property
    def resolution(self) -> ResolutionAgent:
        """From a diagnosis to a verified fix."""
        given = self.settings.verification
        verifier = Verifier(
            self.store,
            self.clock,
            VerificationSettings(
                soak_s=given.soak_s, timeout_s=given.timeout_s, poll_s=given.poll_s
            ),
            conditions=self.conditions,
            metrics=self.adapters.metrics,
        )
        return ResolutionAgent(
            self.store,
            self.clock,
            self.gate,
            self.approvals,
            verifier,
            inventory=self.inventory,
            executors=self.adapters.executors,
        )

    @cached_property
    def stages(self) -> StageRunner:
        """How each stage is done."""
        return StageRunner(
            self.store,
            self.clock,
            self.diagnostic,
            self.resolution,
            refresh_s=self.settings.diagnosis.refresh_s,
        )

    @cached_property
    def direct(self) -> DirectRunner:
        """Carries incidents in the foreground, without the durable engine."""
        return DirectRunner(
            self.store, self.clock, self.detection, self.stages, name=self._process_name
        )

    @cached_property
    def outbox(self) -> Outbox:
        """Wakes the workflows of incidents that are due."""
        return Outbox(self.store, self.clock, OutboxSettings(name=self._process_name))

    @cached_property
    def taking_in(self) -> TakingIn:
        """Turns what arrives into incidents, in the background."""
        settings = TakingInSettings(poll_s=self.settings.polling.interval_s)
        return TakingIn(self.clock, self.detection, settings, then=self.outbox.tell)

    def dashboard_marks(self, annotator: Annotator) -> DashboardMarks:
        """Return what marks the course of incidents on dashboards."""
        return DashboardMarks(self.store, annotator, self.clock, name=self._process_name)

    @cached_property
    def _process_name(self) -> str:
        # Containers that share a host's name have the same process ids: a name must be unique.
        return f"{socket.gethostname()}:{os.getpid()}:{new_id(self.clock.now())[-8:]}"

    async def _look(self, action: RunDiagnosticCommand, incident_id: IncidentId) -> Execution:
        return await self.gate.run_read_only(action, incident_id=incident_id)

    async def incident_view(self, id_or_key: str) -> IncidentView:
        """Return an incident with everything that belongs to it; raises `NotFound`."""
        return await incident_view(self.store, self.clock, id_or_key)

    async def take_in(self) -> Sequence[Incident]:
        """Turn what waits in the inbox into incidents now; returns those that changed."""
        touched: dict[str, None] = {}
        while (outcome := await self.detection.ingest()) is not None:
            touched.update(dict.fromkeys(incident.id for incident in outcome.incidents))
        return [await self.store.incident(incident_id) for incident_id in touched]

    async def analyze(self, id_or_key: str) -> None:
        """Diagnose an incident afresh, and plan; changes nothing outside."""
        incident = await self.store.incident(id_or_key)
        await self.direct.analyze(incident.id)

    async def preload(self) -> None:
        """Start the guide's five faults in the simulated world and open their incidents."""
        world, source = self.adapters.world, self.adapters.alerts
        if world is not None and source is not None and self.settings.ports.alerts == "simulated":
            await preload(world, source, self.detection, self.inventory)


@asynccontextmanager
async def open_configured(
    settings: Settings, world: SimulatedWorld | None = None
) -> AsyncIterator[Runtime]:
    """Open store and adapters; `world` is where the simulated ports live, if anywhere."""
    adapters = choose_adapters(settings, world)
    store = open_store(settings.database_url.get_secret_value(), clock=adapters.clock)
    try:
        await store.open()
        if world is None and settings.ports.is_all_simulated:
            adapters.clock = NoEarlierClock(adapters.clock, await _latest(store))
        yield Runtime(settings, adapters, store)
    finally:
        await store.close()
        await adapters.aclose()


def _secrets_of(section: BaseModel) -> Iterator[str]:
    """Yield every secret text in the settings, so that none is ever stored or shown."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        parts = value.values() if isinstance(value, Mapping) else (value,)
        for part in parts:
            if isinstance(part, SecretStr) and part.get_secret_value():
                yield part.get_secret_value()
            elif isinstance(part, BaseModel):
                yield from _secrets_of(part)
