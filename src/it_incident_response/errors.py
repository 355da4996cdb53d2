"""Every error this package raises on purpose, drawn as a tree.

```
IncidentResponseError            has a message for a human; never carries a secret
├── ConfigError                  the configuration cannot be used; says where and what to write
├── InputRejected                input from outside is malformed, too large or refused (HTTP 4xx)
├── NotFound                     no such incident, approval, plan...
├── Conflict                     the record changed meanwhile, or exists already
├── IllegalTransition            the incident's status may not change that way
├── StoreUnavailable             the database cannot be reached or is locked; retry later
├── ConnectorError               an outside system; `.connector` names it
│   ├── ConnectorUnavailable     unreachable, slow, overloaded: retry later
│   ├── ConnectorRejected        it refused us (4xx, bad credentials): tell the operator
│   └── ConnectorReplyInvalid    its reply makes no sense: a wrong URL, a version, a bug
├── RuleError                    a diagnostic rule is wrong; names file and line
└── ActionError                  a change was not, or not safely, made
    ├── PolicyDenied             policy forbids it
    │   └── PolicyDelayed            policy forbids it now: a freeze, a limit; allowed later
    ├── IncidentHalted           a person stopped all work on the incident, or it began anew
    ├── ApprovalRequired         nobody has approved exactly this plan
    ├── TargetUnknown            the host or service is not in the inventory
    ├── TargetLocked             another incident is acting on the target
    ├── ActionFailed             the executor ran it and it failed
    └── ActionInDoubt            it was started and nobody knows how it ended
```
"""


class IncidentResponseError(Exception):
    """Base of all errors raised on purpose; `str(error)` is fit to be shown."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(IncidentResponseError):
    """The configuration cannot be used."""

    exit_code = 2


class InputRejected(IncidentResponseError):
    """Input from outside is malformed, too large or not allowed."""

    exit_code = 2


class NotFound(IncidentResponseError):
    """There is no such record."""

    exit_code = 3


class Conflict(IncidentResponseError):
    """The record changed meanwhile, or exists already."""

    exit_code = 4


class IllegalTransition(Conflict):
    """The incident's status may not change that way."""


class StoreUnavailable(IncidentResponseError):
    """The database cannot be reached or stays locked."""

    exit_code = 5


class ConnectorError(IncidentResponseError):
    """An outside system failed us; `connector` names it."""

    exit_code = 6

    def __init__(self, connector: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{connector}: {message}", hint=hint)
        self.connector = connector


class ConnectorUnavailable(ConnectorError):
    """Unreachable, too slow or overloaded: worth trying again later."""

    retry_after_s: float | None = None
    """How long the system asked us to wait, if it said so."""


class ConnectorRejected(ConnectorError):
    """The system understood and refused: an operator has to mend it."""

    status: int | None = None
    """The HTTP status it refused with, if it was asked over HTTP."""


class ConnectorReplyInvalid(ConnectorError):
    """The reply is not what this system is documented to answer."""


class RuleError(IncidentResponseError):
    """A diagnostic rule is wrong."""

    exit_code = 2


class ActionError(IncidentResponseError):
    """A change was not, or not safely, made."""

    exit_code = 7


class PolicyDenied(ActionError):
    """Policy forbids the action."""


class PolicyDelayed(PolicyDenied):
    """Policy forbids the action for now, and will allow it by itself."""

    retry_after_s: float = 60.0
    """When to ask again."""
    rule: str = ""
    """Which freeze or limit it is."""


class IncidentHalted(ActionError):
    """A person stopped all work on the incident, or it began anew and the plan is of before."""


class ApprovalRequired(ActionError):
    """Nobody who may has approved exactly this plan."""


class TargetUnknown(ActionError):
    """The host or service is not in the inventory."""


class TargetLocked(ActionError):
    """Another incident is acting on the same target."""

    retry_after_s: float | None = None
    """When to ask again, if it is known how long the lock holds at most."""


class ActionFailed(ActionError):
    """The executor ran the action and it failed."""


class ActionInDoubt(ActionError):
    """The action was started and nobody knows how it ended."""
