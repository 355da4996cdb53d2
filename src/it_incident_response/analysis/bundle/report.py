"""What an investigation of a bundle says."""

from it_incident_response.domain.model import Value


class Citation(Value):
    """One piece of evidence, with the place in the bundle where anyone finds it."""

    source: str
    """alert, metric, log, trace, commit, deploy, flag or the name of a further file."""
    summary: str
    reference: str
    """File, and what to look for in it."""


class BundleHypothesis(Value):
    """One possible cause."""

    kind: str
    """code_change, config_change, dependency, resource, traffic, external, certificate..."""
    service: str | None
    change: str | None
    """Commit, or None: no change of code did this."""
    mechanism: str
    confidence: float
    """Share of the weight of all hypotheses, 0 to 1; not calibrated."""
    evidence: tuple[Citation, ...] = ()
    remediation: str


class BundleReport(Value):
    """The answer; the first hypothesis is `root_cause` too."""

    bundle: str
    root_cause: BundleHypothesis | None
    hypotheses: tuple[BundleHypothesis, ...]
    first_failing_service: str | None
    blast_radius: tuple[str, ...]
    remediation: str | None
    onset: str | None
    """When the trouble began, ISO 8601."""
    gaps: tuple[str, ...] = ()
