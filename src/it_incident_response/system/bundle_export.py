"""Exporting a live incident as a bundle, with every secret taken out."""

from pathlib import Path

from it_incident_response import __version__
from it_incident_response.analysis.incident_bundle import (
    incident_documents,
    manifest,
    rendered,
)
from it_incident_response.storage.bundle_folder import require_free, write_bundle
from it_incident_response.system.composition import Runtime
from it_incident_response.system.views import incident_view

MANIFEST = "manifest.json"


async def export_bundle(runtime: Runtime, id_or_key: str, folder: Path | None) -> tuple[Path, int]:
    """Write the evidence of an incident's last diagnosis; return where, and how many files.

    By default into `KEY-bundle` below the working directory. Raises `NotFound`, `Conflict` if the
    folder holds anything, `InputRejected` if it cannot be written.
    """
    view = await incident_view(runtime.store, runtime.clock, id_or_key)
    target = folder or Path(f"{view.incident.key}-bundle")
    require_free(target)
    evidence = view.evidence or tuple(await runtime.store.evidence_of(view.incident.id))
    alerts = [alert for _, alert in view.alerts]
    documents = dict(incident_documents(view.incident, alerts, evidence))
    documents[MANIFEST] = manifest(
        view.incident,
        documents,
        evidence,
        product_version=__version__,
        exported_at=runtime.clock.now(),
    )
    redact = runtime.redactor.redact_value
    write_bundle(target, {name: rendered(name, redact(doc)) for name, doc in documents.items()})
    return target, len(documents)
