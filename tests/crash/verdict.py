"""What became of it all: judged from the file of truth, the journal and the audit trail."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, text

from it_incident_response.config import Settings
from tests.crash.points import STEPS
from tests.crash.targets import Ran


@dataclass(frozen=True)
class Row:
    """A row of the journal, as far as it matters here."""

    key: str
    incident: str
    step: int
    state: str
    is_settled_by_hand: bool = False


@dataclass
class Evidence:
    """All that is known of an installation when it has come to rest."""

    expected: Sequence[str]
    """Titles of the incidents that were opened."""
    incidents: Mapping[str, tuple[str, str]]
    """Title to (id, status)."""
    rows: Sequence[Row]
    ran: Sequence[Ran]
    """What really happened."""
    locks: Sequence[str] = ()
    """Targets still locked when the longest lease of a lock has passed."""
    is_chain_intact: bool = True
    found_done: int = 0
    """Steps of which a look after a crash showed that they were done."""


@dataclass
class Verdict:
    """What is wrong; all empty is what is promised."""

    duplicated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """The journal says otherwise than what happened."""
    left: list[str] = field(default_factory=list)
    """Not at its end, or a lock that nobody needs."""

    @property
    def is_good(self) -> bool:
        """True if nothing is wrong."""
        return not (self.duplicated or self.lost or self.untrue or self.left)


def judge(evidence: Evidence) -> Verdict:
    """Return what is wrong with the end of an installation."""
    verdict = Verdict()
    _judge_repeats(evidence, verdict)
    _judge_journal(evidence, verdict)
    _judge_ends(evidence, verdict)
    return verdict


def _judge_repeats(evidence: Evidence, verdict: Verdict) -> None:
    keys = Counter(ran.key for ran in evidence.ran)
    steps = Counter((ran.incident, ran.step) for ran in evidence.ran)
    verdict.duplicated += [f"attempt {key} ran {n} times" for key, n in keys.items() if n > 1]
    verdict.duplicated += [f"step {step} ran {n} times" for step, n in steps.items() if n > 1]


def _judge_journal(evidence: Evidence, verdict: Verdict) -> None:
    ran = {each.key for each in evidence.ran}
    rows = {row.key: row for row in evidence.rows}
    for row in evidence.rows:
        if row.state == "finished" and row.key not in ran:
            verdict.lost.append(f"{row.key} is finished in the journal and never ran")
        if row.state == "failed" and row.key in ran:
            verdict.untrue.append(f"{row.key} failed in the journal and ran")
        if row.state in ("started", "in_doubt"):
            verdict.left.append(f"{row.key} is {row.state}")
    verdict.untrue += [f"{key} ran and is not in the journal" for key in ran - set(rows)]


def _judge_ends(evidence: Evidence, verdict: Verdict) -> None:
    done = Counter(ran.incident for ran in evidence.ran)
    for title in evidence.expected:
        if title not in evidence.incidents:
            verdict.lost.append(f"incident {title} is not in the record")
            continue
        incident, status = evidence.incidents[title]
        if status != "resolved":
            verdict.left.append(f"incident {title} is {status}")
        if done[incident] < STEPS:
            verdict.lost.append(f"incident {title}: {done[incident]} of {STEPS} steps ran")
    verdict.left += [f"{lock} is locked" for lock in evidence.locks]
    if not evidence.is_chain_intact:
        verdict.untrue.append("the audit chain is broken")


def census(settings: Settings) -> dict[str, int]:
    """Return how many open incidents are in which state of the journal: what a kill would meet."""
    open_ones = "SELECT id, status FROM incidents WHERE ended_at IS NULL"
    rows = "SELECT incident_id, state, body FROM executions ORDER BY position"
    with _engine(settings).connect() as connection:
        last: dict[str, str] = {}
        for incident, state, body in connection.execute(text(rows)):
            last[incident] = f"{state} {_data(body)['step']}"
        found = connection.execute(text(open_ones)).all()
    return dict(Counter(last.get(incident, "nothing begun") for incident, _ in found))


def gather(settings: Settings, expected: Sequence[str], ran: Sequence[Ran]) -> Evidence:
    """Return the evidence of an installation in which nothing runs any more."""
    with _engine(settings).connect() as connection:
        known = connection.execute(text("SELECT id, status, body FROM incidents")).all()
        rows = connection.execute(text("SELECT body FROM executions")).all()
        events = [_data(body) for (body,) in connection.execute(text("SELECT body FROM audit"))]
    by_hand = {_of_row(event) for event in events if event["kind"] == "action.settled"}
    found = [e for e in events if e["kind"] == "action.recovered" and "is finished" in e["summary"]]
    return Evidence(
        expected=expected,
        incidents={_data(body)["title"]: (id_, status) for id_, status, body in known},
        rows=[_row(_data(body), by_hand) for (body,) in rows],
        ran=ran,
        found_done=len(found),
    )


def _of_row(event: Mapping[str, Any]) -> tuple[str, int]:
    return event["incident_id"], event["details"]["step"]


def _row(body: Mapping[str, Any], by_hand: set[tuple[str, int]]) -> Row:
    incident, step = body["incident_id"], body["step"]
    is_settled = (incident, step) in by_hand and (body["error"] or "").startswith("alice: ")
    return Row(body["key"], incident, step, body["state"], is_settled)


def _engine(settings: Settings) -> Engine:
    url = settings.database_url.get_secret_value()
    # No pool: a connection is closed when the block that opened it ends.
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)


def _data(body: Any) -> dict[str, Any]:
    return body if isinstance(body, dict) else json.loads(body)


def append(file: Path, data: Mapping[str, Any]) -> None:
    """Add a line to a file, on the disk when this returns."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, json.dumps(data).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
