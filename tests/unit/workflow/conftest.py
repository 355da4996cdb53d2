"""The small world of the gate's tests, with a real store."""

from tests.unit.safety.conftest import database_url, migrated_database, world  # noqa: F401
