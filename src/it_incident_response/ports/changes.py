"""What we were told of deploys and other changes, kept until retention removes it."""

from collections.abc import Sequence
from typing import Protocol

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.domain.model import UtcTime


class ChangeStore(Protocol):
    """Changes that somebody posted or entered; all methods raise `StoreUnavailable`."""

    async def add_changes(self, changes: Sequence[Change], received_at: UtcTime) -> None:
        """Store changes; of one `change_id` the one with the latest `at` stays.

        The same again, also at another time, changes nothing: of what senders repeat, and of what
        bears no time of its own, the first telling counts. So a sender may repeat
        what it is not sure of.
        """
        ...

    async def changes_within(self, window: TimeWindow, limit: int = 1000) -> Sequence[Change]:
        """Return the changes made within the window, oldest first; of more the newest ones."""
        ...

    async def recent_changes(self, limit: int = 100) -> Sequence[Change]:
        """Return changes, the last made first."""
        ...
