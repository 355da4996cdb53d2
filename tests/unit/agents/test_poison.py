"""One body that cannot be handled must not keep those behind it waiting for ever."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import StoreUnavailable
from it_incident_response.integrations import parse_alerts
from it_incident_response.ports.store import IncidentFilter
from it_incident_response.storage import open_store
from it_incident_response.storage.store import SqlStore
from tests.contracts.store_fixtures import NOW, FixedClock


def _reader(body: bytes, received_at: datetime) -> Sequence[Alert]:
    if body == b"poison":
        raise ZeroDivisionError("hostile text")
    if body == b"outage":
        raise StoreUnavailable("the database is away")
    return parse_alerts(body, received_at)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'iir.db'}", clock=FixedClock())
    await opened.open()
    yield opened
    await opened.close()


def _agent(store: SqlStore) -> DetectionAgent:
    return DetectionAgent(
        store,
        {"alerts": _reader},
        FixedClock(),
        inventory=Inventory(),
        settings=CorrelationSettings(),
    )


def _body(service: str) -> bytes:
    return b'[{"labels": {"alertname": "Down", "service": "%s"}}]' % service.encode()


async def test_a_poisonous_body_is_set_aside_and_its_neighbours_are_handled(
    store: SqlStore,
) -> None:
    bodies = [_body("one"), b"poison", _body("two")]
    await store.accept([("alerts", body) for body in bodies], NOW)
    agent = _agent(store)
    while await agent.ingest() is not None:
        continue
    titles = [incident.title for incident in await store.incidents(IncidentFilter())]
    assert len(titles) == 2
    (aside,) = await store.rejected_items()
    assert aside.body == b"poison"
    assert aside.reason == "ZeroDivisionError: unexpected error"


async def test_an_outage_sets_nothing_aside(store: SqlStore) -> None:
    await store.accept([("alerts", b"outage")], NOW)
    with pytest.raises(StoreUnavailable):
        await _agent(store).ingest()
    assert await store.inbox_depth() == 1
    assert await store.rejected_items() == []
