"""The layouts that log documents have: which fields hold what, the most telling first."""

from collections.abc import Mapping

from it_incident_response.integrations._elasticsearch_settings import Preset, Role

Fields = Mapping[Role, tuple[str, ...]]

ROLES: tuple[Role, ...] = (
    "timestamp",
    "message",
    "level",
    "service",
    "host",
    "pod",
    "trace",
    "stack",
    "attributes",
)

ECS: Fields = {
    "timestamp": ("@timestamp",),
    "message": ("message",),
    "level": ("log.level", "log.syslog.severity.name", "log.syslog.severity.code"),
    "service": ("service.name", "kubernetes.labels.app", "container.name"),
    "host": ("host.name", "host.hostname", "kubernetes.node.name"),
    "pod": ("kubernetes.pod.name",),
    "trace": ("trace.id",),
    "stack": ("error.stack_trace",),
    "attributes": (
        "error.type",
        "error.message",
        "http.response.status_code",
        "log.logger",
        "service.version",
    ),
}
"""Elastic Common Schema 8, as Elastic Agent, Filebeat and the APM agents write it."""

OPENTELEMETRY: Fields = {
    "timestamp": ("@timestamp", "time", "Timestamp", "observedTimestamp"),
    "message": ("body.text", "body", "Body"),
    "level": (
        "severity_text",
        "severity_number",
        "severityText",
        "severityNumber",
        "severity.text",
        "severity.number",
        "SeverityText",
        "SeverityNumber",
    ),
    "service": (
        "resource.attributes.service.name",
        "resource.attributes.service@name",
        "resource.service.name",
        "Resource.service.name",
        "serviceName",
    ),
    "host": (
        "resource.attributes.host.name",
        "resource.attributes.host@name",
        "resource.host.name",
        "Resource.host.name",
    ),
    "pod": (
        "resource.attributes.k8s.pod.name",
        "resource.attributes.k8s@pod@name",
        "resource.k8s.pod.name",
        "Resource.k8s.pod.name",
    ),
    "trace": ("trace_id", "traceId", "TraceId"),
    "stack": (
        "attributes.exception.stacktrace",
        "log.attributes.exception@stacktrace",
        "Attributes.exception.stacktrace",
    ),
    "attributes": (
        "attributes.exception.type",
        "attributes.exception.message",
        "attributes.http.response.status_code",
        "log.attributes.exception@type",
        "Attributes.exception.type",
        "scope.name",
        "resource.attributes.service.version",
    ),
}
"""OpenTelemetry as Elasticsearch keeps it, Data Prepper (`@` for dots), and the plain export."""

FLUENT_BIT: Fields = {
    "timestamp": ("@timestamp",),
    "message": ("log", "message", "msg", "MESSAGE"),
    "level": ("level", "severity", "log_level", "loglevel", "PRIORITY"),
    "service": (
        "service",
        "kubernetes.labels.app.kubernetes.io/name",
        "kubernetes.labels.app_kubernetes_io/name",
        "kubernetes.labels.app",
        "app",
        "kubernetes.container_name",
        "SYSLOG_IDENTIFIER",
    ),
    "host": ("kubernetes.host", "host", "hostname", "_HOSTNAME"),
    "pod": ("kubernetes.pod_name",),
    "trace": ("trace_id", "traceId"),
    "stack": ("stack_trace", "stacktrace", "stack", "exception"),
    "attributes": ("logger", "status", "stream", "kubernetes.namespace_name"),
}
"""What Fluent Bit ships from containers, files (JSON merged into the record) and the journal."""

PRESETS: Mapping[Preset, Fields] = {
    "ecs": ECS,
    "opentelemetry": OPENTELEMETRY,
    "fluent-bit": FLUENT_BIT,
}


def candidate_fields(preset: Preset, own: Fields) -> dict[Role, tuple[str, ...]]:
    """Return the fields to look for by role: own ones, then those of the preset or of all."""
    chosen = [PRESETS[preset]] if preset in PRESETS else list(PRESETS.values())
    return {
        role: tuple(
            dict.fromkeys(
                [*own.get(role, ()), *(name for fields in chosen for name in fields.get(role, ()))]
            )
        )
        for role in ROLES
    }
