"""DetectionAgent: turns what monitoring says into incidents, exactly once."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

from it_incident_response.analysis.correlation import CorrelationSettings, correlate
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.ids import incident_key
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import (
    Conflict,
    IncidentResponseError,
    InputRejected,
    StoreUnavailable,
)
from it_incident_response.ports import (
    AlertSource,
    Clock,
    ConditionSource,
    IncidentStore,
    Ingestion,
    IngestOutcome,
    KnownAlert,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Reader = Callable[[bytes, datetime], Sequence[Alert]]

INGEST_BATCH = 500
"""Inbox bodies read in one exclusive transaction; the store bounds their bytes, so the alerts."""

AT_ONCE_BYTES = 16_000
AT_ONCE_VALUES = 30
"""More than these are handled in a thread, so that requests are answered meanwhile."""
ENRICHED_MAX = 4096

CONDITIONS_AT_ONCE = 8


class DetectionAgent:
    """Reads the inbox and the alert source, deduplicates, correlates, opens incidents."""

    def __init__(
        self,
        store: IncidentStore,
        readers: Mapping[str, Reader],
        clock: Clock,
        *,
        inventory: Inventory,
        settings: CorrelationSettings,
        topology: Callable[[], Topology] | None = None,
    ) -> None:
        """`topology` gives the graph as now known; None: what the inventory says."""
        self._store = store
        self._readers = readers
        self._clock = clock
        self._enrich = lru_cache(maxsize=ENRICHED_MAX)(inventory.enrich)
        written = Topology.from_inventory(inventory)
        self._topology = topology if topology is not None else lambda: written
        self._settings = settings

    async def ingest(self, limit: int = INGEST_BATCH) -> IngestOutcome | None:
        """Handle at most `limit` waiting bodies; None if there was nothing to handle.

        A body that cannot be handled, though its reader took it, is set aside: the ones behind it
        must not wait for ever.
        """
        try:
            return await self._ingest(limit)
        except _Indigestible as failure:
            log.error("bodies from the inbox cannot be handled together: %s", failure)
        try:
            return await self._ingest(1)
        except _Indigestible as failure:
            log.error("body %d is set aside: %s", failure.item_id, failure, exc_info=failure)
            return await self._set_aside(failure)

    async def _ingest(self, limit: int) -> IngestOutcome | None:
        async with self._store.ingestion(limit) as ingestion:
            if not ingestion.items:
                return None
            try:
                is_long = sum(len(item.body) for item in ingestion.items) > AT_ONCE_BYTES
                alerts, rejected = await _beside(self._read, ingestion, in_thread=is_long)
                outcome = await self._correlate(ingestion, alerts)
                outcome = outcome.model_copy(update={"rejected": rejected})
                await ingestion.commit(outcome)
            except (StoreUnavailable, Conflict):
                raise
            except Exception as error:  # workflow step boundary: what it was is logged above
                raise _Indigestible(ingestion.items[0].id, error) from error
            return outcome

    async def _set_aside(self, failure: "_Indigestible") -> IngestOutcome:
        async with self._store.ingestion(1) as ingestion:
            which = [item.id for item in ingestion.items if item.id == failure.item_id]
            if not which:  # Another worker had it meanwhile, with more luck.
                return IngestOutcome()
            outcome = IngestOutcome(rejected=((failure.item_id, str(failure)),))
            await ingestion.commit(outcome)
            return outcome

    async def absorb(self, alerts: Sequence[Alert]) -> IngestOutcome:
        """Handle alerts that were pulled rather than posted."""
        async with self._store.ingestion(0) as ingestion:
            outcome = await self._correlate(ingestion, alerts)
            await ingestion.commit(outcome)
            return outcome

    async def poll(self, source: AlertSource, conditions: ConditionSource | None) -> int:
        """Catch up with `source`: take in what fires, and what ceased to fire unnoticed.

        An alert that the source no longer lists is taken as resolved only when its own expression
        is false now: silenced and inhibited alerts vanish from the list as well.
        """
        firing = await source.firing_alerts()
        listed = {alert.fingerprint for alert in firing}
        stored = await self._store.alerts(firing_only=True, limit=5000)
        fresh = await self._unseen(firing, stored)
        if fresh:  # first, in case nobody can tell what became of the others
            await self.absorb(fresh)
        missing = [k.alert for k in stored if k.alert.fingerprint not in listed]
        resolved = await self._ceased(missing, conditions) if conditions else []
        if resolved:
            await self.absorb(resolved)
        return len(fresh) + len(resolved)

    async def _unseen(self, firing: Sequence[Alert], stored: Sequence[KnownAlert]) -> list[Alert]:
        started = {k.alert.fingerprint: k.alert.starts_at for k in stored}
        return [a for a in firing if started.get(a.fingerprint) != a.starts_at]

    async def _ceased(self, missing: Sequence[Alert], conditions: ConditionSource) -> list[Alert]:
        gate = asyncio.Semaphore(CONDITIONS_AT_ONCE)

        async def ceased(alert: Alert) -> bool:
            async with gate:
                return (await conditions.condition(alert)).holds is False

        verdicts = await asyncio.gather(*(ceased(alert) for alert in missing))
        now = self._clock.now()
        return [
            alert.model_copy(
                update={"status": AlertStatus.RESOLVED, "ends_at": now, "received_at": now}
            )
            for alert, is_over in zip(missing, verdicts, strict=True)
            if is_over
        ]

    def _read(self, ingestion: Ingestion) -> tuple[list[Alert], tuple[tuple[int, str], ...]]:
        alerts: list[Alert] = []
        rejected: list[tuple[int, str]] = []
        for item in ingestion.items:
            reader = self._readers.get(item.source)
            if reader is None:
                rejected.append((item.id, f"no reader for source {item.source!r}"))
                continue
            try:
                alerts += reader(item.body, item.received_at)
            except InputRejected as error:
                rejected.append((item.id, error.message))
        return alerts, tuple(rejected)

    async def _correlate(self, ingestion: Ingestion, alerts: Sequence[Alert]) -> IngestOutcome:
        now = self._clock.now()
        known = await ingestion.known_alerts(sorted({alert.fingerprint for alert in alerts}))
        since = now - timedelta(seconds=self._settings.reopen_window_s)
        candidates = await ingestion.candidates(since)
        given = (alerts, known, candidates, now)
        is_long = len(alerts) + len(candidates) > AT_ONCE_VALUES
        outcome = await _beside(self._sorted, *given, in_thread=is_long)
        incidents = [await self._with_key(incident, ingestion) for incident in outcome.incidents]
        return outcome.model_copy(update={"incidents": tuple(incidents)})

    def _sorted(
        self,
        alerts: Sequence[Alert],
        known: Mapping[str, KnownAlert],
        candidates: Sequence[Incident],
        now: datetime,
    ) -> IngestOutcome:
        located = [self._located(alert) for alert in alerts]
        return correlate(located, known, candidates, self._topology(), self._settings, now)

    def _located(self, alert: Alert) -> Alert:
        entities = self._enrich(alert.entities)
        if entities == alert.entities:
            return alert
        return alert.model_copy(update={"entities": entities})

    async def _with_key(self, incident: Incident, ingestion: Ingestion) -> Incident:
        if incident.key:
            return incident
        number = await ingestion.next_incident_number()
        return incident.model_copy(update={"key": incident_key(number)})


async def _beside(work: Callable[..., T], *args: Any, in_thread: bool) -> T:
    """Return what `work` returns; in a thread, beside the event loop, if that is wanted."""
    return await asyncio.to_thread(work, *args) if in_thread else work(*args)


class _Indigestible(Exception):
    """What came from the inbox cannot be handled; `item_id` is the first of it."""

    def __init__(self, item_id: int, cause: Exception) -> None:
        # Only our own messages are free of what a sender wrote.
        said = cause.message if isinstance(cause, IncidentResponseError) else "unexpected error"
        super().__init__(f"{type(cause).__name__}: {said}")
        self.item_id = item_id
