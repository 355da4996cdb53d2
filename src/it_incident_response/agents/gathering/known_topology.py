"""The topology as far as it is known: what people wrote, and what systems tell now and then."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from it_incident_response.domain.topology import Topology
from it_incident_response.errors import IncidentResponseError
from it_incident_response.ports import Clock, TopologySource

log = logging.getLogger(__name__)

REFRESH_S = 300.0


class KnownTopology:
    """Unites the written graph with those of the sources; a silent source keeps its last word."""

    def __init__(
        self, written: Topology, sources: Mapping[str, TopologySource], clock: Clock
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._written = written
        self._told: dict[str, Topology] = {}
        self._asked_at: datetime | None = None
        self._lock = asyncio.Lock()
        self.now = written
        """The graph as last known; another object whenever it has changed."""

    async def refreshed(self, budget_s: float) -> Topology:
        """Ask the sources again if their word is older than five minutes; return the graph."""
        async with self._lock:
            if self._sources and self._is_old():
                self._asked_at = self._clock.now()
                names = list(self._sources)
                await asyncio.gather(*(self._ask(name, budget_s) for name in names))
                self._unite()
        return self.now

    def _is_old(self) -> bool:
        age = self._clock.now() - self._asked_at if self._asked_at else None
        return age is None or age > timedelta(seconds=REFRESH_S)

    async def _ask(self, name: str, budget_s: float) -> None:
        try:
            async with asyncio.timeout(budget_s):
                self._told[name] = await self._sources[name].topology()
        except TimeoutError:
            log.warning("%s did not tell its topology within %g s", name, budget_s)
        except IncidentResponseError as error:
            log.warning("%s could not tell its topology: %s", name, error.message)

    def _unite(self) -> None:
        united = self._written
        for told in self._told.values():
            united = united.united(told)
        if united != self.now:
            self.now = united
