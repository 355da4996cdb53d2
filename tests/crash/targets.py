"""The outside: units that count their restarts in a file, which is the truth about what ran."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.ports import Outcome, Preview, Probe
from tests.crash.points import STEPS

Hook = Callable[[str, str, int], Awaitable[None]]
"""Called with the name of a hook, an incident's id and a step's number."""


@dataclass(frozen=True)
class Ran:
    """One restart that really happened."""

    key: str
    host: str

    @property
    def incident(self) -> str:
        """The id of the incident for which it was done."""
        return self.key.split("/")[0]

    @property
    def step(self) -> int:
        """The number of the step that it was."""
        return int(self.key.split("/")[2])


class Truth:
    """A file to which every restart adds a line before anybody is told of it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, ran: Ran) -> None:
        """Add a line, on the disk when this returns."""
        line = f"{ran.key} {ran.host}\n".encode()
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self) -> list[Ran]:
        """Return every restart so far."""
        if not self._file.exists():
            return []
        return [Ran(*line.split()) for line in self._file.read_text().splitlines()]


def host_name(slot: int, step: int, *, is_blind: bool) -> str:
    """Return the host of a step."""
    return f"{'blind' if is_blind else 'seen'}-{slot}-{step}"


def inventory(slots: int) -> Inventory:
    """Return the hosts of so many slots, of both sorts, each with one service."""
    service = ServiceEntry(name="app", unit="app.service")
    return Inventory(
        hosts=tuple(
            HostEntry(
                name=host_name(slot, step, is_blind=blind), address="0.0.0.0", services=(service,)
            )
            for slot in range(slots)
            for step in range(1, STEPS + 1)
            for blind in (False, True)
        )
    )


class UnitExecutor:
    """Restarts units that exist in the file of truth alone; the actions are the product's own."""

    name = "ssh"

    def __init__(self, truth: Truth, hook: Hook, takes_s: float) -> None:
        """`takes_s` is how long a restart takes, in real seconds."""
        self._truth = truth
        self._hook = hook
        self._takes_s = takes_s

    async def preview(self, action: Action) -> Preview:
        """Return the commands of the action."""
        return Preview(commands=action.commands(), where=f"{action.host}")

    async def execute(self, action: Action, *, key: str) -> Outcome:
        """Restart: one more line in the file."""
        ran = Ran(key, action.host or "")
        await self._hook("effect:before", ran.incident, ran.step)
        await asyncio.sleep(self._takes_s / 2)
        self._truth.add(ran)
        await asyncio.sleep(self._takes_s / 2)
        await self._hook("effect:after", ran.incident, ran.step)
        results = tuple(CommandResult(command=c, exit_status=0) for c in action.commands())
        return Outcome(succeeded=True, results=results)

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """Look how often the unit was restarted, as systemd would tell it; or see nothing."""
        count = Counter(ran.host for ran in self._truth.read())[action.host or ""]
        seen = (f"ActiveState=active\nInvocationID={count + 1:032x}",)
        if (action.host or "").startswith("blind"):
            seen = ("LoadState=loaded",)
        took_effect = action.took_effect(seen, before)
        return Probe(took_effect=took_effect, detail=f"took effect: {took_effect}", outputs=seen)
