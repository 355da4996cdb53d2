"""Names of task queues: by executor and by the site of the host."""

import pytest
from pydantic import ValidationError

from it_incident_response.domain.inventory import HostEntry, Inventory
from it_incident_response.workflow.queues import acting_queue, core_queue, site_of, site_queue

INVENTORY = Inventory(
    hosts=(
        HostEntry(name="web-1", address="10.0.0.1"),
        HostEntry(name="pay-1", address="10.9.0.1", site="vault", aliases=("pay",)),
    )
)


def test_a_host_without_a_site_is_for_any_worker():
    assert site_of("web-1", INVENTORY) is None
    assert site_of(None, INVENTORY) is None
    assert site_of("unknown", INVENTORY) is None


def test_a_site_has_queues_of_its_own():
    assert site_of("pay-1", INVENTORY) == "vault"
    names = {
        core_queue("iir"),
        site_queue("iir", "vault"),
        acting_queue("iir", "ssh", None),
        acting_queue("iir", "ssh", "vault"),
    }
    assert len(names) == 4


@pytest.mark.parametrize("site", ["", "Vault", "a b", "a.b", "-a", "x" * 64])
def test_a_site_is_part_of_a_name_and_must_be_plain(site):
    with pytest.raises(ValidationError):
        HostEntry(name="web-1", address="10.0.0.1", site=site)
