import pytest

from it_incident_response.errors import InputRejected
from it_incident_response.simulation import FAULTS
from it_incident_response.simulation.scenarios import make_scenario, seeds_and_kinds


async def test_the_same_seed_gives_the_same_scenario():
    one, two = [await make_scenario("disk_full", 21) for _ in range(2)]
    assert one.truth == two.truth
    assert one.detected_after_s == two.detected_after_s
    assert one.world.clock.now() == two.world.clock.now()
    assert [a.fingerprint for a in one.world.firing()] == [
        a.fingerprint for a in two.world.firing()
    ]


@pytest.mark.parametrize("kind", ["cache_down", "network_latency", "memory_leak"])
async def test_scenarios_begin_with_alerts_and_a_present_cause(kind):
    scenario = await make_scenario(kind, 31)
    assert scenario.truth.cause == kind
    assert scenario.world.firing()
    assert not scenario.is_healed
    assert scenario.detected_after_s > 0


async def test_seeds_vary_target_and_lead():
    scenarios = [await make_scenario("service_down", seed) for seed in range(4)]
    assert len({scenario.truth.target for scenario in scenarios}) > 1
    assert len({scenario.incident.began_at for scenario in scenarios}) > 2
    assert len({len(scenario.world.changes) for scenario in scenarios}) > 1


def test_every_kind_comes_equally_often():
    pairs = list(seeds_and_kinds(3 * len(FAULTS)))
    assert len({seed for seed, _ in pairs}) == len(pairs)
    assert all(sum(kind == k for _, k in pairs) == 3 for kind in FAULTS)


async def test_unknown_kind():
    with pytest.raises(InputRejected):
        await make_scenario("gremlins", 1)
