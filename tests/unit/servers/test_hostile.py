"""Whatever is sent, the answer is 4xx or the body is stored; the server never breaks."""

import json

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from it_incident_response.integrations import parse_alerts, parse_webhook
from it_incident_response.servers import Intake, create_app
from tests.unit.servers.conftest import (
    ALERTS,
    CHECKS,
    JSON,
    WEBHOOK,
    FakeInbox,
    FixedClock,
    server_settings,
)

READERS = {"alertmanager": parse_webhook, "alerts": parse_alerts}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
field_names = st.sampled_from(
    ["version", "alerts", "labels", "annotations", "startsAt", "endsAt", "status", "fingerprint",
     "generatorURL", "alertname", "truncatedAlerts", "receiver"]
)  # fmt: skip
almost_alerts = st.fixed_dictionaries(
    {"labels": st.dictionaries(st.text(max_size=10), json_values | st.text(), max_size=4)},
    optional={
        "status": st.sampled_from(["firing", "resolved", "", 1]) | json_values,
        "startsAt": st.text(max_size=30) | json_values,
        "endsAt": st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "x", 5]),
        "annotations": json_values,
        "fingerprint": json_values,
        "generatorURL": st.text(max_size=20),
    },
)
almost_webhooks = st.builds(
    lambda base, alerts, extra: {**base, "alerts": alerts, **extra},
    st.just({"version": "4"}) | st.dictionaries(field_names, json_values, max_size=4),
    st.lists(almost_alerts, max_size=3) | json_values,
    st.dictionaries(field_names, json_values, max_size=2),
)
bodies = (
    st.binary(max_size=300)
    | json_values.map(lambda value: json.dumps(value).encode())
    | almost_webhooks.map(lambda value: json.dumps(value).encode())
    | st.lists(almost_alerts, max_size=3).map(lambda value: json.dumps(value).encode())
    | st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth)
    | st.integers(1, 3000).map(lambda depth: b'{"alerts":' * depth + b"1" + b"}" * depth)
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=bodies, path=st.sampled_from([WEBHOOK, ALERTS]))
async def test_any_body_is_refused_or_stored_and_readable_later(body, path):
    inbox, clock = FakeInbox(), FixedClock()
    async with Intake(inbox, clock) as intake:
        app = create_app(intake, settings=server_settings(), checks=CHECKS)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        ((source, stored),) = inbox.stored
        assert stored == body
        READERS[source](stored, clock.now())  # What was acknowledged can be read again.
    else:
        assert inbox.stored == []
        assert answer.json()["detail"]


@settings(max_examples=60, deadline=None)
@given(
    content_type=st.text(alphabet=st.characters(codec="latin-1", categories=["L", "N", "P"])),
    authorization=st.text(alphabet=st.characters(codec="latin-1", categories=["L", "N", "P"])),
    length=st.text(alphabet="0123456789-+ ex", max_size=20),
)
async def test_any_head_is_answered(content_type, authorization, length):
    inbox, clock = FakeInbox(), FixedClock()
    async with Intake(inbox, clock) as intake:
        app = create_app(
            intake,
            settings=server_settings(authorization={"credentials": "t"}),
            checks=CHECKS,
        )
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"authorization", authorization.encode("latin-1")),
            (b"content-length", length.encode("latin-1")),
            (b"host", b"localhost"),
        ]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post(WEBHOOK, content=b"{}", headers=headers)
    assert 400 <= answer.status_code < 500
    assert inbox.stored == []
