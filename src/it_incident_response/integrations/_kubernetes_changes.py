"""What changed in a cluster, read from the metadata and states of its objects."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.integrations.change_payloads.fields import LONG, Fields

_REVISION = "deployment.kubernetes.io/revision"
_CAUSE = "kubernetes.io/change-cause"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_HELM = "sh.helm.release.v1."
_SERVICE_LABELS = ("app.kubernetes.io/name", "app", "k8s-app")
_KINDS = {"Pod": EntityKind.POD, "Node": EntityKind.NODE}
_MADE_BY_THE_CLUSTER = frozenset({"kube-root-ca.crt"})


def of_events(events: Iterable[Fields], window: TimeWindow) -> Iterator[Change]:
    """Yield warnings and scalings that were last seen within the window."""
    for event in events:
        at = _event_time(event)
        if at is None or not window.start <= at < window.end:
            continue
        reason, message = event.text("reason") or "event", event.first_line("message") or ""
        about = event.inner("involvedObject")
        name = f"{about.text('kind') or 'object'} {about.text('name') or 'unknown'}"
        count = event.text("count") or event.text("series", "count")
        times = f" ({count} times)" if count not in (None, "1") else ""
        yield _change(
            "event",
            event.text("metadata", "uid") or f"{_place(event)}:{at.timestamp():.0f}",
            what="scale" if event.text("type") == "Normal" else "event",
            entity=_event_entity(about),
            at=at,
            summary=f"{name}: {reason}{times}: {message}",
            author=event.text("source", "component") or event.text("reportingComponent"),
        )


def _event_time(event: Fields) -> datetime | None:
    for path in (("series", "lastObservedTime"), ("lastTimestamp",), ("eventTime",)):
        if (found := event.moment(*path)) is not None:
            return found
    return event.moment("metadata", "creationTimestamp")


def _event_entity(about: Fields) -> Entity | None:
    name = about.text("name")
    if name is None:
        return None
    return Entity(_KINDS.get(about.text("kind") or "", EntityKind.SERVICE), name)


def of_replica_sets(replica_sets: Iterable[Fields], window: TimeWindow) -> Iterator[Change]:
    """Yield rollouts: each ReplicaSet of a Deployment that was made within the window.

    A rollback to a revision that still exists makes no new one; its scaling is an event.
    """
    by_owner: dict[str, list[Fields]] = defaultdict(list)
    for replica_set in replica_sets:
        owner = controller(replica_set, "Deployment")
        if owner is not None:
            namespace = replica_set.text("metadata", "namespace") or ""
            by_owner[f"{namespace}/{owner}"].append(replica_set)
    for place, sets in by_owner.items():
        sets.sort(key=_revision)
        for before, now in zip([None, *sets[:-1]], sets, strict=True):
            made = now.moment("metadata", "creationTimestamp")
            if made is not None and window.start <= made < window.end:
                yield _rollout(place, before, now, made)


def _revision(replica_set: Fields) -> int:
    text = replica_set.text("metadata", "annotations", _REVISION, limit=9) or ""
    return int(text) if text.isascii() and text.isdigit() else 0


def _rollout(place: str, before: Fields | None, now: Fields, at: datetime) -> Change:
    name = place.rpartition("/")[2]
    images, old = _images(now), _images(before) if before else {}
    changed = [
        f"{container} {old.get(container, 'nothing')} -> {image}"
        for container, image in images.items()
        if old.get(container) != image
    ]
    revision = _revision(now)
    cause = now.first_line("metadata", "annotations", _CAUSE)
    what = ", ".join(changed) if before else f"first revision: {', '.join(images.values())}"
    summary = f"rollout of {place}, revision {revision}: {what or 'no image changed'}"
    return _change(
        "rollout",
        now.text("metadata", "uid") or f"{place}:{revision}",
        what="deploy" if changed else "config",
        entity=Entity(EntityKind.SERVICE, service_label(now) or name),
        at=at,
        summary=f"{summary} ({cause})" if cause else summary,
        version=", ".join(images.values())[:200] or None,
    )


def _images(replica_set: Fields) -> dict[str, str]:
    containers = replica_set.each("spec", "template", "spec", "containers", limit=50)
    return {c.text("name") or "container": c.text("image") or "unknown" for c in containers}


def of_configuration(kind: str, objects: Iterable[Fields], window: TimeWindow) -> Iterator[Change]:
    """Yield ConfigMaps or Secrets that were written within the window, by metadata alone."""
    for item in objects:
        name = item.text("metadata", "name")
        at = _written_at(item)
        if name is None or at is None or not window.start <= at < window.end:
            continue
        if name in _MADE_BY_THE_CLUSTER or item.text("metadata", "annotations", _LEADER):
            continue
        if kind == "Secret" and name.startswith(_HELM):
            yield _helm_release(item, name, at)
            continue
        service = service_label(item)
        yield _change(
            kind.lower(),
            f"{item.text('metadata', 'uid') or name}:{item.text('metadata', 'resourceVersion')}",
            what="config",
            entity=Entity(EntityKind.SERVICE, service) if service else None,
            at=at,
            summary=f"{kind} {_place(item)} written by {_writer(item, at) or 'somebody'}",
            author=_writer(item, at),
            version=item.text("metadata", "resourceVersion"),
        )


def _helm_release(item: Fields, name: str, at: datetime) -> Change:
    release, _, revision = name.removeprefix(_HELM).rpartition(".v")
    status = item.text("metadata", "labels", "status")
    return _change(
        "helm",
        f"{item.text('metadata', 'namespace')}/{name}",
        what="deploy",
        entity=Entity(EntityKind.SERVICE, release or name),
        at=item.moment("metadata", "creationTimestamp") or at,
        summary=f"Helm release {release} revision {revision}: {status or 'status unknown'}",
        author="helm",
        version=revision or None,
    )


def _writes(item: Fields) -> list[tuple[datetime, str | None]]:
    """Return when the object's content was written, and with which program."""
    fields = item.each("metadata", "managedFields", limit=50)
    entries = [(f.moment("time"), f.text("manager")) for f in fields if not f.text("subresource")]
    return [(at, manager) for at, manager in entries if at is not None]


