"""Backup while the database is written to; restoration that believes nothing it need not."""

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ActionError,
    ApprovalRequired,
    ConfigError,
    Conflict,
    InputRejected,
    StoreUnavailable,
)
from it_incident_response.storage import backup, open_store, sqlite_swap
from it_incident_response.storage.backup import Restored, back_up, restore
from it_incident_response.storage.backup_archive import BackupManifest
from it_incident_response.storage.schema import HEAD
from it_incident_response.storage.store import SqlStore
from it_incident_response.workflow.stages import Record, Stage, next_stage
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, WEB, FixedClock, after
from tests.unit.safety.world import FakeClock, World
from tests.unit.storage import sample_record

ROOT = Path(__file__).parent.parent.parent.parent
REASON = "restored from a backup of 2026-03-14 15:09:26 UTC: what was done since is not on record"


def _ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= max(done, total), what


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


async def _back_up(path: Path, file: Path, clock: FixedClock | None = None) -> BackupManifest:
    given = clock or FixedClock()
    return await back_up(_url(path), file, clock=given, version="1.2.3", report=_ignore)


async def _restore(path: Path, file: Path, at: float = 3600) -> Restored:
    clock = FixedClock()
    clock.moment = after(at)
    return await restore(_url(path), file, clock=clock, by="alice", report=_ignore)


