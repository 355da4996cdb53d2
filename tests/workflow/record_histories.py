"""Records what workflows of this release leave behind, for `test_replay.py`.

    python -m tests.workflow.record_histories

Plays incidents in the simulated world on real Temporal servers, and keeps each history as JSON in
`histories/VERSION/`. A folder of a release that is out is never replaced: incidents that began
under it may still be open somewhere.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import Client

from it_incident_response import __version__
from it_incident_response.domain.incident import Incident
from it_incident_response.system.composition import Runtime
from it_incident_response.workflow.engine.connection import connect
from it_incident_response.workflow.engine_worker import IncidentEngine
from tests.real.stack.temporal import running_temporal
from tests.real.stack.waiting import eventually
from tests.workflow.on_engine import carried, is_over, is_with_human
from tests.workflow.theatre import WHO, Theatre, approve, kinds, pending
from tests.workflow.time_skipping import pass_time, skipping

log = logging.getLogger(__name__)

HISTORIES = Path(__file__).parent / "histories"
YOUNG_S = 900.0
SOON_S = 60.0
MANY = 40
FEW_EVENTS = "limit.historyCount.suggestContinueAsNew=30"
"""After so many events a workflow continues as a new run; a server's own choice is 4,096."""

UNNEEDED = frozenset({"identity", "stackTrace", "workerDeploymentVersion", "binaryChecksum"})
"""Fields that name the machine, and that replaying does not read."""

SCALE_RULE = """
- id: more-of-the-same
  cause: Somebody believes that more of the same helps against everything.
  kind: process
  when:
    any:
      - alert: {name: [high error*]}
        strength: strong
  confidence: 0.99
  explains: [bad-deploy-errors, api-errors, dependency-failing, service-down]
  suggests:
    - {text: Add one., action: scale_service}
  source: folklore
  examples:
    - matches: true
      evidence: [{alert: HighErrorRate, service: shop}]
    - matches: false
      evidence: [{alert: DiskFull, service: shop}]
"""


class HangingExecutor:
    """Begins every action and ends none, until it is stopped."""

    def __init__(self, inner: Any, began: asyncio.Event) -> None:
        self._inner = inner
        self._began = began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, action: Any, *, key: str) -> Any:
        self._began.set()
        await asyncio.Event().wait()


class HangingTheatre(Theatre):
    """A theatre whose actions hang."""

    def __init__(self, folder: Path, **given: Any) -> None:
        super().__init__(folder, **given)
        self.began = asyncio.Event()

    def _counted(self, executors: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: HangingExecutor(inner, self.began) for name, inner in executors.items()}


class Play:
    """One incident that is carried on an engine, and what happens to it."""

    def __init__(self, stage: Theatre, runtime: Runtime, engine: IncidentEngine) -> None:
        self.stage, self.runtime, self.engine = stage, runtime, engine
        self.incident: Incident

    async def begin(self, fault: str = "service_down") -> None:
        self.incident = await self.stage.detect(self.runtime, fault)

    async def asked(self) -> Any:
        return await eventually(
            lambda: pending(self.runtime, self.incident), SOON_S, "a request for approval"
        )

    async def approved(self) -> None:
        await self.asked()
        await approve(self.runtime, self.incident)

    async def over(self) -> None:
        await eventually(lambda: is_over(self.runtime, self.incident), SOON_S, "the end")

    async def with_human(self) -> None:
        await eventually(
            lambda: is_with_human(self.runtime, self.incident), SOON_S, "a human to have it"
        )


async def resolved(play: Play) -> None:
    """Approved, carried out, verified, written up."""
    await play.begin()
    await play.approved()
    await play.over()


async def rejected(play: Play) -> None:
    """Rejected, then closed by hand."""
    await play.begin()
    request = await play.asked()
    await play.runtime.approvals.reject(request.id, by=WHO, via="test", reason="not now")
    await play.with_human()


async def rediagnosed(play: Play) -> None:
    """Rejected, handed back, approved."""
    await rejected(play)
    play.stage.pass_time(SOON_S)  # The world's time stands still unless somebody moves it.
    await play.runtime.desk.rediagnose(play.incident.id, by=WHO)
    await play.approved()
    await play.over()


async def waiting_with_many_wakes(play: Play) -> None:
    """Woken again and again while it waits."""
    await play.begin()
    await play.asked()
    for _ in range(MANY):
        await play.engine.wake(play.incident.id)
        await asyncio.sleep(0.02)
    await play.approved()
    await play.over()


