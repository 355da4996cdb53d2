"""Histories of earlier releases replay under today's workflow: nobody's open incident breaks.

No server is needed. What to do when this fails: see "Upgrades" in docs/durability.md.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from it_incident_response import __version__
from it_incident_response.workflow import incident_workflow
from it_incident_response.workflow.engine_worker import _runner
from it_incident_response.workflow.incident_workflow import IncidentWorkflow
from it_incident_response.workflow.stages import Stage
from tests.workflow.on_engine import converter

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*/*.json"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in HISTORIES]
SCENES = frozenset(
    {
        "resolved",
        "rejected",
        "rediagnosed",
        "expired",
        "halted_in_the_middle",
        "rolled_back",
        "plan_impossible",
        "waiting_with_many_wakes",
        "continued-0",
        "continued-1",
    }
)
MACHINE = re.compile(r"/work/|/root/|/home/|/tmp/|@[\w-]+\.local|site-packages")


def read(path: Path) -> WorkflowHistory:
    document = json.loads(path.read_text())
    return WorkflowHistory.from_json(document.pop("workflow_id"), document)


def replayer(*, is_sandboxed: bool = True) -> Replayer:
    """Return a replayer of today's workflow, in the sandbox that our workers use."""
    options = {"workflow_runner": _runner()} if is_sandboxed else {}
    return Replayer(workflows=[IncidentWorkflow], data_converter=converter(), **options)


@pytest.mark.parametrize("path", HISTORIES, ids=NAMES)
async def test_todays_workflow_goes_the_recorded_way(path):
    result = await replayer().replay_workflow(read(path), raise_on_replay_failure=False)
    assert result.replay_failure is None, (
        f"{path.name}: the workflow now does something else than it did, so open incidents of "
        f"release {path.parent.name} would stop: put the change behind workflow.patched(...). "
        f"{result.replay_failure}"
    )


@pytest.mark.parametrize("path", HISTORIES, ids=NAMES)
def test_no_history_names_a_machine_or_is_large(path):
    text = path.read_text()
    assert MACHINE.search(text) is None
    assert "identity" not in text
    assert len(text) < 200_000


def test_this_release_has_every_history():
    here = {path.stem for path in HISTORIES if path.parent.name == __version__}
    missing = SCENES - here
    assert not missing, f"python -m tests.workflow.record_histories has to record {missing}"


@contextmanager
def changed(name: str, value: object) -> Iterator[None]:
    """Let the workflow's module have another constant for a while, as another release might."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incident_workflow, name, value)
        yield


async def breaks(path: Path, workflow_class: type) -> bool:
    today = Replayer(
        workflows=[workflow_class], data_converter=converter(), workflow_runner=_runner()
    )
    result = await today.replay_workflow(read(path), raise_on_replay_failure=False)
    failure = result.replay_failure
    assert failure is None or isinstance(failure, NondeterminismError), failure
    return failure is not None


@workflow.defn(name="IncidentWorkflow", sandboxed=False)
class LooksTwice(IncidentWorkflow):
    """A release that looks once more before it begins: one activity more than was recorded."""

    @workflow.init
    def __init__(self, start: incident_workflow.IncidentStart) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: incident_workflow.IncidentStart) -> str:
        await self._look()
        return await super().run(start)


@workflow.defn(name="IncidentWorkflow", sandboxed=False)
class LooksTwiceIfNew(LooksTwice):
    """The same change made as it should be: only workflows that begin under it see it."""

    @workflow.init
    def __init__(self, start: incident_workflow.IncidentStart) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: incident_workflow.IncidentStart) -> str:
        if workflow.patched("look-twice"):
            await self._look()
        return await IncidentWorkflow.run(self, start)


def named(name: str) -> Path:
    return next(path for path in HISTORIES if path.stem == name)


async def test_the_replay_fails_where_an_activity_is_added():
    """That the tests above can fail."""
    assert await breaks(named("resolved"), LooksTwice)
    assert await breaks(named("expired"), LooksTwice)


async def test_the_replay_fails_where_a_stage_moves_to_other_activities():
    of_the_store = incident_workflow.OF_THE_STORE
    with changed("OF_THE_STORE", of_the_store | {Stage.DIAGNOSE}):
        assert await breaks(named("resolved"), IncidentWorkflow)
    with changed("OF_THE_STORE", frozenset()):
        assert await breaks(named("rejected"), IncidentWorkflow)


async def test_a_patched_change_breaks_nobody():
    assert not await breaks(named("resolved"), LooksTwiceIfNew)
    assert not await breaks(named("expired"), LooksTwiceIfNew)
