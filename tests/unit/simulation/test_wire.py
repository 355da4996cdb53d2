"""The wire depth: shapes as recorded from the real ones, and our real connectors on top of it."""

import json
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, TimeWindow
from it_incident_response.integrations.alertmanager_client import CONNECTOR as ALERTMANAGER
from it_incident_response.integrations.prometheus_client import CONNECTOR as PROMETHEUS
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import Matcher, MetricRequest
from it_incident_response.simulation import SimulatedSources
from it_incident_response.simulation.wire import wire_app
from tests.unit.simulation.worlds import young_world

RECORDED = Path(__file__).parents[2] / "recorded"
BASE = "http://127.0.0.1:9090"


def broken_world():
    world = young_world(7, past_s=2400)
    world.inject("service_down")
    world.clock.advance(300)
    world.catch_up()
    return world


@pytest.fixture
def world():
    """A world to act in."""
    return broken_world()


@pytest.fixture(scope="module")
def still():
    """A world only to look at: made once."""
    return broken_world()


@pytest.fixture
async def client(still):
    transport = httpx.ASGITransport(wire_app(still))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


def shape(value):
    """Return the shape of JSON: names and types; label names and list lengths do not count."""
    if isinstance(value, dict):
        return {
            key: "labels" if key in ("labels", "annotations", "metric") else shape(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def recorded(path):
    return json.loads((RECORDED / path).read_text("utf-8"))


@pytest.mark.parametrize(
    ("path", "recording"),
    [
        ("/api/v1/alerts", "prometheus/alerts.json"),
        ("/api/v1/query?query=up", "prometheus/query.json"),
        ("/api/v2/alerts", "alertmanager/api_v2_alerts.json"),
    ],
)
async def test_replies_have_the_recorded_shape(client, path, recording):
    reply = await client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert shape(reply.json()) == shape(recorded(recording))


async def test_webhooks_have_the_recorded_shape(still):
    from it_incident_response.simulation.webhooks import payload

    names = {alert.name for alert in still.firing()}
    name = sorted(names)[0]
    firing = payload(name, [alert for alert in still.firing() if alert.name == name])
    wanted = recorded("alertmanager/webhook_firing.json")
    loose = ("groupLabels", "commonLabels", "commonAnnotations")
    for body in (firing, wanted):
        for key in loose:
            assert isinstance(body.pop(key), dict)
    assert shape(firing) == shape(wanted)
    assert firing["alerts"][0]["endsAt"] == wanted["alerts"][0]["endsAt"]


async def test_query_by_get_and_post_agree(client):
    given = {"query": 'sum by (job) (up{job!="node"})'}
    got = (await client.get("/api/v1/query", params=given)).json()
    posted = (await client.post("/api/v1/query", data=given)).json()
    assert got == posted
    assert {item["metric"]["job"] for item in got["data"]["result"]} > {"api", "edge"}


async def test_scalar_and_string_results(client):
    one = (await client.get("/api/v1/query", params={"query": "1 / 3"})).json()["data"]
    assert one["resultType"] == "scalar"
    assert one["result"][1] == "0.3333333333333333"
    text = (await client.get("/api/v1/query", params={"query": '"x"'})).json()["data"]
    assert text == {"resultType": "string", "result": [text["result"][0], "x"]}


async def test_numbers_are_written_without_exponents(client):
    for query, expected in [("1e21", "1" + "0" * 21), ("-1/0", "-Inf"), ("0/0", "NaN")]:
        data = (await client.get("/api/v1/query", params={"query": query})).json()["data"]
        assert data["result"][1] == expected


async def test_query_range_has_a_point_per_step(client, still):
    end = still.clock.now().timestamp()
    given = {"query": "up", "start": end - 600, "end": end, "step": "1m"}
    data = (await client.get("/api/v1/query_range", params=given)).json()["data"]
    assert data["resultType"] == "matrix"
    assert {len(item["values"]) for item in data["result"]} == {11}
    assert {value for item in data["result"] for _, value in item["values"]} == {"0", "1"}


@pytest.mark.parametrize(
    ("path", "params", "status", "kind"),
    [
        ("query", {"query": "sum("}, 400, "bad_data"),
        ("query", {}, 400, "bad_data"),
        ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data"),
        ("query", {"query": "up * on () up"}, 422, "execution"),
        ("query_range", {"query": "up", "start": 0, "end": 9, "step": 0}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": 0, "end": 1e6, "step": 1}, 400, "bad_data"),
        ("query_range", {"query": "up", "end": 9, "step": 1}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("series", {"match[]": "sum(up)"}, 400, "bad_data"),
    ],
)
async def test_bad_requests_are_answered_as_prometheus_does(client, path, params, status, kind):
    reply = await client.get(f"/api/v1/{path}", params=params)
    assert reply.status_code == status
    assert reply.json()["status"] == "error"
    assert reply.json()["errorType"] == kind
    assert reply.json()["error"]


async def test_a_huge_form_is_refused(client):
    reply = await client.post("/api/v1/query", content=b"query=" + b"x" * 2_000_000)
    assert reply.status_code == 400


async def test_labels_and_series(client):
    names = (await client.get("/api/v1/labels")).json()["data"]
    assert {"__name__", "instance", "job", "le", "mode"} <= set(names)
    metrics = (await client.get("/api/v1/label/__name__/values")).json()["data"]
    assert "node_cpu_seconds_total" in metrics
    jobs = await client.get(
        "/api/v1/label/job/values", params={"match[]": 'up{job=~"api|checkout"}'}
    )
    assert jobs.json()["data"] == ["api", "checkout"]
    series = await client.get("/api/v1/series", params={"match[]": 'up{job="api"}'})
    assert {item["instance"] for item in series.json()["data"]} == {"app-1:8081", "app-2:8081"}


async def test_rules_list_their_alerts(client):
    groups = (await client.get("/api/v1/rules", params={"type": "alert"})).json()["data"]["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    down = rules["ServiceDown"]
    assert down["state"] == "firing"
    assert down["query"] == 'up{job!="node"} == 0'
    assert down["alerts"][0]["labels"]["severity"] == "critical"
    assert down["annotations"]["summary"] == (
        "{{ $labels.service }} on {{ $labels.instance }} does not answer"
    )


async def test_ready_and_metrics(client):
    assert (await client.get("/-/ready")).status_code == 200
    text = (await client.get("/metrics")).text
    assert "# TYPE node_cpu_seconds_total counter" in text
    assert "# TYPE http_request_duration_seconds histogram" in text
    assert 'up{instance="db-1:9100",job="node"} 1' in text
    assert text.count("# TYPE up ") == 1
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or len(line.rsplit(" ", 1)) == 2
        assert "NaN" not in line


async def test_alertmanager_filters_and_groups(client):
    alerts = (await client.get("/api/v2/alerts", params={"filter": 'severity="critical"'})).json()
    assert alerts
    assert {alert["labels"]["severity"] for alert in alerts} == {"critical"}
    groups = (await client.get("/api/v2/alerts/groups")).json()
    assert all(
        {a["labels"]["alertname"] for a in g["alerts"]} == {g["labels"]["alertname"]}
        for g in groups
    )
    for bad in ("severity", 'severity=~"("'):
        assert (await client.get("/api/v2/alerts", params={"filter": bad})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"matchers": []}',
        b"\xff",
        b'{"matchers": [{"name": "a"}]}',
        b"9" * 2_000_000,
    ],
)
async def test_bad_silences_are_refused(client, body):
    reply = await client.post("/api/v2/silences", content=body)
    assert reply.status_code == 400


async def test_unknown_silence_is_not_found(client):
    assert (await client.get("/api/v2/silence/nope")).status_code == 404
    assert (await client.delete("/api/v2/silence/nope")).status_code == 404


@pytest.fixture
def surroundings(world):
    transport = httpx.ASGITransport(wire_app(world))
    return Surroundings(clock=world.clock, inventory=world.inventory, transport=transport)


@pytest.fixture
async def prometheus(surroundings):
    built = PROMETHEUS.build(PROMETHEUS.read_settings({"url": BASE}), surroundings)
    yield built
    await built.aclose()


@pytest.fixture
async def alertmanager(surroundings):
    built = ALERTMANAGER.build(ALERTMANAGER.read_settings({"url": BASE}), surroundings)
    yield built
    await built.aclose()


async def test_the_real_connectors_see_the_same_alerts(world, prometheus, alertmanager):
    expected = {alert.fingerprint for alert in world.firing()}
    assert expected
    assert {alert.fingerprint for alert in await prometheus.firing_alerts()} == expected
    assert {alert.fingerprint for alert in await alertmanager.firing_alerts()} == expected
    assert (await prometheus.check()).version
    assert (await alertmanager.check()).version


async def test_the_real_connector_judges_conditions(world, prometheus):
    alert = next(alert for alert in world.firing() if alert.name == "ServiceDown")
    assert (await prometheus.condition(alert)).holds is True
    world.perform(_restart_of(world))
    await world.run(300)
    assert (await prometheus.condition(alert)).holds is False


def _restart_of(world):
    from it_incident_response.simulation.remedies import Deed

    remedy = world.incidents[0].fault.remedy
    return Deed("restart_service", remedy.host, remedy.service, {})


async def test_the_real_connector_reads_the_signals_of_hosts_and_services(world, prometheus):
    now = world.clock.now()
    request = MetricRequest(
        signals=(
            Signal.CPU_USE,
            Signal.MEMORY_USE,
            Signal.DISK_USE,
            Signal.ERROR_RATIO,
            Signal.LATENCY_P95,
            Signal.CONNECTION_POOL_USE,
            Signal.SATURATION,
            Signal.PROCESS_MEMORY,
        ),
        entities=(Entity(EntityKind.HOST, "app-2"), Entity(EntityKind.SERVICE, "checkout")),
        window=TimeWindow(start=now - timedelta(minutes=30), end=now),
    )
    wire = {(s.signal, s.entity): s for s in await prometheus.series(request)}
    ports = {(s.signal, s.entity): s for s in await SimulatedSources(world).series(request)}
    assert set(wire) >= set(ports)
    for key, series in ports.items():
        theirs = sum(wire[key].values) / len(wire[key].values)
        ours = sum(series.values) / len(series.values)
        assert theirs == pytest.approx(ours, rel=0.1, abs=0.01), key


async def test_the_real_connector_silences(world, alertmanager):
    until = world.clock.now() + timedelta(hours=1)
    matchers = [Matcher(name="alertname", value="Service.*", is_regex=True)]
    number = await alertmanager.silence(matchers, until=until, author="noor", comment="known")
    assert [silence.id for silence in await alertmanager.silences()] == [number]
    assert "ServiceDown" not in {alert.name for alert in await alertmanager.firing_alerts()}
    await alertmanager.expire_silence(number)
    assert "ServiceDown" in {alert.name for alert in await alertmanager.firing_alerts()}
