"""How Splunk is reached, and in which fields its events keep what."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from it_incident_response.integrations.connector import ConnectorSettings

NAME = "splunk"
DEFAULT_URL = "https://localhost:8089"
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:{}-]{0,99}")
_INDEX = re.compile(r"\*|_?[a-z0-9][a-z0-9_*-]{0,79}")
_SOURCETYPE = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.:*-]{0,199}")

Role = Literal["service", "host", "pod", "trace", "level", "message"]
"""What a field is read for."""
Preset = Literal["plain", "opentelemetry", "kubernetes"]

PRESETS: Mapping[Preset, Mapping[Role, str]] = {
    "plain": {"service": "service", "host": "host", "level": "level", "message": "_raw"},
    "opentelemetry": {
        "service": "service.name",
        "host": "host.name",
        "pod": "k8s.pod.name",
        "trace": "trace_id",
        "level": "severity",
        "message": "_raw",
    },
    "kubernetes": {
        "service": "container_name",
        "host": "host",
        "pod": "pod",
        "level": "level",
        "message": "_raw",
    },
}
"""`opentelemetry`: as Splunk's OpenTelemetry Collector sends logs; `kubernetes`: as Splunk Connect
for Kubernetes did."""


class SplunkSettings(ConnectorSettings):
    """Address, credentials and fields of one Splunk search head."""

    url: str = Field(default=DEFAULT_URL, min_length=1, max_length=2048)
    """Of the management port, 8089; not of Splunk Web."""
    indexes: tuple[str, ...] = ()
    """Indexes to search, `*` allowed; none: those that the user's roles search by default."""
    sourcetypes: tuple[str, ...] = ()
    preset: Preset = "plain"
    fields: Mapping[Role, str] = {}
    """Own field names by role, instead of the preset's."""
    search_timeout_s: float = Field(default=20.0, gt=0, le=600)
    """For a whole search: dispatch, waiting, all pages. Then it is cancelled at the server."""
    page_size: int = Field(default=5000, ge=1, le=50_000)
    """Results a request; 50,000 is Splunk's own default bound (`maxresultrows`)."""
    web_url: str | None = Field(default=None, max_length=2048)
    """Address of Splunk Web, for links: `https://splunk.example.com:8000`."""

    @field_validator("indexes")
    @classmethod
    def _are_indexes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _INDEX.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is not an index name; write for example app-*")
        return names

    @field_validator("sourcetypes")
    @classmethod
    def _are_sourcetypes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _SOURCETYPE.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is not a source type; write for example log4j")
        return names

    @field_validator("fields")
    @classmethod
    def _are_fields(cls, fields: Mapping[Role, str]) -> Mapping[Role, str]:
        for role, name in fields.items():
            if not _FIELD.fullmatch(name):
                raise ValueError(f"{name[:60]!r} cannot be the field of the {role}")
        return fields

    @property
    def field_of(self) -> Mapping[Role, str]:
        """Field names by role; a role that events do not have is missing."""
        return {**PRESETS[self.preset], **self.fields}
