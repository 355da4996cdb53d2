"""What every tool promises to agents, to MCP and to synchronous callers."""

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.tools import (
    DeploymentSystemTool,
    LogAnalyzerTool,
    MCPTool,
    SystemMonitorTool,
)
from it_incident_response.tools.base import ToolHints, ToolInput, ToolOutput, ToolRole
from tests.unit.tools.support import FixedClock, Logs, Metrics

INVENTORY = Inventory(
    hosts=(
        HostEntry(
            name="web-1",
            address="10.0.0.1",
            services=(ServiceEntry(name="checkout", unit="checkout.service"),),
        ),
    )
)
TOOLS: list[tuple[MCPTool[Any, Any], dict[str, Any]]] = [
    (SystemMonitorTool(metrics=Metrics({}), clock=FixedClock()), {"servers": ["web-1"]}),
    (LogAnalyzerTool(logs=Logs(), clock=FixedClock()), {"services": ["checkout"]}),
    (
        DeploymentSystemTool(inventory=INVENTORY),
        {"action": "restart_service", "target": "checkout"},
    ),
]
"""Every tool with parameters that it accepts."""
every_tool = pytest.mark.parametrize(
    ("tool", "params"), [pytest.param(tool, params, id=tool.name) for tool, params in TOOLS]
)


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def test_every_tool_of_the_package_is_here():
    ours = {
        cls
        for cls in subclasses(MCPTool)
        if cls.__module__.startswith("it_incident_response") and cls is not MCPTool
    }
    assert ours == {type(tool) for tool, _ in TOOLS}


@every_tool
def test_it_describes_itself(tool, params):
    assert re.fullmatch(r"[a-z][a-z-]{2,40}", tool.name)
    assert len(tool.description) > 40
    assert isinstance(tool.hints, ToolHints)
    assert isinstance(tool.required_role, ToolRole)
    assert issubclass(tool.input_model, ToolInput)
    assert issubclass(tool.output_model, ToolOutput)


@every_tool
def test_its_schemas_are_json_and_closed(tool, params):
    schema = json.loads(json.dumps(tool.input_schema()))
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert json.dumps(tool.output_schema())


@every_tool
def test_only_what_changes_nothing_is_for_viewers(tool, params):
    assert tool.hints.read_only == (tool.required_role is ToolRole.VIEWER)
    assert not (tool.hints.read_only and tool.hints.destructive)


@every_tool
def test_a_good_call_gives_its_output_as_json(tool, params):
    result = tool.execute(params)
    assert result["status"] != "error"
    tool.output_model.model_validate_json(json.dumps(result))


@every_tool
async def test_it_can_be_called_in_a_running_loop_either_way(tool, params):
    assert asyncio.get_running_loop()
    assert tool.execute(params) == await tool.call(params)


@every_tool
def test_an_unknown_parameter_is_refused(tool, params):
    result = tool.execute(params | {"nonsense": 1})
    assert result["status"] == "error"
    assert "nonsense" in result["message"]
    assert "its parameters are" in result["hint"]


@every_tool
@given(
    given_params=st.dictionaries(
        st.sampled_from(
            ["servers", "services", "incident_id", "action", "target", "start", "window_s", "x"]
        )
        | st.text(max_size=5),
        st.none() | st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=9)),
        max_size=4,
    )
)
def test_no_parameters_make_it_raise(tool, params, given_params):
    result = asyncio.run(tool.call(given_params))
    assert isinstance(result["status"], str)


@every_tool
def test_values_are_not_repeated_in_errors(tool, params):
    name = next(iter(params))
    result = tool.execute({**params, name: {"geheim": "geheim-4711"}})
    assert result["status"] == "error"
    assert "geheim-4711" not in str(result)


class Failing:
    """A source and a way to propose that fail as they are told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def series(self, request):
        raise self.error

    async def lines(self, query):
        raise self.error

    async def __call__(self, actions, *, incident_id, reason):
        raise self.error


def failing_tools(error: Exception) -> list[tuple[MCPTool[Any, Any], dict[str, Any]]]:
    source = Failing(error)
    return [
        (SystemMonitorTool(metrics=source, clock=FixedClock()), TOOLS[0][1]),
        (LogAnalyzerTool(logs=source, clock=FixedClock()), TOOLS[1][1]),
        (
            DeploymentSystemTool(inventory=INVENTORY, propose=source),
            TOOLS[2][1] | {"incident_id": "x"},
        ),
    ]


def test_a_failing_system_is_an_answer_with_a_hint():
    error = ConnectorUnavailable("prometheus", "it is down", hint="start it")
    for tool, params in failing_tools(error):
        assert tool.execute(params) == {
            "status": "error",
            "message": "prometheus: it is down",
            "hint": "start it",
        }


def test_a_broken_tool_is_an_answer_without_its_secrets(caplog):
    for tool, params in failing_tools(RuntimeError("geheim-4711")):
        result = tool.execute(params)
        assert result["status"] == "error"
        assert "unexpectedly" in result["message"]
        assert "geheim" not in str(result)
    assert caplog.text.count("failed unexpectedly") == 3
    assert "RuntimeError" in caplog.text
