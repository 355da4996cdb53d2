"""Links to the same lines in Kibana's or OpenSearch Dashboards' Discover."""

from collections.abc import Sequence
from urllib.parse import quote

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.integrations._elasticsearch_fields import Field, Layout
from it_incident_response.integrations._elasticsearch_query import instant
from it_incident_response.integrations._elasticsearch_settings import ElasticsearchSettings
from it_incident_response.ports.sources import LogQuery

_NAMES_MAX = 20
_KEPT = "!(),:*'"
"""What RISON, the notation of these links, is written with."""


def discover_link(
    settings: ElasticsearchSettings, distribution: str, query: LogQuery, layout: Layout
) -> str | None:
    """Return the page that shows the query's lines; None without `kibana_url`.

    The level is left out where it is not a text field: the page shows more lines then.
    """
    if settings.kibana_url is None:
        return None
    span = f"(from:{_text(instant(query.window.start))},to:{_text(instant(query.window.end))})"
    search = f"(language:kuery,query:{_text(_kql(query, layout))})"
    view = settings.kibana_data_view
    if distribution == "opensearch":
        chosen = f"metadata:(indexPattern:{_text(view)},view:discover)" if view else ""
        state = f"_g=(time:{span})&_q=(query:{search})" + (f"&_a=({chosen})" if view else "")
        return f"{settings.kibana_url}/app/data-explorer/discover#?{state}"
    index = f"index:{_text(view)}," if view else ""
    return f"{settings.kibana_url}/app/discover#/?_g=(time:{span})&_a=({index}query:{search})"


def _kql(query: LogQuery, layout: Layout) -> str:
    parts = [
        _any(layout.of("service"), query.services),
        _any(layout.of("host"), query.hosts),
        _any(layout.of("pod"), query.pods),
        _any(layout.of("trace"), [query.trace_id] if query.trace_id else []),
        _any(layout.of("message"), [query.contains] if query.contains else []),
    ]
    if query.minimum_level in (LogLevel.ERROR, LogLevel.FATAL):
        spellings = ["error", "ERROR", "fatal", "FATAL", "critical", "CRITICAL"]
        wanted = spellings if query.minimum_level is LogLevel.ERROR else spellings[2:]
        parts.append(_any(layout.of("level")[:1], wanted))
    return " and ".join(part for part in parts if part)


def _any(fields: Sequence[Field], values: Sequence[str]) -> str:
    if not fields or not values:
        return ""
    wanted = " or ".join(_quoted(value) for value in values[:_NAMES_MAX])
    return "(" + " or ".join(f"{field.name}:({wanted})" for field in fields[:3]) + ")"


def _quoted(value: str) -> str:
    escaped = value[:200].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(text: str) -> str:
    """Return a RISON string, fit for the fragment of a URL."""
    escaped = text.replace("!", "!!").replace("'", "!'")
    return quote(f"'{escaped}'", safe=_KEPT)