def _written_at(item: Fields) -> datetime | None:
    times = [at for at, _ in _writes(item)]
    return max(times) if times else item.moment("metadata", "creationTimestamp")


def _writer(item: Fields, at: datetime) -> str | None:
    return next((manager for time, manager in _writes(item) if time == at), None)


def of_nodes(nodes: Iterable[Fields], window: TimeWindow) -> Iterator[Change]:
    """Yield nodes that joined, and conditions of nodes that changed, within the window."""
    for node in nodes:
        name = node.text("metadata", "name")
        if name is None:
            continue
        entity = Entity(EntityKind.NODE, name)
        joined = node.moment("metadata", "creationTimestamp")
        if joined is not None and window.start <= joined < window.end:
            summary = f"node {name} joined the cluster"
            yield _change(
                "node", name, what="infrastructure", entity=entity, at=joined, summary=summary
            )
        yield from _conditions(node, entity, window)


def _conditions(node: Fields, entity: Entity, window: TimeWindow) -> Iterator[Change]:
    for condition in node.each("status", "conditions", limit=50):
        at, kind = condition.moment("lastTransitionTime"), condition.text("type")
        if at is None or kind is None or not window.start <= at < window.end:
            continue
        reason = condition.text("reason") or "no reason given"
        yield _change(
            "node",
            f"{entity.name}:{kind}:{at.timestamp():.0f}",
            what="infrastructure",
            entity=entity,
            at=at,
            summary=f"node {entity.name}: {kind} became {condition.text('status')}: {reason}",
        )


def controller(item: Fields, kind: str) -> str | None:
    """Return the name of the object of a kind that owns and controls this one."""
    for owner in item.each("metadata", "ownerReferences", limit=20):
        if owner.text("kind") == kind and owner.flag("controller"):
            return owner.text("name")
    return None


def service_label(item: Fields) -> str | None:
    """Return the service's name by the recommended labels, else by the customary ones."""
    found = (item.text("metadata", "labels", label) for label in _SERVICE_LABELS)
    return next((name for name in found if name), None)


def _place(item: Fields) -> str:
    namespace, name = item.text("metadata", "namespace"), item.text("metadata", "name")
    return f"{namespace}/{name}" if namespace else str(name)


def _change(kind: str, identity: str, **given: object) -> Change:
    given["summary"] = str(given["summary"])[:LONG]
    change_id = f"kubernetes:{kind}:{identity}"[:500]
    return Change.model_validate({"change_id": change_id, "source": "kubernetes", **given})
