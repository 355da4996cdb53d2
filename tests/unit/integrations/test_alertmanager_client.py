"""The Alertmanager connector against a scripted server."""

import json
from datetime import timedelta

import httpx
import pytest

from it_incident_response.errors import (
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations.alertmanager_client import (
    AlertmanagerClient,
    AlertmanagerSettings,
)
from it_incident_response.ports.sources import Matcher
from tests.unit.integrations.support import NOW, URL, FakeServer, surroundings


def client(server: FakeServer) -> AlertmanagerClient:
    return AlertmanagerClient(AlertmanagerSettings(url=URL), surroundings(server))


async def silenced(server: FakeServer) -> str:
    return await client(server).silence(
        [Matcher(name="alertname", value="A"), Matcher(name="b", value="c.*", is_regex=True)],
        until=NOW + timedelta(hours=1),
        author="ops",
        comment="why",
    )


async def test_a_silence_starts_now_and_says_who_and_why():
    server = FakeServer(httpx.Response(200, json={"silenceID": "s-1"}))
    assert await silenced(server) == "s-1"
    assert server.paths == ["POST /api/v2/silences"]
    assert json.loads(server.requests[0].content) == {
        "matchers": [
            {"name": "alertname", "value": "A", "isRegex": False, "isEqual": True},
            {"name": "b", "value": "c.*", "isRegex": True, "isEqual": True},
        ],
        "startsAt": "2026-11-23T10:00:00+00:00",
        "endsAt": "2026-11-23T11:00:00+00:00",
        "createdBy": "ops",
        "comment": "why",
    }


async def test_a_silence_is_never_made_twice():
    server = FakeServer(lambda _: httpx.Response(503))
    with pytest.raises(ConnectorUnavailable):
        await silenced(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'{"silenceID": ""}', b'{"silenceID": 7}'])
async def test_a_silence_without_an_id_is_no_silence(body):
    with pytest.raises(ConnectorReplyInvalid):
        await silenced(FakeServer(httpx.Response(200, content=body)))


async def test_the_words_of_a_refusal_are_shown():
    answer = httpx.Response(400, json="silence invalid: end time must not be in the past")
    with pytest.raises(ConnectorRejected, match="end time must not be in the past"):
        await silenced(FakeServer(answer))


async def test_an_unknown_silence_is_not_deleted():
    server = FakeServer(httpx.Response(404))
    with pytest.raises(ConnectorRejected):
        await client(server).expire_silence("a/../b")
    assert server.paths == ["GET /api/v2/silence/a%2F..%2Fb"]


async def test_suppressed_alerts_are_left_out_even_if_they_are_sent():
    def item(state: str) -> dict:
        return {
            "labels": {"alertname": state},
            "startsAt": "2026-11-23T09:00:00Z",
            "endsAt": "2026-11-23T10:04:00Z",
            "status": {"state": state},
        }

    answer = [item("active"), item("suppressed"), item("unprocessed")]
    server = FakeServer(httpx.Response(200, json=answer))
    alerts = await client(server).firing_alerts()
    assert [alert.name for alert in alerts] == ["active", "unprocessed"]
    assert all(alert.is_firing and alert.ends_at is None for alert in alerts)


async def test_a_wrong_alert_is_named():
    server = FakeServer(httpx.Response(200, json=[{"labels": {"a": 1}, "status": {}}]))
    with pytest.raises(ConnectorReplyInvalid, match=r"alerts\[0\]: labels\.a"):
        await client(server).firing_alerts()
