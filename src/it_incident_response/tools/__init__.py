"""What agents may call, served over MCP. Tools see ports, never adapters."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from it_incident_response.tools.base import MCPTool
    from it_incident_response.tools.deployment import DeploymentSystemTool
    from it_incident_response.tools.log_analyzer import LogAnalyzerTool
    from it_incident_response.tools.system_monitor import SystemMonitorTool

__all__ = ["DeploymentSystemTool", "LogAnalyzerTool", "MCPTool", "SystemMonitorTool"]

_WHERE = {
    "DeploymentSystemTool": "deployment",
    "LogAnalyzerTool": "log_analyzer",
    "MCPTool": "base",
    "SystemMonitorTool": "system_monitor",
}


def __getattr__(name: str) -> Any:
    """Import a tool when it is first asked for: their analysis takes a while to load."""
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
