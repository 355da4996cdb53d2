"""The proof: a real alert about a real host becomes a verified fix, or an honest escalation.

Real Prometheus, Alertmanager, blackbox and node exporter watch a host with systemd and sshd;
`iir serve` takes Alertmanager's webhook; a person decides through `iir approvals`.
"""

from typing import Any

from tests.real.stack.scene import CLEANABLE, Scene
from tests.real.stack.waiting import WaitUntil

KEY = "INC-000001"
NOTICED_S = 40.0
"""Prometheus begins to scrape within 5 s, notices in 1 to 2 s; the rest is for a busy machine."""
MENDED_S = 60.0

STEPS = [
    "incident.opened",
    "evidence.gathered",
    "diagnosis.made",
    "approval.requested",
    "approval.approved",
    "action.intended",
    "action.started",
    "action.finished",
    "incident.resolved",
]
"""What the audit trail has to list, in this order, among other things."""


def see_all_is_well(scene: Scene, wait_until: WaitUntil) -> None:
    """Wait until Prometheus has seen the service answer and the disk."""
    wait_until(lambda: scene.prometheus.value("probe_success") == 1, 20, "a good probe")
    disk = 'node_filesystem_avail_bytes{mountpoint="/srv/data"}'
    wait_until(lambda: scene.prometheus.value(disk), 20, "the disk in Prometheus")
    assert scene.iir.read("incidents", "list") == []


def view(scene: Scene) -> dict[str, Any]:
    """Return all that `iir` knows of the one incident."""
    shown: dict[str, Any] = scene.iir.read("incidents", "show", KEY)
    return shown


def plan_to_approve(scene: Scene, wait_until: WaitUntil) -> dict[str, Any]:
    """Wait until the incident asks for approval; return the view of it."""
    wait_until(lambda: scene.iir.read("incidents", "list"), NOTICED_S, "an incident")
    shown = wait_until(
        lambda: (v := view(scene))["approval"] and v["approval"]["status"] == "pending" and v,
        NOTICED_S,
        "a plan that waits for approval",
    )
    (pending,) = scene.iir.read("approvals", "list")
    assert pending["id"] == shown["approval"]["id"]
    return shown


def approve(scene: Scene, shown: dict[str, Any]) -> None:
    """Approve the plan as a person does."""
    scene.iir.command(
        "approvals", "approve", shown["approval"]["id"], "--reason", "seen it", "--yes"
    )


def resolved(scene: Scene, wait_until: WaitUntil) -> dict[str, Any]:
    """Wait until the incident is resolved; return the view of it."""
    return wait_until(
        lambda: (v := view(scene))["incident"]["status"] == "resolved" and v,
        MENDED_S,
        "the incident to be resolved",
    )


def sudo_commands(scene: Scene, program: str) -> list[str]:
    """Return what ran through sudo on the host since the scene began."""
    journal = scene.host.run("journalctl", "--no-pager", "-o", "cat", "-t", "sudo", "-b").stdout
    commands = [line.partition("COMMAND=")[2] for line in journal.splitlines()]
    return [command for command in commands if command.split(" ")[0].endswith(f"/{program}")]


def assert_audited(scene: Scene, steps: list[str]) -> None:
    """Check that the trail lists the steps in order, is intact, and names who approved."""
    events = scene.iir.read("incidents", "timeline", KEY)
    kinds = iter([event["kind"] for event in events])
    missing = [step for step in steps if step not in kinds]
    assert not missing, [event["kind"] for event in events]
    (approval,) = [event for event in events if event["kind"] == "approval.approved"]
    assert approval["actor"] == "user:alice"
    scene.iir.command("audit", "verify")


