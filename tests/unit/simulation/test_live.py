import json

import httpx
import pytest
from click.testing import CliRunner

from it_incident_response.cli import cli
from it_incident_response.errors import ConfigError
from it_incident_response.integrations.alert_json import parse_webhook
from it_incident_response.simulation import FAULTS, SimulatedSources
from it_incident_response.simulation.live import LiveWorld
from it_incident_response.simulation.remedies import Deed
from it_incident_response.simulation.webhooks import Notifier
from tests.unit.simulation.worlds import young_world


class Receiver:
    """A webhook receiver in memory; refuses while `is_down`."""

    def __init__(self):
        self.bodies = []
        self.is_down = False

    def __call__(self, request):
        if self.is_down:
            raise httpx.ConnectError("refused", request=request)
        self.bodies.append(json.loads(request.content))
        return httpx.Response(200)


@pytest.fixture
async def rig():
    world = young_world()
    receiver = Receiver()
    async with httpx.AsyncClient(transport=httpx.MockTransport(receiver)) as http:
        yield world, receiver, Notifier(world, SimulatedSources(world), "http://x/hook", http)


async def test_webhooks_are_sent_once_and_again_when_resolved(rig):
    world, receiver, notifier = rig
    incident = world.inject("service_down")
    await world.run(120)
    assert await notifier.notify() == []
    assert await notifier.notify() == []
    sent = [alert for body in receiver.bodies for alert in body["alerts"]]
    assert {alert["fingerprint"] for alert in sent} == {a.fingerprint for a in world.firing()}
    receiver.bodies.clear()
    remedy = incident.fault.remedy
    world.perform(Deed("restart_service", remedy.host, remedy.service, {}))
    await world.run(300)
    await notifier.notify()
    ended = [alert for body in receiver.bodies for alert in body["alerts"]]
    assert {a["fingerprint"] for a in ended} >= {a["fingerprint"] for a in sent}
    assert {a["status"] for a in ended} == {"resolved"}
    assert {body["status"] for body in receiver.bodies} == {"resolved"}
    assert all(a["endsAt"] > a["startsAt"] for a in ended)


async def test_undelivered_webhooks_are_sent_again(rig):
    world, receiver, notifier = rig
    world.inject("service_down")
    await world.run(120)
    receiver.is_down = True
    assert "ServiceDown" in await notifier.notify()
    receiver.is_down = False
    assert await notifier.notify() == []
    assert "ServiceDown" in {a["labels"]["alertname"] for b in receiver.bodies for a in b["alerts"]}


async def test_our_own_reader_understands_the_webhooks(rig):
    world, receiver, notifier = rig
    world.inject("database_disk_full")
    await world.run(900)
    await notifier.notify()
    for body in receiver.bodies:
        read = parse_webhook(json.dumps(body).encode(), world.clock.now())
        assert {alert.fingerprint for alert in read} == {
            alert["fingerprint"] for alert in body["alerts"]
        }


async def test_news_come_once_and_in_order():
    async with LiveWorld(young_world()) as live:
        live.world.inject("service_down")
        items = await live.step()
        assert [item.what for item in items] == ["fault_began"]
        assert "restart_service" in items[0].detail
        await live.world.run(300)
        firing = await live.step()
        assert {item.what for item in firing} == {"alert_firing"}
        assert [item.at for item in firing] == sorted(item.at for item in firing)
        assert await live.step() == []
        remedy = live.world.incidents[0].fault.remedy
        live.world.perform(Deed("restart_service", remedy.host, remedy.service, {}))
        await live.world.run(300)
        assert {item.what for item in await live.step()} == {"fault_ended", "alert_resolved"}


async def test_random_faults_come_one_at_a_time():
    async with LiveWorld(young_world(), quiet_s=600) as live:
        for _ in range(6):
            await live.world.run(300)
            await live.step()
        begun = live.world.incidents
        assert len(begun) == 1, "the second waits until the first is over"
        remedy = begun[0].fault.remedy
        assert remedy is None or begun[0].ended_at is None


@pytest.mark.parametrize("url", ["localhost:9095", "ftp://x/y", "http://", ""])
def test_a_webhook_needs_an_address(url):
    if not url:
        assert LiveWorld(young_world(), webhook=url)._notifier is None
        return
    with pytest.raises(ConfigError, match="webhook"):
        LiveWorld(young_world(), webhook=url)


def test_the_command_lists_the_faults():
    plain = CliRunner().invoke(cli, ["simulate", "--list"])
    assert plain.output.split() == sorted(FAULTS)
    as_json = CliRunner().invoke(cli, ["simulate", "--list", "--json"])
    assert json.loads(as_json.output) == sorted(FAULTS)


def test_the_command_refuses_an_unknown_fault_before_it_serves():
    result = CliRunner().invoke(cli, ["simulate", "--fault", "gremlins", "--port", "0"])
    assert result.exit_code == 2
    assert "gremlins" in result.output
