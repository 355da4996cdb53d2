"""What a failing database means to the caller: SQLAlchemy's errors become ours, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from it_incident_response.errors import (
    Conflict,
    IncidentResponseError,
    InputRejected,
    StoreUnavailable,
)

_ADVICE = (
    ("not a database", "the file is no SQLite database: give another path, or move it away"),
    ("malformed", "the file is damaged: stop iir and restore it from a backup"),
    ("readonly", "the user that runs iir may not write the file or its folder: chown or chmod it"),
    ("unable to open", "the user that runs iir needs read and write rights on file and folder"),
    ("disk is full", "free space on that filesystem, or run `iir db prune`"),
    ("disk i/o", "look at the health of that disk (dmesg)"),
    ("locked", "another program holds the database for long: look who has it open (fuser, lsof)"),
    ("lock timeout", "another iir holds the lock for long: look into pg_stat_activity"),
    ("password authentication", "check user and password in the store's URL"),
    ("fatal:  database", "create it (createdb) or correct the store's URL"),
    ("permission denied", "grant the user CREATE on the database's schema"),
    ("connection", "check that the server runs and that host, port and firewall are right"),
)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise this package's errors in place of SQLAlchemy's; `name` says which database."""
    try:
        yield
    except exc.IntegrityError as error:
        raise Conflict(
            f"{name}: the record contradicts what is stored: {_first_line(error)}",
            hint="it was stored already, or what it belongs to was removed: read it again",
        ) from error
    except exc.DataError as error:
        raise InputRejected(f"{name}: a value cannot be stored: {_first_line(error)}") from error
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise unavailable(name, error) from error


def unavailable(name: str, error: Exception) -> IncidentResponseError:
    """Return the error to raise for a database that failed, with advice where we know any."""
    reason = _first_line(error)
    lowered = reason.lower()
    advice = next((text for sign, text in _ADVICE if sign in lowered), None)
    return StoreUnavailable(f"{name}: {reason}", hint=advice)


def _first_line(error: Exception) -> str:
    """Return the driver's own first line: never the statement or its parameters."""
    origin = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    lines = str(origin).strip().splitlines()
    return lines[0][:300] if lines else type(origin).__name__
