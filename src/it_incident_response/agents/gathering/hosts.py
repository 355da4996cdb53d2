"""Hosts: read-only diagnostic commands, through the same gate as every action."""

import asyncio
from collections.abc import Awaitable, Sequence

from it_incident_response.actions import RunDiagnosticCommand
from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, gap
from it_incident_response.agents.gathering.sources import Look
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ActionError, ConnectorError

LOOKS_MADE = 12


async def hosts_seen(
    look: Look, inventory: Inventory, scope: Scope, incident_id: IncidentId
) -> Sequence[Seen]:
    """Return what the commands printed; a host that cannot be asked is a gap."""
    proposed = RunDiagnosticCommand.propose(scope.entities, inventory)
    looks = [a for a in proposed if isinstance(a, RunDiagnosticCommand)][:LOOKS_MADE]
    results = await asyncio.gather(
        *(_looked(look(action, incident_id), action) for action in looks),
        return_exceptions=True,
    )
    seen: dict[str, Seen] = {}
    for action, result in zip(looks, results, strict=True):
        if isinstance(result, ConnectorError | ActionError):
            seen.setdefault(result.message, gap(f"host {action.host}", result.message))
        elif isinstance(result, BaseException):
            raise result
        else:
            seen[f"{action.host} {result.summary}"] = result
    return list(seen.values())


async def _looked(look: Awaitable[Execution], action: RunDiagnosticCommand) -> Seen:
    execution = await look
    if execution.state is not StepState.FINISHED or not execution.results:
        return gap(f"host {action.host}", execution.error or f"{action.command} did not run")
    finding = action.finding(execution.results[0])
    facts = ", ".join(f"{name}={value}" for name, value in sorted(finding.facts.items())[:6])
    about = action.unit or action.path or ""
    name = action.command.value.replace("_", " ")
    return Seen(
        source=f"host {action.host}",
        summary=f"{name} {about} on {action.host}: {facts or 'see the output'}",
        finding=finding,
        query=finding.command,
    )
