"""`infrastructure.tracing`: where distributed traces are kept."""

from pathlib import Path

from it_incident_response.config.connections import HttpSystem, Section


class Jaeger(HttpSystem):
    """Jaeger's query service."""


class Tempo(HttpSystem):
    """Grafana Tempo."""


class OtlpFiles(Section):
    """A folder of OTLP-JSON files."""

    path: Path | None = None


class Tracing(Section):
    """Systems that keep traces."""

    jaeger: Jaeger = Jaeger()
    tempo: Tempo = Tempo()
    otlp: OtlpFiles = OtlpFiles()
