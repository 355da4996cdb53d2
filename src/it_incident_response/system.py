"""IncidentResponseSystem: the composition root and the synchronous façade."""
