"""Argo CD: the Application that its notifications send with `{{toJson .app}}`.

Argo CD has no fixed payload: operators write a template. Sending the whole Application needs one
line and has the fields of its published custom resource.
"""

from collections.abc import Sequence
from datetime import datetime

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.fields import LONG, Fields, believed
from it_incident_response.integrations.change_payloads.naming import ServiceNames


def read_argocd(fields: Fields, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    """Return the sync that an Application tells; nothing if it was never synchronised."""
    app = fields.inner("app") if isinstance(fields.value("app"), dict) else fields
    name = app.text("metadata", "name")
    if name is None:
        raise InputRejected(
            "metadata.name is missing", hint="let the template's body be {{toJson .app}}"
        )
    operation = app.inner("status", "operationState")
    begun = operation.text("startedAt", limit=64)
    if begun is None:
        return []
    revision = _revision(app, operation)
    phase = operation.text("phase") or "unknown"
    summary = f"{name} synchronised to {revision[:40] if revision else 'its target'}: {phase}"
    images = app.texts("status", "summary", "images", limit=10)
    if images:
        summary += f" (images {', '.join(images)})"
    return [
        Change(
            change_id=f"argocd:{app.text('metadata', 'namespace')}/{name}:{begun}",
            what="deploy",
            entity=names.entity(name),
            at=believed(operation.moment("startedAt"), received_at),
            summary=summary[:LONG],
            author=_author(operation),
            source="argocd",
            version=revision,
            link=_repository(app),
        )
    ]


def _revision(app: Fields, operation: Fields) -> str | None:
    of_sync = operation.inner("syncResult")
    many = of_sync.texts("revisions", limit=1)
    given = of_sync.text("revision") or (many[0] if many else None)
    return given or app.text("status", "sync", "revision")


def _author(operation: Fields) -> str | None:
    by = operation.inner("operation", "initiatedBy")
    return by.text("username") or ("argocd automation" if by.flag("automated") else None)


def _repository(app: Fields) -> str | None:
    return app.link("spec", "source", "repoURL")
