"""How Elasticsearch or OpenSearch is reached, and in which fields its documents keep what."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from it_incident_response.integrations.connector import ConnectorSettings

NAME = "elasticsearch"
DEFAULT_URL = "http://localhost:9200"
_INDEX_PATTERN = re.compile(r"[^\s/?#\"\\|\x00-\x1f\x7f]{1,1000}")
_FIELD = re.compile(r"[^\s\x00-\x1f\x7f*]{1,200}")

Role = Literal[
    "timestamp", "message", "level", "service", "host", "pod", "trace", "stack", "attributes"
]
"""What a field is read for."""

Distribution = Literal["auto", "elasticsearch", "opensearch"]
Preset = Literal["auto", "ecs", "opentelemetry", "fluent-bit"]
NumericLevels = Literal["auto", "syslog", "opentelemetry", "pino", "python"]


class ElasticsearchSettings(ConnectorSettings):
    """Address, credentials and field mapping of one cluster."""

    url: str = Field(default=DEFAULT_URL, min_length=1, max_length=2048)
    index_pattern: str = "logs-*"
    """Indices, aliases or data streams to read, as in the `_search` API: `logs-*,-logs-old`."""
    distribution: Distribution = "auto"
    """Which of the two it is; `auto` asks it once (`GET /`)."""
    preset: Preset = "auto"
    """Which layout the documents have; `auto` tries the fields of all of them."""
    fields: Mapping[Role, tuple[str, ...]] = {}
    """Own field names by role, tried before those of the preset."""
    numeric_levels: NumericLevels = "auto"
    """What a level that is a number means; `auto` goes by the field's name and the number."""
    page_size: int = Field(default=6000, ge=1, le=10_000)
    """Documents a request: the usual 5,000 lines come in one. 10,000 is the servers' own bound."""
    time_budget_s: float = Field(default=20.0, gt=0, le=600)
    """After so long a search over several pages ends with what it has, and says so."""
    kibana_url: str | None = Field(default=None, max_length=2048)
    """Address of Kibana or OpenSearch Dashboards, for links."""
    kibana_data_view: str | None = Field(default=None, max_length=200)
    """Id of the data view (index pattern) that links open; None opens the default one."""

    @field_validator("index_pattern")
    @classmethod
    def _is_an_index_pattern(cls, pattern: str) -> str:
        if not _INDEX_PATTERN.fullmatch(pattern) or pattern.startswith(("_", "-", ",")):
            raise ValueError('write index names, such as "logs-*" or "app-*,-app-old"')
        return pattern

    @field_validator("fields", mode="before")
    @classmethod
    def _are_fields(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        return {role: _names(names) for role, names in fields.items()}

    @field_validator("kibana_url")
    @classmethod
    def _is_a_page(cls, url: str | None) -> str | None:
        return None if url is None else cls._is_a_web_address(url)

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text; of `ApiKey abc` also what follows the scheme."""
        whole = super().secrets()
        return whole + tuple(tail for text in whole if (tail := text.partition(" ")[2]))


def api_key_header(api_key: str | SecretStr) -> dict[str, SecretStr]:
    """Return the request header that an encoded API key is sent in."""
    text = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    return {"Authorization": SecretStr(f"ApiKey {text}")}


def _names(names: Any) -> Any:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list | tuple) or len(listed) > 20:
        raise ValueError("write one field name, or a list of at most 20")
    if bad := [name for name in listed if not isinstance(name, str) or not _FIELD.fullmatch(name)]:
        raise ValueError(f"{str(bad[0])[:60]!r} is not a field name")
    return tuple(listed)
