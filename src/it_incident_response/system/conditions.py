"""Who can say whether an alert's condition still holds: whoever raised it."""

from it_incident_response.agents.log_detection_agent import SOURCE, LogDetector
from it_incident_response.domain.alert import Alert
from it_incident_response.ports import ConditionReading, ConditionSource


class ConditionsByOrigin:
    """Asks our own log rules about alerts of theirs, the alerting system about all others."""

    def __init__(self, log_rules: LogDetector, others: ConditionSource | None) -> None:
        self._log_rules = log_rules
        self._others = others

    async def condition(self, alert: Alert) -> ConditionReading:
        """Evaluate the condition now, for the alert's own labels only."""
        if alert.source == SOURCE:
            return await self._log_rules.condition(alert)
        if self._others is None:
            return ConditionReading(holds=None, detail="no source can evaluate this alert")
        return await self._others.condition(alert)
