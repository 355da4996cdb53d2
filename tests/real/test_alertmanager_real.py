"""Our Alertmanager connector against a real Alertmanager, and its webhooks as it sends them."""

import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.errors import ConnectorRejected
from it_incident_response.integrations import AlertmanagerClient, parse_webhook
from it_incident_response.integrations.alert_json import read_webhook
from it_incident_response.integrations.alertmanager_client import AlertmanagerSettings
from it_incident_response.integrations.promql.escaping import exact_regex
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import Matcher
from tests.real.stack.alertmanager import Alertmanager
from tests.real.stack.waiting import Eventually, WaitUntil

HOSTILE = 'x"} or vector(1) # \\ \n \u202e $(reboot) é😀'
LABEL_SETS = [
    {"alertname": "Plain", "instance": "web-1:9100", "job": "node"},
    {"alertname": "Hostile", "instance": HOSTILE},
    {"alertname": "Long", "text": "x" * 100_000},
    {"alertname": "Many", **{f"label_{n}": str(n) for n in range(60)}},
    {"alertname": "Ümläut", "a": "日本語"},
]


class Receiver:
    """Keeps the bodies of the webhooks it is sent."""

    def __init__(self) -> None:
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def alerts(self):
        now = datetime.now(UTC)
        return [alert for body in list(self.bodies) for alert in parse_webhook(body, now)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
async def client(alertmanager: Alertmanager) -> AsyncIterator[AlertmanagerClient]:
    settings = AlertmanagerSettings(url=alertmanager.url)
    async with AlertmanagerClient(settings, Surroundings()) as client:
        yield client


async def test_check_says_the_version(client):
    health = await client.check()
    assert health.version
    assert health.detail == "cluster disabled"


@pytest.mark.parametrize("labels", LABEL_SETS, ids=lambda labels: labels["alertname"])
async def test_pulled_alerts_have_alertmanagers_own_fingerprints(client, alertmanager, labels):
    alertmanager.post_alert(labels, annotations={"summary": HOSTILE})
    theirs = {item["labels"]["alertname"]: item for item in alertmanager.alerts()}
    ours = {alert.name: alert for alert in await client.firing_alerts()}
    name = labels["alertname"]
    assert ours[name].fingerprint == theirs[name]["fingerprint"]
    assert dict(ours[name].labels) == labels
    assert ours[name].annotations["summary"] == HOSTILE
    assert ours[name].is_firing
    assert ours[name].ends_at is None


def test_webhooks_bring_the_same_fingerprints_and_the_end(
    start_alertmanager, receiver: Receiver, wait_until: WaitUntil
):
    server = start_alertmanager(webhook_url=receiver.url)
    for labels in LABEL_SETS:
        server.post_alert(labels)
    wait_until(lambda: len(receiver.alerts()) >= len(LABEL_SETS), 15, "all webhooks")
    theirs = {item["fingerprint"] for item in server.alerts()}
    assert {alert.fingerprint for alert in receiver.alerts()} == theirs
    server.post_alert(LABEL_SETS[0], ends_at=datetime.now(UTC) - timedelta(seconds=1))

    def resolved():
        return [alert for alert in receiver.alerts() if alert.status is AlertStatus.RESOLVED]

    wait_until(resolved, 15, "the webhook of the end")
    (end,) = resolved()
    assert end.name == "Plain"
    assert end.ends_at is not None
    (begin,) = [a for a in receiver.alerts() if a.name == "Plain" and a.is_firing]
    assert end.fingerprint == begin.fingerprint


def test_truncated_groups_say_how_many_are_missing(
    start_alertmanager, receiver: Receiver, wait_until: WaitUntil
):
    server = start_alertmanager(webhook_url=receiver.url, max_alerts=2, group_by=("alertname",))
    for number in range(5):
        server.post_alert({"alertname": "Group", "instance": str(number)})

    def truncated():
        return [
            webhook
            for body in list(receiver.bodies)
            if (webhook := read_webhook(body, datetime.now(UTC))).truncated_alerts
        ]

    wait_until(lambda: any(w.truncated_alerts == 3 for w in truncated()), 15, "a truncated webhook")
    assert all(len(webhook.alerts) == 2 for webhook in truncated())


async def test_a_silence_mutes_and_its_end_unmutes(
    client, alertmanager: Alertmanager, eventually: Eventually
):
    labels = {"alertname": "Muted", "instance": HOSTILE}
    alertmanager.post_alert(labels)
    until = datetime.now(UTC) + timedelta(hours=1)
    silence_id = await client.silence(
        [
            Matcher(name="alertname", value="Muted"),
            Matcher(name="instance", value=exact_regex(HOSTILE), is_regex=True),
            Matcher(name="team", value="other", is_equal=False),
        ],
        until=until,
        author="ops",
        comment=HOSTILE,
    )

    async def is_muted():
        return "Muted" not in {alert.name for alert in await client.firing_alerts()}

    await eventually(is_muted, 10, "the alert to be muted")
    (ours,) = [silence for silence in await client.silences() if silence.id == silence_id]
    assert ours.state == "active"
    assert abs((ours.ends_at - until).total_seconds()) < 1
    assert ours.comment == HOSTILE
    assert ours.matchers[2].is_equal is False
    await client.expire_silence(silence_id)

    async def is_heard():
        return not await is_muted()

    await eventually(is_heard, 10, "the alert to be heard again")
    assert silence_id not in {silence.id for silence in await client.silences()}


async def test_a_quoted_silence_mutes_nothing_else(client, alertmanager: Alertmanager):
    alertmanager.post_alert({"alertname": "Other", "instance": "abc"})
    silence_id = await client.silence(
        [Matcher(name="instance", value=exact_regex("a.c"), is_regex=True)],
        until=datetime.now(UTC) + timedelta(hours=1),
        author="ops",
        comment="",
    )
    assert "Other" in {alert.name for alert in await client.firing_alerts()}
    await client.expire_silence(silence_id)


@pytest.mark.parametrize(
    "silence_id", ["nope", "00000000-0000-0000-0000-000000000000", "../alerts"]
)
async def test_a_silence_that_does_not_exist_cannot_be_ended(client, silence_id):
    with pytest.raises(ConnectorRejected):
        await client.expire_silence(silence_id)


async def test_a_silence_without_matchers_is_refused_by_alertmanager(client):
    with pytest.raises(ConnectorRejected, match="matchers"):
        await client.silence([], until=datetime.now(UTC), author="ops", comment="all")
