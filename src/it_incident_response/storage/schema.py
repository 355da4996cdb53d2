"""Brings the schema forward with Alembic; refuses a database that a newer version has made."""

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.errors import ConfigError
from it_incident_response.storage.database import Database
from it_incident_response.storage.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The newest revision; kept here so that opening a current database need not load Alembic."""
VERSION_TABLE = "iir_schema"


async def migrate(database: Database) -> None:
    """Run the revisions that are missing, in one transaction.

    Raises `ConfigError` for a database that is newer than this program or not ours.
    """
    async with database.read() as connection:
        if await _revisions(connection) == [HEAD]:
            return
    async with database.migrating() as connection:
        found = await _revisions(connection)
        if found != [HEAD]:
            await connection.run_sync(_upgrade, found, database.name)


async def _revisions(connection: AsyncConnection) -> list[str] | None:
    """Return the revisions the database says it has; None without a version table."""

    def read(sync: Connection) -> list[str] | None:
        if not inspect(sync).has_table(VERSION_TABLE):
            return None
        rows = sync.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        return [str(row[0]) for row in rows]

    return await connection.run_sync(read)


def _upgrade(connection: Connection, found: Sequence[str] | None, name: str) -> None:
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    if found and not set(found) <= known_revisions():
        raise ConfigError(
            f"{name} was made by a newer version of iir (schema {', '.join(found)}, "
            f"this one knows up to {HEAD})",
            hint="install that version again, or give another database in store.url",
        )
    if found is None:
        _require_room(connection, name)
    command.upgrade(config, "head")


def _require_room(connection: Connection, name: str) -> None:
    """Refuse to put our tables beside those of another program that have the same names."""
    taken = sorted(set(metadata.tables) & set(inspect(connection).get_table_names()))
    if taken:
        raise ConfigError(
            f"{name} holds tables of another program: {', '.join(taken)}",
            hint="give iir a database of its own in store.url",
        )


def known_revisions() -> frozenset[str]:
    """Return every revision that this version can bring forward."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return frozenset(script.revision for script in scripts)


def alembic_config() -> "Config":
    """Return Alembic's configuration for the revisions in this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files(__package__) / "migrations"))
    return config