async def halted_in_the_middle(play: Play) -> None:
    """Cancelled by a person while its step runs."""
    assert isinstance(play.stage, HangingTheatre)
    await play.begin()
    await play.approved()
    await play.stage.began.wait()
    await play.runtime.desk.cancel(play.incident.id, by=WHO, reason="wrong host")
    await play.with_human()


async def rolled_back(play: Play) -> None:
    """The fix did not help and is taken back."""
    await play.begin("api_errors_after_deploy")
    await play.approved()
    await play.with_human()
    rows = await play.runtime.store.executions_of(play.incident.id)
    assert any(row.is_undo for row in rows), await kinds(play.runtime, play.incident)


async def plan_impossible(play: Play) -> None:
    """Handed to a human, since no action of ours helps."""
    await play.begin("dependency_outage")
    await play.with_human()


Scene = Callable[[Play], Awaitable[None]]


@asynccontextmanager
async def _playing(
    folder: Path, client: Client, *, is_hanging: bool = False, rule: str = "", **given: Any
) -> AsyncIterator[Play]:
    folder.mkdir(parents=True)
    if rule:
        (folder / "rules").mkdir()
        (folder / "rules" / "rule.yaml").write_text(rule)
        given["diagnosis"] = {"rules_dirs": [folder / "rules"]}
    kind = HangingTheatre if is_hanging else Theatre
    stage = kind(folder, past_s=YOUNG_S, **given)
    async with stage.open() as runtime, carried(runtime, client) as engine:
        yield Play(stage, runtime, engine)


class Recorder:
    """Writes histories into a folder."""

    def __init__(self, target: Path, work: Path) -> None:
        self._target, self._work = target, work

    async def record(self, scene: Scene, client: Client, **options: Any) -> None:
        """Play a scene and keep the history of its workflow, of each run if there are several."""
        async with _playing(self._work / scene.__name__, client, **options) as play:
            await scene(play)
            await asyncio.sleep(0.5)  # Until the workflow rests: only then is the task complete.
            await self.keep(client, play.incident, scene.__name__)

    async def keep(self, client: Client, incident: Incident, name: str) -> None:
        """Write the history of each run of an incident's workflow."""
        runs = [w async for w in client.list_workflows(f"WorkflowId = '{incident.id}'")]
        for number, run in enumerate(reversed(runs)):
            handle = client.get_workflow_handle(incident.id, run_id=run.run_id)
            self.write(name if len(runs) == 1 else f"{name}-{number}", await handle.fetch_history())

    def write(self, name: str, history: Any) -> None:
        """Keep one history without what names the machine."""
        events = json.loads(history.to_json())
        document = {"workflow_id": history.workflow_id, **_without(events, UNNEEDED)}
        path = self._target / f"{name}.json"
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
        log.info("%s: %d events", path.name, len(history.events))


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


async def record_all(target: Path, work: Path) -> None:
    """Record every scene."""
    recorder = Recorder(target, work)
    with running_temporal(work / "temporal") as server:
        client = await connect(server.settings)
        for scene in (resolved, rejected, rediagnosed, waiting_with_many_wakes, plan_impossible):
            await recorder.record(scene, client)
        await recorder.record(halted_in_the_middle, client, is_hanging=True)
        await recorder.record(rolled_back, client, rule=SCALE_RULE)
    with running_temporal(
        work / "temporal-short", options=["--dynamic-config-value", FEW_EVENTS]
    ) as server:
        client = await connect(server.settings)

        async def continued(play: Play) -> None:
            await waiting_with_many_wakes(play)

        await recorder.record(continued, client)
    await _record_expired(recorder, work)


async def _record_expired(recorder: Recorder, work: Path) -> None:
    folder = work / "expired"
    folder.mkdir()
    approval = {"timeout": "24h", "reminders": ["1h", "12h"]}
    stage = Theatre(folder, past_s=YOUNG_S, approval=approval)
    async with (
        stage.open() as runtime,
        skipping(stage.world.clock) as (env, time),
        carried(runtime, env.client) as engine,
    ):
        play = Play(stage, runtime, engine)
        await play.begin()
        await time.begin(env, stage.world.clock)
        await play.asked()
        for _ in range(25):
            await pass_time(env, time, 3600)
        await play.with_human()
        history = await env.client.get_workflow_handle(play.incident.id).fetch_history()
        recorder.write("expired", history)


def main() -> int:
    """Record into the folder of this version; refuses to replace one."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    target = HISTORIES / __version__
    if target.exists():
        log.error("%s exists: never replace the histories of a release that is out", target)
        return 2
    target.mkdir(parents=True)
    with TemporaryDirectory(prefix="iir-histories-") as work:
        asyncio.run(record_all(target, Path(work)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
