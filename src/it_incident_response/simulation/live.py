"""A world that runs in real time, served and with its alerts posted: what `iir simulate` runs."""

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette

from it_incident_response.errors import ConfigError
from it_incident_response.simulation.faults import FAULTS
from it_incident_response.simulation.news import News, NewsItem
from it_incident_response.simulation.physics import TICK_S
from it_incident_response.simulation.ports_adapter import SimulatedSources
from it_incident_response.simulation.webhooks import Notifier
from it_incident_response.simulation.wire import wire_app
from it_incident_response.simulation.world import SimulatedWorld

_WEBHOOK_TIMEOUT_S = 10.0


class LiveWorld:
    """One world with its wire; call `step` about once a tick."""

    def __init__(
        self, world: SimulatedWorld, *, webhook: str | None = None, quiet_s: float | None = None
    ) -> None:
        """Serve and post what becomes of `world`.

        With `quiet_s`, a fault drawn by the seed begins whenever nothing has been wrong for so
        long. Raises `ConfigError` if `webhook` is no http(s) address.
        """
        self.world = world
        self.sources = SimulatedSources(self.world)
        self.app: Starlette = wire_app(self.world, self.sources)
        self._http = httpx.AsyncClient(timeout=_WEBHOOK_TIMEOUT_S)
        self._notifier = self._notifier_to(webhook) if webhook else None
        self._news = News(self.world)
        self._quiet_s = quiet_s
        self._quiet_since = self.world.state.at

    def _notifier_to(self, url: str) -> Notifier:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{url!r} is no address to post webhooks to",
                hint="write it like http://127.0.0.1:9095/webhooks/alertmanager",
            )
        return Notifier(self.world, self.sources, url, self._http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def step(self) -> list[NewsItem]:
        """Bring the world up to date, begin a random fault if one is due, post and return news."""
        self.world.catch_up()
        self._disturb()
        items = self._news.latest()
        if self._notifier is not None:
            for name in await self._notifier.notify():
                detail = f"{self._notifier.url} did not take it; it is sent again"
                items.append(NewsItem(self.world.clock.now(), "webhook_failed", name, detail))
        return items

    async def pause(self) -> None:
        """Wait for the next tick."""
        await self.world.clock.sleep(TICK_S)

    def _disturb(self) -> None:
        at = self.world.state.at
        is_calm = all(i.ended_at is not None for i in self.world.incidents)
        if not is_calm or self.world.firing():
            self._quiet_since = at
        elif self._quiet_s is not None and at - self._quiet_since >= self._quiet_s:
            kinds = sorted(FAULTS)
            # The number of faults so far is the only other input: the same seed, the same order.
            number = len(self.world.incidents)
            self.world.inject(kinds[(self.world.seed * 31 + number * 11) % len(kinds)])
