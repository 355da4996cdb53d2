"""A stand-in for either server: answers by path, keeps what it was asked."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.integrations._elasticsearch_api import _LENIENT, _parts
from it_incident_response.integrations._elasticsearch_fields import names_to_ask
from it_incident_response.integrations._elasticsearch_presets import candidate_fields
from it_incident_response.integrations.elasticsearch_client import (
    ElasticsearchIncidentDetector,
    ElasticsearchSettings,
)
from tests.unit.integrations.support import FakeServer, StillClock, surroundings

URL = "http://search.invalid:9200"
START = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
HOUR = TimeWindow(start=START, end=START + timedelta(hours=1))
DATE = {"date": {"type": "date", "searchable": True, "aggregatable": True}}
KEYWORD = {"keyword": {"type": "keyword", "searchable": True, "aggregatable": True}}
TEXT = {"text": {"type": "text", "searchable": True, "aggregatable": False}}
LONG = {"long": {"type": "long", "searchable": True, "aggregatable": True}}
ECS_FIELDS: dict[str, Any] = {
    "@timestamp": DATE,
    "message": TEXT,
    "log.level": KEYWORD,
    "service.name": KEYWORD,
    "host.name": KEYWORD,
}

Answer = Mapping[str, Any] | bytes | httpx.Response | Callable[[httpx.Request], Any]


def hit(seconds: float = 1, **source: Any) -> dict[str, Any]:
    """Return a hit as a search with `_source` and a sort gives it."""
    at = START + timedelta(seconds=seconds)
    return {
        "_source": {"@timestamp": at.isoformat(), **source},
        "sort": [round(at.timestamp() * 1000), 7],
    }


def hits(*found: Any, **more: Any) -> dict[str, Any]:
    """Return the reply to a search."""
    shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
    return {"timed_out": False, "_shards": shards, "hits": {"hits": list(found)}} | more


class Cluster(FakeServer):
    """Answers `_field_caps`, `_search` and points in time."""

    def __init__(
        self,
        *searches: Answer,
        fields: Mapping[str, Any] | None = None,
        distribution: str = "opensearch",
        version: str = "3.4.0",
    ) -> None:
        super().__init__(self._answer)
        self.fields = ECS_FIELDS if fields is None else fields
        self.indices = ["logs-a"]
        self.searches = list(searches)
        self.distribution = distribution
        self.version = version

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all searches."""
        searches = [r for r in self.requests if r.url.path.endswith("/_search")]
        return [json.loads(request.content) for request in searches]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/":
            return self._json({"version": self._version()})
        if path.endswith("_field_caps"):
            return self._json({"indices": self.indices, "fields": self.fields})
        if path.endswith(("point_in_time", "_pit")):
            return self._json({"pit_id": "p", "id": "p", "pits": [], "succeeded": True})
        found = self.searches[0] if len(self.searches) == 1 else self.searches.pop(0)
        return self._json(found(request) if callable(found) else found)

    def _version(self) -> dict[str, str]:
        named = {"distribution": "opensearch"} if self.distribution == "opensearch" else {}
        return {"number": self.version} | named

    def _json(self, answer: Any) -> httpx.Response:
        if isinstance(answer, httpx.Response | Exception):
            if isinstance(answer, Exception):
                raise answer
            return answer
        product = {"X-Elastic-Product": "Elasticsearch"}
        headers = product if self.distribution == "elasticsearch" else {}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return httpx.Response(200, content=content, headers=headers)


def detector(
    cluster: Cluster, clock: StillClock | None = None, **settings: Any
) -> ElasticsearchIncidentDetector:
    """Return the client of a cluster; nothing is tried twice unless the test says so."""
    given = {"url": URL, "attempts": 1} | settings
    return ElasticsearchIncidentDetector(
        settings=ElasticsearchSettings.model_validate(given),
        surroundings=surroundings(cluster, clock),
    )


def field_caps_requests() -> list[str]:
    """Return the requests by which the mapping of `logs-*` is asked for at OpenSearch."""
    names = names_to_ask(candidate_fields("auto", {}))
    flags = {"include_unmapped": "true"} | _LENIENT
    return [
        f"POST /logs-*/_field_caps?{httpx.QueryParams({'fields': part} | flags)}"
        for part in _parts(names)
    ]
