"""DetectionAgent.poll: catching up with a source, and not believing that silence means recovery."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.analysis.correlation import CorrelationSettings
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.integrations import parse_alerts
from it_incident_response.ports import ConditionReading, IncidentFilter
from it_incident_response.simulation import VirtualClock
from it_incident_response.storage import open_store


class Source:
    """An alert source whose list and conditions the test sets."""

    def __init__(self):
        self.firing = []
        self.holds = {}

    async def firing_alerts(self):
        return self.firing

    async def condition(self, alert):
        answer = self.holds.get(alert.name)
        if isinstance(answer, Exception):
            raise answer
        return ConditionReading(holds=answer, query="q")


@asynccontextmanager
async def opened(path) -> AsyncIterator:
    clock = VirtualClock()
    store = open_store(f"sqlite:///{path / 'iir.db'}", clock=clock)
    await store.open()
    try:
        readers = {"alerts": parse_alerts, "broken": _broken}
        settings = CorrelationSettings()
        agent = DetectionAgent(store, readers, clock, inventory=Inventory(), settings=settings)
        yield agent, store, clock
    finally:
        await store.close()


def _broken(body, received_at):
    raise ZeroDivisionError("a bug in a reader")


def alert(name, clock):
    text = f'[{{"labels": {{"alertname": "{name}", "instance": "{name}"}}}}]'
    return parse_alerts(text.encode(), clock.now())[0]


async def firing(store):
    return sorted(k.alert.name for k in await store.alerts(firing_only=True, limit=100))


async def test_what_fires_is_taken_in_once(tmp_path):
    async with opened(tmp_path) as (agent, store, clock):
        source = Source()
        source.firing = [alert("a", clock), alert("b", clock)]
        assert await agent.poll(source, source) == 2
        assert await agent.poll(source, source) == 0
        assert await firing(store) == ["a", "b"]


@pytest.mark.parametrize(("holds", "left"), [(False, []), (True, ["a"]), (None, ["a"])])
async def test_what_vanished_is_over_only_if_its_expression_says_so(tmp_path, holds, left):
    async with opened(tmp_path) as (agent, store, clock):
        source = Source()
        source.firing = [alert("a", clock)]
        await agent.poll(source, source)
        source.firing, source.holds = [], {"a": holds}
        clock.advance(60)
        await agent.poll(source, source)
        assert await firing(store) == left


async def test_without_a_condition_source_nothing_is_taken_as_over(tmp_path):
    async with opened(tmp_path) as (agent, store, clock):
        source = Source()
        source.firing = [alert("a", clock)]
        await agent.poll(source, None)
        source.firing = []
        assert await agent.poll(source, None) == 0
        assert await firing(store) == ["a"]


async def test_new_alerts_come_in_though_conditions_cannot_be_asked(tmp_path):
    async with opened(tmp_path) as (agent, store, clock):
        source = Source()
        source.firing = [alert("a", clock)]
        await agent.poll(source, source)
        source.firing = [alert("b", clock)]
        source.holds = {"a": ConnectorUnavailable("prometheus", "down")}
        with pytest.raises(ConnectorUnavailable):
            await agent.poll(source, source)
        assert await firing(store) == ["a", "b"]


async def test_a_body_that_no_reader_can_handle_is_set_aside_and_blocks_nobody(tmp_path):
    async with opened(tmp_path) as (agent, store, clock):
        good = b'[{"labels": {"alertname": "c"}}]'
        bodies = [("broken", b"x"), ("unknown", b"y"), ("alerts", b"{"), ("alerts", good)]
        await store.accept(bodies, clock.now())
        while await agent.ingest() is not None:
            continue
        assert await firing(store) == ["c"]
        assert await store.inbox_depth() == 0
        rejected = await store.rejected_items()
        assert {item.source for item in rejected} == {"broken", "unknown", "alerts"}
        assert len(await store.incidents(IncidentFilter())) == 1


async def test_two_agents_at_once_open_one_incident(tmp_path):
    async with (
        opened(tmp_path) as (one, store, clock),
        opened(tmp_path) as (two, _, _),
    ):
        same = [alert("a", clock)]
        await asyncio.gather(one.absorb(same), two.absorb(same))
        assert len(await store.incidents(IncidentFilter())) == 1
