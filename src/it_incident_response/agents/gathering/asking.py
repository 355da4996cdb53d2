"""Asking one source within its budget: whatever goes wrong there becomes a gap, never an end."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from it_incident_response.agents.gathering.seen import Seen, gap
from it_incident_response.errors import IncidentResponseError

log = logging.getLogger(__name__)

Given = TypeVar("Given")


async def within(budget_s: float, source: str, work: Awaitable[Sequence[Seen]]) -> Sequence[Seen]:
    """Return what the work saw, or the gap that says why it saw nothing."""
    try:
        async with asyncio.timeout(budget_s):
            return await work
    except TimeoutError:
        reason = f"no answer within {budget_s:g} s"
    except IncidentResponseError as error:
        reason = error.message
    except Exception as error:  # boundary: one source, within a workflow step
        # A defect of one adapter must not cost the incident what the others know.
        log.exception("asking %s failed", source)
        reason = f"its adapter failed with {type(error).__name__}"
    return [gap(source, reason)]


async def all_of(asked: Mapping[str, Awaitable[Sequence[Seen]]], budget_s: float) -> list[Seen]:
    """Return what all sources saw, asked at once, in the order of `asked`."""
    answers = await asyncio.gather(*(within(budget_s, name, work) for name, work in asked.items()))
    return [seen for answer in answers for seen in answer]