def test_a_killed_service_is_restarted_once_approved(scene: Scene, wait_until: WaitUntil) -> None:
    see_all_is_well(scene, wait_until)
    restarts = sudo_commands(scene, "systemctl")
    scene.host.kill_service()

    shown = plan_to_approve(scene, wait_until)
    assert "web-1" in shown["incident"]["affected_systems"]
    assert [alert["name"] for _, alert in shown["alerts"]] == ["ServiceDown"]
    top = shown["diagnosis"]["hypotheses"][0]
    assert top["cause_id"] == "service-down"
    evidence = {item["id"]: item for item in shown["evidence"]}
    assert top["supporting"]
    assert any(evidence[cited]["query"] for cited in top["supporting"])
    (step,) = shown["plan"]["steps"]
    assert (step["action"]["kind"], step["host"]) == ("restart_service", "web-1")
    assert step["action"]["parameters"]["unit"] == "checkout.service"
    # Nothing is done before a person has spoken.
    assert scene.host.unit_state() == "failed"
    assert sudo_commands(scene, "systemctl") == restarts

    approve(scene, shown)
    done = resolved(scene, wait_until)
    assert scene.host.is_well()
    assert scene.prometheus.value("probe_success") == 1
    assert done["verification"]["result"] == "verified"
    assert [row["state"] for row in done["executions"]] == ["finished"]
    ran = sudo_commands(scene, "systemctl")[len(restarts) :]
    assert ran == ["/usr/bin/systemctl restart -- checkout.service"]
    assert_audited(scene, STEPS)


def test_a_full_disk_is_cleaned_once_approved(scene: Scene, wait_until: WaitUntil) -> None:
    see_all_is_well(scene, wait_until)
    filesystem = scene.host.filesystem
    filesystem.fill(0.95)
    young = filesystem.path / "cache" / "young"
    young.write_text("still needed")

    shown = plan_to_approve(scene, wait_until)
    assert "web-1" in shown["incident"]["affected_systems"]
    assert shown["diagnosis"]["hypotheses"][0]["cause_id"] == "disk-full"
    (step,) = shown["plan"]["steps"]
    assert step["action"]["kind"] == "clean_disk"
    assert step["action"]["parameters"]["path"] == CLEANABLE
    assert filesystem.used_ratio > 0.9

    stranger = ["--by", "mallory", "--yes"]
    refused = scene.iir.run("approvals", "approve", shown["approval"]["id"], *stranger)
    assert refused.returncode == 7, refused.stdout
    assert "mallory has no role in the policy" in refused.stderr

    approve(scene, shown)
    done = resolved(scene, wait_until)
    assert filesystem.files() == ["young"]
    assert filesystem.used_ratio < 0.2
    assert done["verification"]["result"] == "verified"
    assert_audited(scene, STEPS)


def test_a_cause_left_in_place_escalates(scene: Scene, wait_until: WaitUntil) -> None:
    see_all_is_well(scene, wait_until)
    scene.host.leave_cause()
    scene.host.kill_service()

    approve(scene, plan_to_approve(scene, wait_until))
    shown = wait_until(
        lambda: (v := view(scene))["verification"] and v["incident"]["escalation"] and v,
        MENDED_S,
        "the incident to escalate",
    )
    assert shown["verification"]["result"] == "failed"
    assert shown["incident"]["status"] not in {"resolved", "closed"}
    assert scene.host.unit_state() == "failed"
    assert scene.prometheus.value("probe_success") == 0
    assert_audited(scene, [*STEPS[:-1], "incident.escalated"])


def test_being_killed_loses_nothing_and_repeats_nothing(
    scene: Scene, wait_until: WaitUntil
) -> None:
    see_all_is_well(scene, wait_until)
    restarts = sudo_commands(scene, "systemctl")
    # The alert fires while nobody listens.
    scene.serve.kill()
    scene.host.kill_service()
    wait_until(scene.prometheus.alerts, 20, "the alert in Prometheus")
    scene.serve.start()
    shown = plan_to_approve(scene, wait_until)
    # A person decides while nobody is there to act on it.
    scene.serve.kill()
    approve(scene, shown)
    assert sudo_commands(scene, "systemctl") == restarts
    scene.serve.start()
    done = resolved(scene, wait_until)

    assert done["verification"]["result"] == "verified"
    assert len(scene.iir.read("incidents", "list")) == 1
    assert len(sudo_commands(scene, "systemctl")) == len(restarts) + 1
    assert_audited(scene, STEPS)
