"""From a URL to a database that is not connected yet."""

import importlib.util
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from it_incident_response.errors import ConfigError
from it_incident_response.storage.database import Database

_FORMS = (
    "write sqlite:///relative/file.sqlite3, sqlite:////absolute/file.sqlite3 "
    "or postgresql://user:password@host:5432/database"
)


def database_at(url: str) -> Database:
    """Return the database that `url` names; raises `ConfigError`, never showing a password."""
    parsed = _parsed(url)
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend in ("postgresql", "postgres"):
        return _postgresql(parsed)
    raise ConfigError(f"the store's URL begins with {backend!r}, which is not known", hint=_FORMS)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The parser's own message would show the URL, and so the password.
        raise ConfigError("the store's URL cannot be understood", hint=_FORMS) from None


def _sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:" or url.host or url.query:
        raise ConfigError(
            "the store's SQLite URL has to name a file and nothing else",
            hint="write sqlite:///relative/file.sqlite3 or sqlite:////absolute/file.sqlite3",
        )
    from it_incident_response.storage.sqlite import SqliteDatabase

    return SqliteDatabase(Path(url.database).expanduser().absolute())


def _postgresql(url: URL) -> Database:
    if not url.database:
        raise ConfigError("the store's PostgreSQL URL names no database", hint=_FORMS)
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            "the store is on PostgreSQL, but its driver is not installed",
            hint="pip install 'it-incident-response[postgresql]'",
        )
    from it_incident_response.storage.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(url)
