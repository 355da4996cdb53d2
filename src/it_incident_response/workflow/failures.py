"""How an error of ours crosses the engine: retried or not by its class, its message kept."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from it_incident_response.errors import (
    ActionError,
    ConfigError,
    ConnectorRejected,
    IncidentResponseError,
    InputRejected,
    NotFound,
    RuleError,
)

log = logging.getLogger(__name__)

FINAL = (ActionError, ConfigError, ConnectorRejected, InputRejected, NotFound, RuleError)
"""Trying again changes nothing: a person has to. All else may pass: unreachable, locked, a bug."""

LOGGED = ApplicationErrorCategory.BENIGN
"""We have logged it already, in a line: the SDK need not, with a traceback."""

READ = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=20,
)
"""For what changes nothing outside: about a quarter of an hour, then a human is told."""

STORE = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
"""For our own record, without which nothing can go on: for ever."""

ONCE = RetryPolicy(maximum_attempts=1)
"""For what changes something outside: journal and target say what happened, not the engine."""


@contextmanager
def crossing() -> Iterator[None]:
    """Turn errors of ours into what the engine understands, with class and message."""
    try:
        yield
    except ApplicationError:
        raise
    except IncidentResponseError as error:
        is_final = isinstance(error, FINAL)
        log.warning("%s; %s", error.message, "given up" if is_final else "trying again")
        raise ApplicationError(
            error.message, type=type(error).__name__, non_retryable=is_final, category=LOGGED
        ) from None
    except Exception as error:  # workflow step boundary: one bad incident must not stop the others
        log.exception("unexpected error in a stage")
        # Only our own messages are known to carry no secret.
        raise ApplicationError(
            f"unexpected {type(error).__name__}; see the worker's log",
            type="Unexpected",
            category=LOGGED,
        ) from None
