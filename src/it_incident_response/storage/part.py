"""What every part of the store has: the database and the clock."""

from it_incident_response.ports.clock import Clock
from it_incident_response.storage.database import Database


class StorePart:
    """One protocol's worth of the store; `SqlStore` is made of all of them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
