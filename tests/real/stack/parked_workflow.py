"""The smallest workflow that waits: in a module of its own, as the engine's sandbox wants it."""

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

QUEUE = "parked"


@activity.defn
async def shout(text: str) -> str:
    """Return the text in capitals, or fail with it."""
    activity.heartbeat(f"heartbeat of {text}")
    if text.startswith("fail"):
        raise ApplicationError(f"could not shout {text}", f"detail of {text}", non_retryable=True)
    return text.upper()


@workflow.defn
class Parked:
    """Waits for the signal `go`, then shouts what it was told and what it began with."""

    def __init__(self) -> None:
        self._told: str | None = None

    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.wait_condition(lambda: self._told is not None)
        return await workflow.execute_activity(
            shout, f"{text} {self._told}", start_to_close_timeout=timedelta(seconds=20)
        )

    @workflow.signal
    def go(self, told: str) -> None:
        self._told = told

    @workflow.query
    def told(self) -> str | None:
        return self._told