@contextlib.asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[SqlStore]:
    clock = FixedClock()
    clock.moment = after(3601)
    store = open_store(_url(path), clock=clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _planned(store: SqlStore, number: int, **fields: Any) -> tuple[Incident, Plan]:
    of = await store.create_incident(make.incident(number, **fields), [make.event()])
    plan = make.plan(of)
    await store.add_plan(plan, make.approval(plan), [make.event()])
    return of, plan


async def _approve(store: SqlStore, plan: Plan) -> None:
    (request,) = await store.approvals(incident_id=plan.incident_id)
    await store.decide(make.decided(request), [make.event()])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes."""
    return tmp_path / "saved.iir"


# --- the archive -------------------------------------------------------------------------------


async def test_a_backup_says_what_is_in_it_and_only_its_owner_may_read_it(
    store: SqlStore, path: Path, file: Path
) -> None:
    await sample_record.fill(store)
    manifest = await _back_up(path, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (manifest.product_version, manifest.taken_at) == ("1.2.3", NOW)
    assert (manifest.schema_revision, manifest.audit_events) == (HEAD, 5)
    assert manifest.audit_head == (await store.events())[-1].hash
    counts = await store.stats()
    assert all(counts[name] == n for name, n in manifest.counts.items() if name in counts)
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == ["iir.db", "manifest.json"]
        content = archive.read("iir.db")
        assert hashlib.sha256(content).hexdigest() == manifest.members[0].sha256
    assert list(file.parent.glob(".iir-*")) == [], "no scratch files stay"


async def test_no_file_is_overwritten_and_none_is_left_half_written(
    store: SqlStore, path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        await _back_up(path, file)
    assert file.read_text() == "mine"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "write_archive", full)
    other = file.with_name("other.iir")
    with pytest.raises(StoreUnavailable, match="No space left"):
        await _back_up(path, other)
    assert not other.exists()
    assert list(file.parent.glob(".iir-*")) == []


async def test_progress_is_shown_and_a_cancelled_backup_leaves_nothing(
    store: SqlStore, path: Path, file: Path
) -> None:
    await store.accept([("alerts", os.urandom(1_000_000)) for _ in range(20)], NOW)
    seen: set[str] = set()
    loop = asyncio.get_running_loop()

    def cancel(what: str, _done: int, _total: int) -> None:
        seen.add(what)
        if what == "packing":
            loop.call_soon_threadsafe(task.cancel)

    work = back_up(_url(path), file, clock=FixedClock(), version="1", report=cancel)
    task = asyncio.ensure_future(work)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == {"copying", "packing"}
    assert not file.exists()
    assert list(file.parent.glob(".iir-*")) == []


async def test_what_is_no_embedded_database_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="there is no database"):
        await _back_up(tmp_path / "absent.db", file)
    for work in (
        back_up("postgresql://u:geheim@h/d", file, clock=FixedClock(), version="", report=_ignore),
        restore("postgresql://u:geheim@h/d", file, clock=FixedClock(), by="a", report=_ignore),
    ):
        with pytest.raises(ConfigError) as caught:
            await work
        if "own tools" in str(caught.value):
            assert "pg_dump" in str(caught.value)
            assert "--mark-only" in str(caught.value)
        assert "geheim" not in str(caught.value)


async def test_a_damaged_database_is_not_taken_for_a_backup(
    store: SqlStore, path: Path, file: Path
) -> None:
    await sample_record.fill(store)
    await store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="cannot be backed up|malformed"):
        await _back_up(path, file)
    assert not file.exists()


# --- the restoration ---------------------------------------------------------------------------


async def test_the_record_comes_back_and_what_was_there_is_kept(
    store: SqlStore, path: Path, file: Path
) -> None:
    await sample_record.fill(store)
    manifest = await _back_up(path, file)
    await store.append([make.event("after.the_backup")] * 3)
    await store.close()
    done = await _restore(path, file)

    assert done.taken_at == NOW
    assert done.replaced is not None
    async with _opened(Path(done.replaced)) as kept:
        assert len(await kept.events()) == 8
    async with _opened(path) as restored:
        assert await restored.evidence_of(sample_record.OPEN.id) == [sample_record.SEEN]
        assert (await restored.verify_chain()).is_intact
        events = await restored.events()
        assert events[4].hash == manifest.audit_head
        assert (events[5].kind, events[5].actor) == ("store.restored", "user:alice")
        assert REASON in events[5].summary
        counts = await restored.stats()
        for name in ("incidents", "evidence", "plans", "approvals", "executions", "inbox"):
            assert counts[name] == manifest.counts[name], name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.glob(".iir-*")) == []


async def test_it_is_restored_where_nothing_was(store: SqlStore, path: Path, file: Path) -> None:
    await sample_record.fill(store)
    await _back_up(path, file)
    new = path.parent / "deeper" / "new.db"
    assert (await _restore(new, file)).replaced is None
    async with _opened(new) as restored:
        assert (await restored.incident("INC-000001")).title == sample_record.OPEN.title


async def test_nothing_that_was_allowed_then_is_allowed_now(
    store: SqlStore, path: Path, file: Path
) -> None:
    asked, asked_plan = await _planned(store, 1)
    approved, approved_plan = await _planned(store, 2)
    done, done_plan = await _planned(store, 3)
    await _approve(store, approved_plan)
    await _approve(store, done_plan)
    row = make.execution(done_plan)
    await store.intend(row, [])
    await store.advance(
        row.model_copy(update={"state": StepState.FINISHED}), StepState.INTENDED, []
    )
    ended, ended_plan = await _planned(store, 4)
    await store.save_incident(make.ended(ended, NOW), [])
    await _back_up(path, file)
    await store.close()
    marked = (await _restore(path, file)).marked

    assert (marked.approvals_voided, marked.incidents_handed_over) == (3, 3)
    async with _opened(path) as restored:
        statuses = {
            plan.id: (await restored.approvals(incident_id=plan.incident_id))[0].status
            for plan in (asked_plan, approved_plan, done_plan, ended_plan)
        }
        assert statuses == {
            asked_plan.id: ApprovalStatus.VOIDED,
            approved_plan.id: ApprovalStatus.VOIDED,
            done_plan.id: ApprovalStatus.APPROVED,
            ended_plan.id: ApprovalStatus.VOIDED,
        }
        for of in (asked, approved, done):
            now = await restored.incident(of.id)
            assert (now.halt, now.escalation, now.episode) == (REASON, REASON, of.episode + 1)
            assert now.status is IncidentStatus.INVESTIGATING
            kinds = [event.kind for event in await restored.events(incident_id=of.id)]
            assert kinds[-1] == "incident.escalated"
        assert (await restored.incident(ended.id)).halt is None
        due = await restored.claim_due(after(3600), worker="w", lease_s=9, limit=9)
        assert {asked.id, approved.id, done.id} <= set(due)


@pytest.mark.parametrize("status", [s for s in IncidentStatus if s.is_open])
async def test_every_open_incident_begins_a_new_episode(
    store: SqlStore, path: Path, file: Path, status: IncidentStatus
) -> None:
    of = await store.create_incident(make.incident(1, status=status, episode=7), [])
    await _back_up(path, file)
    await store.close()
    await _restore(path, file)
    async with _opened(path) as restored:
        now = await restored.incident(of.id)
        assert (now.status, now.episode) == (IncidentStatus.INVESTIGATING, 8)


@pytest.mark.parametrize("state", [StepState.INTENDED, StepState.STARTED])
async def test_a_step_that_had_begun_is_in_doubt(
    store: SqlStore, path: Path, file: Path, state: StepState
) -> None:
    of, plan = await _planned(store, 1)
    row = make.execution(plan)
    await store.intend(row, [])
    if state is StepState.STARTED:
        row = row.model_copy(update={"state": state, "started_at": after(1)})
        await store.advance(row, StepState.INTENDED, [])
    await _back_up(path, file)
    await store.close()
    assert (await _restore(path, file)).marked.steps_in_doubt == 1
    async with _opened(path) as restored:
        (now,) = await restored.executions_of(of.id)
        assert (now.state, now.error, now.key) == (StepState.IN_DOUBT, REASON, row.key)
        with pytest.raises(Conflict):
            await restored.intend(row, [])


async def test_what_was_approved_before_and_run_after_the_backup_never_runs_again(
    store: SqlStore, path: Path, file: Path
) -> None:
    """The journal in the backup knows nothing of the run: the gate must refuse all the same."""
    world = World(store, FakeClock())
    plan = await world.approved("web-1")
    clock = FixedClock()
    clock.moment = world.clock.now()
    await _back_up(path, file, clock)
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, len(world.executor.executed)) == (StepState.FINISHED, 1)
    await store.close()
    await _restore(path, file)
    async with _opened(path) as restored:
        world.store = restored
        assert await restored.executions_of(plan.incident_id) == []
        with pytest.raises(ApprovalRequired):
            await world.approvals.granted_for(plan)
        with pytest.raises(ActionError):
            await world.gate.run_step(plan, plan.steps[0])
        assert len(world.executor.executed) == 1
        assert plan.episode != (await restored.incident(plan.incident_id)).episode
        record = Record(incident=await restored.incident(plan.incident_id))
        step = next_stage(record, world.clock.now(), refresh_s=60)
        assert (step.stage, REASON[:30] in step.reason) == (Stage.REST, True)


async def test_no_number_is_given_out_twice(store: SqlStore, path: Path, file: Path) -> None:
    await store.create_incident(make.incident(1), [])
    await store.hold_lease("engine", holder="one", now=NOW, until=after(9_999))
    await _back_up(path, file)
    await store.create_incident(make.incident(2), [])
    token = await store.lock_target(WEB, holder="a", now=NOW, until=after(9))
    await store.hold_lease("engine", holder="two", now=after(10_000), until=after(20_000))
    await store.close()
    await _restore(path, file)
    async with _opened(path) as restored:
        assert (await restored.create_incident(make.incident(9), [])).key == "INC-000003"
        assert await restored.lock_target(WEB, holder="b", now=NOW, until=after(9)) > token
        assert await restored.lease("engine") is None, "its holder is gone"
        held = await restored.hold_lease("engine", holder="x", now=NOW, until=after(9))
        assert held.token > 2


async def test_work_that_somebody_had_is_free(store: SqlStore, path: Path, file: Path) -> None:
    of = await store.create_incident(make.incident(1), [])
    await store.wake(of.id, NOW)
    await store.claim_due(after(1), worker="gone", lease_s=1e6, limit=1)
    await _back_up(path, file)
    await store.close()
    await _restore(path, file)
    async with _opened(path) as restored:
        assert await restored.claim_due(after(3600), worker="w", lease_s=9, limit=9) == [of.id]


async def test_a_database_of_an_older_version_is_brought_forward(tmp_path: Path) -> None:
    old, file, new = tmp_path / "old.db", tmp_path / "saved.iir", tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.executescript((sample_record.DUMPS / "0001.sql").read_text(encoding="utf-8"))
    manifest = await _back_up(old, file)
    assert manifest.schema_revision == "0001"
    await _restore(new, file)
    async with _opened(new) as restored:
        assert await restored.lease("engine") is None
        assert await restored.evidence_of(sample_record.OPEN.id) == [sample_record.SEEN]


async def test_restoring_twice_keeps_both_that_were_there(
    store: SqlStore, path: Path, file: Path
) -> None:
    await _back_up(path, file)
    await store.close()
    first, second = await _restore(path, file), await _restore(path, file)
    assert first.replaced
    assert second.replaced
    assert first.replaced != second.replaced
    assert Path(first.replaced).is_file()
    assert Path(second.replaced).is_file()


# --- in use ------------------------------------------------------------------------------------


async def test_it_is_refused_while_a_store_is_open(store: SqlStore, path: Path, file: Path) -> None:
    await _back_up(path, file)
    before = path.stat().st_ino
    with pytest.raises(Conflict, match="in use") as caught:
        await _restore(path, file)
    assert "stop `iir serve`" in str(caught.value)
    assert path.stat().st_ino == before
    await store.append([make.event()])


async def test_it_is_refused_while_any_program_has_the_file_open(
    store: SqlStore, path: Path, file: Path
) -> None:
    await _back_up(path, file)
    await store.close()
    script = f"import sqlite3, sys; c = sqlite3.connect({str(path)!r}); \
c.execute('SELECT count(*) FROM audit').fetchone(); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with sqlite3.connect(path) as wal:
            wal.execute("PRAGMA journal_mode=WAL")
        with pytest.raises(Conflict, match="in use"):
            await _restore(path, file)
    finally:
        other.communicate()


async def test_no_store_opens_while_it_is_restored(
    store: SqlStore, path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _back_up(path, file)
    await store.close()
    real = sqlite_swap.put_in_place
    refusals: list[str] = []

    def probing(*arguments: Any) -> Path | None:
        async def attempt() -> None:
            with pytest.raises(StoreUnavailable, match="being restored") as caught:
                await open_store(_url(path), clock=FixedClock()).open()
            refusals.append(caught.value.message)

        asyncio.run(attempt())
        return real(*arguments)

    monkeypatch.setattr(backup, "put_in_place", probing)
    await _restore(path, file)
    assert len(refusals) == 1
    async with _opened(path):
        pass


async def test_a_damaged_database_can_be_replaced(store: SqlStore, path: Path, file: Path) -> None:
    await _back_up(path, file)
    await store.close()
    path.write_bytes(b"this is no database" * 1000)
    path.with_name("iir.db-wal").write_bytes(b"a log of something else")
    done = await _restore(path, file)
    assert done.replaced is not None
    assert Path(done.replaced).read_bytes().startswith(b"this is no")
    assert Path(done.replaced + "-wal").read_bytes() == b"a log of something else"
    async with _opened(path) as restored:
        assert (await restored.verify_chain()).is_intact


# --- hostile archives --------------------------------------------------------------------------

Spoil = Callable[[Path, dict[str, Any], bytes], None]


def _write(file: Path, manifest: object, database: bytes, *others: tuple[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("iir.db", database)
        for name, content in others:
            archive.writestr(name, content)


def _fitting(manifest: dict[str, Any], database: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(database).hexdigest()
    member = {"name": "iir.db", "size_bytes": len(database), "sha256": digest}
    return manifest | {"members": [member]}


def _altered(database: bytes, statements: str) -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database)
        connection.executescript(statements)
        return bytes(connection.serialize())


def _with_sql(statements: str) -> Spoil:
    def spoil(file: Path, manifest: dict[str, Any], database: bytes) -> None:
        changed = _altered(database, statements)
        _write(file, _fitting(manifest, changed), changed)

    return spoil


def _truncated(file: Path, _manifest: dict[str, Any], _database: bytes) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _flipped(file: Path, manifest: dict[str, Any], database: bytes) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = os.urandom(40)
    file.write_bytes(content)


def _page_damaged(file: Path, manifest: dict[str, Any], database: bytes) -> None:
    damaged = bytearray(database)
    damaged[4096 * 2 : 4096 * 9] = os.urandom(4096 * 7)
    _write(file, _fitting(manifest, bytes(damaged)), bytes(damaged))


HOSTILE: dict[str, tuple[Spoil, str]] = {
    "garbage": (lambda f, m, d: f.write_bytes(os.urandom(10_000)), "damaged"),
    "empty": (lambda f, m, d: f.write_bytes(b""), "damaged"),
    "truncated": (_truncated, "damaged"),
    "flipped": (_flipped, "damaged|manifest"),
    "traversal": (lambda f, m, d: _write(f, m, d, ("../../evil", b"x")), "holds"),
    "absolute": (lambda f, m, d: _write(f, m, d, ("/tmp/evil", b"x")), "holds"),
    "no json": (lambda f, m, d: _write(f, "[]", d), "manifest"),
    "huge manifest": (lambda f, m, d: _write(f, m | {"x": "a" * 100_000}, d), "too large"),
    "newer form": (lambda f, m, d: _write(f, m | {"format_version": 2}, d), "newer version"),
    "longer than said": (lambda f, m, d: _write(f, m, d + b"\0" * 50_000_000), "not the one"),
    "shorter than said": (lambda f, m, d: _write(f, m, d[:-1]), "not the one"),
    "other content": (lambda f, m, d: _write(f, m, d[:-1] + b"!"), "not the one"),
    "bomb": (
        lambda f, m, d: _write(f, m | {"members": [m["members"][0] | {"size_bytes": 2**49}]}, d),
        "are free",
    ),
    "wrong counts": (lambda f, m, d: _write(f, m | {"counts": {"audit": 3}}, d), "another"),
    "wrong head": (lambda f, m, d: _write(f, m | {"audit_head": "0" * 64}, d), "another"),
    "no database": (lambda f, m, d: _write(f, _fitting(m, b"x" * 9000), b"x" * 9000), "damaged"),
    "page damaged": (_page_damaged, "damaged"),
    "newer schema": (
        _with_sql("UPDATE iir_schema SET version_num = '9999'"),
        "newer version",
    ),
    "trigger": (
        _with_sql("CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM approvals; END"),
        "trigger",
    ),
    "view": (_with_sql("CREATE VIEW v AS SELECT 1"), "view"),
    "other table": (_with_sql("CREATE TABLE theirs (x)"), "not ours"),
    "event changed": (
        _with_sql("UPDATE audit SET body = replace(body, 'alice', 'bob')"),
        "trail is broken",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_archive_is_refused_and_nothing_is_changed(
    store: SqlStore, path: Path, file: Path, name: str
) -> None:
    await sample_record.fill(store)
    manifest = (await _back_up(path, file)).model_dump(mode="json")
    await store.close()
    with zipfile.ZipFile(file) as archive:
        database = archive.read("iir.db")
    spoil, reason = HOSTILE[name]
    spoil(file, manifest, database)
    before = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_ino
    with pytest.raises(InputRejected, match=reason) as caught:
        await _restore(path, file)
    assert caught.value.hint
    async with _opened(path) as untouched:
        assert len(await untouched.events()) == 5
    assert path.stat().st_ino == before[1]
    assert list(path.parent.glob(".iir-*")) == []
    assert list(path.parent.glob("*.replaced-*")) == []


async def test_an_absent_file_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="No such file"):
        await _restore(path, tmp_path / "absent")


# --- by other means ----------------------------------------------------------------------------


async def test_a_record_restored_by_other_means_is_marked(store: SqlStore, path: Path) -> None:
    of, plan = await _planned(store, 1)
    await _approve(store, plan)
    with pytest.raises(Conflict, match="in use"):
        await _mark(path)
    await store.close()
    done = await _mark(path)
    assert done.taken_at == NOW, "the last event on record"
    async with _opened(path) as marked:
        assert (await marked.incident(of.id)).halt == REASON
        (request,) = await marked.approvals(incident_id=of.id)
        assert request.status is ApprovalStatus.VOIDED
        assert (await marked.verify_chain()).is_intact
    assert (await _mark(path)).marked.approvals_voided == 0, "again does no harm"


async def _mark(path: Path) -> Restored:
    return await backup.mark_only(
        _url(path), clock=FixedClock(), by="alice", taken_at=None, report=_ignore
    )


# --- under load --------------------------------------------------------------------------------


@pytest.mark.real
async def test_a_backup_under_write_load_is_one_moment_of_the_record(
    store: SqlStore, path: Path, file: Path
) -> None:
    """Two processes write incidents with their events while the backups are made."""
    await store.accept([("alerts", os.urandom(100_000)) for _ in range(100)], NOW)
    command = [sys.executable, "-m", "tests.contracts.store_process", _url(path), "write"]
    writers = [
        subprocess.Popen(
            [*command, str(n)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        before = len(await store.events(limit=100_000))
        manifests = []
        for number in range(5):
            saved = file.with_name(f"{number}.iir")
            manifests.append(await _back_up(path, saved))
        after_all = len(await store.events(limit=100_000))
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    seen = [manifest.audit_events for manifest in manifests]
    assert before <= seen[0] < seen[-1] <= after_all, "they wrote meanwhile"
    for number, manifest in enumerate(manifests):
        new = file.with_name(f"{number}.db")
        await _restore(new, file.with_name(f"{number}.iir"))
        async with _opened(new) as restored:
            assert (await restored.verify_chain()).is_intact
            counts = await restored.stats()
            assert counts["incidents"] == manifest.counts["incidents"] == manifest.audit_events
