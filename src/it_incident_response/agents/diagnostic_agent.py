"""DiagnosticAgent: from an incident to a stored, cited diagnosis."""

import asyncio
from collections.abc import Sequence

from it_incident_response.agents.gathering import Gatherer
from it_incident_response.analysis.diagnosis import diagnose
from it_incident_response.analysis.ranking import rank
from it_incident_response.analysis.rules_engine import RulesEngine
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import SourceGap
from it_incident_response.domain.incident import Incident
from it_incident_response.ports import Clock, IncidentStore

ACTOR = "agent:diagnostic"


class DiagnosticAgent:
    """Gathers evidence, weighs it, and writes both down."""

    def __init__(
        self,
        store: IncidentStore,
        clock: Clock,
        gatherer: Gatherer,
        rules: RulesEngine,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gatherer = gatherer
        self._rules = rules

    async def investigate(self, incident: Incident, alerts: Sequence[Alert]) -> Diagnosis:
        """Return a diagnosis of what is seen now; evidence and diagnosis are stored."""
        evidence, topology, scope = await self._gatherer.gather(incident, alerts)
        gaps = [e.finding.source for e in evidence if isinstance(e.finding, SourceGap)]
        silent = f"; silent: {', '.join(dict.fromkeys(gaps))}" if gaps else ""
        gathered = AuditEvent(
            at=self._clock.now(),
            actor=ACTOR,
            kind="evidence.gathered",
            incident_id=incident.id,
            summary=f"{len(evidence) - len(gaps)} pieces of evidence{silent}",
        )
        await self._store.add_evidence(evidence, [gathered])
        now = self._clock.now()
        diagnosis = diagnose(incident, evidence, self._rules, topology, now=now)
        suspects = await asyncio.to_thread(rank, evidence, topology, began=scope.began)
        diagnosis = diagnosis.model_copy(update={"suspects": suspects})
        top = diagnosis.top
        concluded = AuditEvent(
            at=now,
            actor=ACTOR,
            kind="diagnosis.made",
            incident_id=incident.id,
            summary=f"{diagnosis.verdict}: {diagnosis.summary}",
            details={
                "diagnosis": diagnosis.id,
                "cause": top.cause_id if top else None,
                "confidence": round(top.confidence, 4) if top else None,
                "evidence": list(top.supporting) if top else [],
            },
        )
        await self._store.add_diagnosis(diagnosis, [concluded])
        return diagnosis
