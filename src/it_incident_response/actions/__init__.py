"""The typed actions: one kind a file, listed once in ACTIONS. Data and judgement, no I/O."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError

from it_incident_response.actions.clean_disk import CleanDisk
from it_incident_response.actions.diagnostic_command import DiagnosticCommand, RunDiagnosticCommand
from it_incident_response.actions.renew_certificate import RenewCertificate
from it_incident_response.actions.restart_service import RestartService
from it_incident_response.actions.rollback_deployment import RollbackDeployment
from it_incident_response.actions.scale_service import ScaleService
from it_incident_response.domain.action import Action, ActionRecord
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import InputRejected

__all__ = [
    "ACTIONS",
    "CleanDisk",
    "DiagnosticCommand",
    "RenewCertificate",
    "RestartService",
    "RollbackDeployment",
    "RunDiagnosticCommand",
    "ScaleService",
    "parse_action",
]

_KINDS: tuple[type[Action], ...] = (
    CleanDisk,
    RenewCertificate,
    RestartService,
    RollbackDeployment,
    RunDiagnosticCommand,
    ScaleService,
)

ACTIONS: Mapping[str, type[Action]] = MappingProxyType({each.kind: each for each in _KINDS})
"""Every kind of action by its name: the words that rules, plans and policies use."""


def parse_action(record: ActionRecord, inventory: Inventory) -> Action:
    """Return the typed action of a stored record, checked against the inventory as it is now.

    Raises `InputRejected` for an unknown kind or malformed parameters, and `TargetUnknown` if the
    inventory does not list host, unit, path or service letter for letter.
    """
    action_type = ACTIONS.get(record.kind)
    if action_type is None:
        known = ", ".join(sorted(ACTIONS))
        raise InputRejected(f"there is no action {record.kind!r}", hint=f"known are: {known}")
    try:
        action = action_type.model_validate(record.parameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise InputRejected(f"{record.kind}: {field}: {first['msg']}") from None
    action.require_known(inventory)
    return action
