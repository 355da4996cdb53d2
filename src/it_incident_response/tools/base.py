"""MCPTool: what agents may call; typed in and out, served over MCP, callable as in the guide."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from it_incident_response.domain.model import Value
from it_incident_response.errors import IncidentResponseError, InputRejected
from it_incident_response.ports.blocking import run_blocking

_log = logging.getLogger(__name__)


class ToolRole(StrEnum):
    """What a caller must at least be allowed to do."""

    VIEWER = "viewer"
    """See incidents, logs and metrics."""
    RESPONDER = "responder"
    """Propose changes; approving them is another right."""


class ToolHints(Value):
    """What a tool does to the world, as MCP's tool annotations say it."""

    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True
    open_world: bool = True
    """Whether it talks to systems outside of ours."""


class ToolInput(BaseModel):
    """Base of tools' inputs; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ToolOutput(Value):
    """Base of tools' outputs."""

    status: str = "success"


InputT = TypeVar("InputT", bound=ToolInput)
OutputT = TypeVar("OutputT", bound=ToolOutput)


class MCPTool(ABC, Generic[InputT, OutputT]):
    """One tool; subclasses set the class variables and implement `run`."""

    name: ClassVar[str]
    """As called over MCP, such as `log-analyzer`."""
    description: ClassVar[str]
    """What it does and gives, for the one who chooses among tools."""
    input_model: ClassVar[type[ToolInput]]
    output_model: ClassVar[type[ToolOutput]]
    hints: ClassVar[ToolHints] = ToolHints()
    required_role: ClassVar[ToolRole] = ToolRole.VIEWER

    @abstractmethod
    async def run(self, request: InputT) -> OutputT:
        """Do the tool's work; raises `IncidentResponseError`."""

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the input."""
        return self.input_model.model_json_schema()

    def output_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the output."""
        return self.output_model.model_json_schema(mode="serialization")

    def execute(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Run the tool for a synchronous caller; never raises because of the tool.

        The result has `status`: `error` with `message` and perhaps `hint`, or what `run` gave.
        Works inside a running event loop, which it blocks.
        """
        return run_blocking(lambda: self.call(params))

    async def call(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Like `execute`, for asynchronous callers."""
        try:
            result = await self.run(self.parse(params))
        except IncidentResponseError as error:
            return _failure(error.message, error.hint)
        except Exception:  # noqa: BLE001 - tool call boundary: a broken tool is an answer
            _log.exception("the tool %s failed unexpectedly", self.name)
            return _failure(
                f"{self.name} failed unexpectedly", "the log of this program has the details"
            )
        return result.model_dump(mode="json")

    def parse(self, params: Mapping[str, Any]) -> InputT:
        """Return validated input; raises `InputRejected` naming the field, never its value."""
        try:
            return self.input_model.model_validate(params)  # type: ignore[return-value]
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])[:120] or "parameters"
            fields = ", ".join(sorted(self.input_model.model_fields))
            raise InputRejected(
                f"{self.name}: {field}: {first['msg'].removeprefix('Value error, ')}",
                hint=f"its parameters are: {fields}",
            ) from None


def _failure(message: str, hint: str | None) -> dict[str, Any]:
    failure = {"status": "error", "message": message}
    return failure if hint is None else {**failure, "hint": hint}
