"""What we did ourselves, and what we were told, as changes: both are in our own record."""

from collections.abc import Sequence
from datetime import timedelta

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.ports import ChangeStore, Journal

LONGEST_STEP = timedelta(hours=6)
"""A step that began before the window and ended in it is found if it took no longer."""
_RAN = (StepState.STARTED, StepState.FINISHED, StepState.FAILED, StepState.IN_DOUBT)
_WORDS = {
    StepState.STARTED: "is running",
    StepState.FINISHED: "was done",
    StepState.FAILED: "failed",
    StepState.IN_DOUBT: "may have been done",
}


class OwnActions:
    """The steps of our plans that really ran; a dry run changes nothing and is no change."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return the steps that began or ended within the window; raises `StoreUnavailable`."""
        rows = await self._journal.executions(states=_RAN, since=window.start - LONGEST_STEP)
        found = [_change(row) for row in rows if _touches(row, window)]
        return sorted(found, key=lambda change: (change.at, change.change_id))


class ToldChanges:
    """What was posted to us or entered by hand."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return the changes made within the window; raises `StoreUnavailable`."""
        return await self._store.changes_within(window)


def _touches(row: Execution, window: TimeWindow) -> bool:
    begun = row.started_at or row.intended_at
    ended = row.ended_at or begun
    return begun < window.end and ended >= window.start


def _change(row: Execution) -> Change:
    action = f"undoing {row.action.kind}" if row.is_undo else row.action.kind
    where = f" on {row.host}" if row.host and row.host != row.target.name else ""
    return Change(
        change_id=f"iir:{row.key}",
        what="action",
        entity=row.target,
        at=row.started_at or row.intended_at,
        summary=f"{action} of {row.target}{where} {_WORDS[row.state]}",
        author="iir",
        source="iir",
        is_ours=True,
    )
