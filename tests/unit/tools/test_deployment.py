"""DeploymentSystemTool: it proposes typed actions on inventory targets, and runs nothing."""

import pytest

from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import ConfigError, PolicyDenied
from it_incident_response.tools.deployment import DeploymentSystemTool
from tests.unit.tools.support import NOW


def host(number: int) -> HostEntry:
    unit = ServiceEntry(name="checkout", unit="checkout.service", aliases=(f"10.0.0.{number}:80",))
    return HostEntry(name=f"web-{number}", address=f"10.0.0.{number}", services=(unit,))


INVENTORY = Inventory(hosts=(host(1), host(2)))


class Proposals:
    """Keeps what was proposed; answers with a plan as policy left it."""

    def __init__(self, **verdict) -> None:
        self.verdict = verdict
        self.made = []

    async def __call__(self, actions, *, incident_id: str, reason: str) -> Plan:
        self.made.append((actions, incident_id, reason))
        return Plan(
            id="p",
            incident_id=incident_id,
            diagnosis_id="d",
            made_at=NOW,
            reason=reason,
            steps=(),
            **self.verdict,
        )


RESTART = {"action": "restart_service", "target": "checkout", "host": "web-1"}


def test_without_a_way_to_ask_it_only_shows():
    result = DeploymentSystemTool(inventory=INVENTORY).execute(RESTART)
    assert result["status"] == "preview"
    assert "nothing was changed" in result["message"]
    (action,) = result["actions"]
    assert action["commands"] == [["systemctl", "restart", "--", "checkout.service"]]
    assert action["host"] == "web-1"
    assert result["plan_id"] is None


def test_with_one_it_asks_and_says_that_nothing_runs_yet():
    proposals = Proposals()
    tool = DeploymentSystemTool(True, inventory=INVENTORY, propose=proposals)
    result = tool.execute(RESTART | {"incident_id": "INC-000001", "reason": "it hangs"})
    assert result["status"] == "approval_required"
    assert result["plan_id"] == "p"
    assert len(result["plan_digest"]) == 64
    ((actions, incident_id, reason),) = proposals.made
    assert [action.kind for action in actions] == ["restart_service"]
    assert (incident_id, reason) == ("INC-000001", "it hangs")


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ({"needs_approval": True}, "approval_required"),
        ({"needs_approval": False}, "planned"),
        ({"is_forbidden": "frozen"}, "forbidden"),
        ({"is_forbidden": "frozen", "needs_approval": False}, "forbidden"),
    ],
)
def test_the_status_is_never_success(verdict, status):
    tool = DeploymentSystemTool(inventory=INVENTORY, propose=Proposals(**verdict))
    assert tool.execute(RESTART | {"incident_id": "x"})["status"] == status


def test_a_refusal_by_policy_is_told():
    async def refuse(actions, *, incident_id, reason):
        raise PolicyDenied("not in this window", hint="wait")

    tool = DeploymentSystemTool(inventory=INVENTORY, propose=refuse)
    result = tool.execute(RESTART | {"incident_id": "x"})
    assert result == {"status": "error", "message": "not in this window", "hint": "wait"}


def test_a_change_needs_its_incident():
    tool = DeploymentSystemTool(inventory=INVENTORY, propose=Proposals())
    result = tool.execute(RESTART)
    assert result["status"] == "error"
    assert "incident" in result["message"]


def test_a_service_on_several_hosts_means_all_of_them_or_the_named_one():
    tool = DeploymentSystemTool(inventory=INVENTORY)
    both = tool.execute({"action": "restart_service", "target": "checkout"})
    assert [action["host"] for action in both["actions"]] == ["web-1", "web-2"]
    one = tool.execute({"action": "restart_service", "target": "10.0.0.2:80"})
    assert [action["host"] for action in one["actions"]] == ["web-2"]


def test_more_targets_than_three_are_too_many_at_once():
    many = Inventory(hosts=tuple(host(number) for number in range(1, 6)))
    result = DeploymentSystemTool(inventory=many).execute(
        {"action": "restart_service", "target": "checkout"}
    )
    assert result["status"] == "error"
    assert "5 targets" in result["message"]


@pytest.mark.parametrize(
    "target", ["nobody", "checkout; reboot", "checkout.service\n", "$(reboot)", "-rf", "*", "../x"]
)
def test_only_names_of_the_inventory_become_targets(target):
    tool = DeploymentSystemTool(inventory=INVENTORY)
    result = tool.execute({"action": "restart_service", "target": target})
    assert result["status"] == "error"
    assert "actions" not in result


@pytest.mark.parametrize("action", ["reboot", "", "RestartService", "restart_service; id"])
def test_only_known_actions_are_proposed(action):
    result = DeploymentSystemTool(inventory=INVENTORY).execute(RESTART | {"action": action})
    assert result["status"] == "error"


def test_real_deployment_needs_a_way_to_ask():
    with pytest.raises(ConfigError, match="ask for approval"):
        DeploymentSystemTool(use_real_deployment=True)
