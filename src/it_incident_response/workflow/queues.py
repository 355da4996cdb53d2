"""Names of task queues: by what a worker can do and by the site where it stands."""

from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import PlanStep


def core_queue(prefix: str) -> str:
    """Return the queue of the workflows, and of what any worker of ours can do."""
    return prefix


def site_queue(prefix: str, site: str) -> str:
    """Return the queue of what must be looked at from within a site."""
    return f"{prefix}.site.{site}"


def acting_queue(prefix: str, executor: str, site: str | None) -> str:
    """Return the queue of the steps that an executor carries out, at a site or anywhere."""
    return f"{prefix}.act.{executor}.{site}" if site else f"{prefix}.act.{executor}"


def queue_of_step(prefix: str, step: PlanStep, inventory: Inventory) -> str:
    """Return the queue whose workers can reach the target of a step."""
    return acting_queue(prefix, step.executor, site_of(step.host, inventory))


def site_of(host: str | None, inventory: Inventory) -> str | None:
    """Return the site of a host, or None if any worker can reach it."""
    entry = inventory.host(host) if host is not None else None
    return entry.site if entry is not None else None
