"""Weighs what changed against what came from outside, and says which of them did it."""

import math
from collections.abc import Sequence

from it_incident_response.analysis.bundle.code_causes import CodeCause, code_causes
from it_incident_response.analysis.bundle.failure import Failure, failure_of
from it_incident_response.analysis.bundle.outside_causes import (
    OutsideCause,
    cited_metrics,
    outside_causes,
)
from it_incident_response.analysis.bundle.report import BundleHypothesis, BundleReport, Citation
from it_incident_response.domain.bundle import Bundle

SHOWN = 6
SHARPNESS = 0.9
"""How much one point of score counts in the shares: set by hand, on the careful side."""
UNKNOWN = 2.2
"""Score of what nobody thought of: a lone weak suspect is not called the cause."""


def investigate(bundle: Bundle) -> BundleReport:
    """Return ranked hypotheses about what happened. Pure: the same bundle, the same report."""
    failure = failure_of(bundle)
    code = code_causes(bundle, failure)[:SHOWN]
    outside = outside_causes(bundle, failure)
    ranked: list[tuple[float, CodeCause | OutsideCause | None]] = [
        *((cause.score, cause) for cause in code),
        *((cause.score, cause) for cause in outside),
        (UNKNOWN, None),
    ]
    ranked.sort(key=lambda item: -item[0])
    whole = sum(math.exp(SHARPNESS * score) for score, _ in ranked)
    hypotheses = tuple(
        _hypothesis(cause, math.exp(SHARPNESS * score) / whole, failure)
        for score, cause in ranked[:SHOWN]
    )
    return BundleReport(
        bundle=bundle.name,
        root_cause=hypotheses[0],
        hypotheses=hypotheses,
        first_failing_service=failure.first_service,
        blast_radius=_dragged_down(failure, hypotheses[0]),
        remediation=hypotheses[0].remediation,
        onset=failure.onset.isoformat() if failure.onset else None,
        gaps=bundle.gaps,
    )


def _dragged_down(failure: Failure, top: BundleHypothesis) -> tuple[str, ...]:
    """Return who suffers besides the first; the cause itself, where it is a system, does not."""
    is_system = top.change is None and top.kind == "external"
    return tuple(name for name in failure.affected if not is_system or name != top.service)


def _hypothesis(
    cause: CodeCause | OutsideCause | None, confidence: float, failure: Failure
) -> BundleHypothesis:
    shown = round(confidence, 4)
    if cause is None:
        return BundleHypothesis(
            kind="unknown",
            service=failure.first_service,
            change=None,
            mechanism="nothing in the bundle explains it well; look at what changed elsewhere",
            confidence=shown,
            evidence=_symptoms(failure),
            remediation="investigate",
        )
    if isinstance(cause, OutsideCause):
        return BundleHypothesis(
            kind=cause.kind,
            service=cause.service,
            change=None,
            mechanism=cause.mechanism,
            confidence=shown,
            evidence=_citations(cause.cited),
            remediation=cause.remediation,
        )
    return _of_commit(cause, shown, failure)


def _of_commit(cause: CodeCause, confidence: float, failure: Failure) -> BundleHypothesis:
    commit = cause.commit
    what = f"{cause.effect}: " if cause.effect else ""
    cited = [
        (
            "commit",
            f"{commit.sha[:12]} {commit.message[:200]}",
            f"context/commits.json {commit.sha}",
        )
    ]
    if cause.deploy is not None:
        deploy = cause.deploy
        words = f"{deploy.service} {deploy.version or ''} at {deploy.at.isoformat()}"
        cited.append(("deploy", words, f"context/deploys.json {deploy.service} {commit.sha}"))
    return BundleHypothesis(
        kind="config_change" if cause.is_configuration else "code_change",
        service=cause.deploy.service if cause.deploy else failure.first_service,
        change=commit.sha,
        mechanism=f"{what}{'; '.join(r for r in cause.reasons if r != cause.effect)}",
        confidence=confidence,
        evidence=(*_citations(cited), *_symptoms(failure)),
        remediation="config-revert" if cause.is_configuration else "rollback",
    )


def _symptoms(failure: Failure) -> tuple[Citation, ...]:
    first = [a for a in failure.anomalies if a.service == failure.first_service]
    metrics = cited_metrics([*first, *failure.anomalies][:3])
    lines = [
        (
            "log",
            f"{line.count}x {line.service or '?'}: {line.example[:200]}",
            f"logs.ndjson from {line.first_at.isoformat()}",
        )
        for line in failure.lines[:3]
    ]
    return _citations(dict.fromkeys([*metrics, *lines]))


def _citations(
    cited: Sequence[tuple[str, str, str]] | dict[tuple[str, str, str], None],
) -> tuple[Citation, ...]:
    return tuple(Citation(source=s, summary=t, reference=r.strip()) for s, t, r in cited)
