"""A Grafana with state, written from its published HTTP API: it checks what it is asked.

Tokens and their rights, dashboards, library panels, data sources, `/api/ds/query` with data frames,
the data-source proxy, search, alert rules, annotations. No real Grafana was met.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import httpx

from tests.unit.integrations.support import FakeServer

TOKEN = "glsa_stand-in_4711"
READER = "glsa_reader_0815"
"""A token of role Viewer: it may neither list data sources nor read how rules are kept."""
T0 = 1_795_428_000_000

PROMETHEUS = {
    "id": 1,
    "uid": "prom-1",
    "name": "Prometheus",
    "type": "prometheus",
    "isDefault": True,
    "jsonData": {"timeInterval": "30s"},
}
LOKI = {"id": 2, "uid": "loki-1", "name": "Loki", "type": "loki", "isDefault": False}
SQL = {"id": 3, "uid": "pg-1", "name": "Orders", "type": "postgres", "isDefault": False}


def frame(values: list[Any], *, labels: Mapping[str, str] | None = None, **more: Any) -> dict:
    """Return a frame of one series, a point every 30 s."""
    times = [T0 + 30_000 * n for n in range(len(values))]
    fields = [
        {"name": "Time", "type": "time"},
        {"name": "Value", "type": "number", "labels": labels or {}, "config": {}},
    ]
    data = {"values": [times, values]} | more.pop("data", {})
    return {"schema": {"refId": "A", "fields": fields, "meta": more.pop("meta", {})}, "data": data}


class Grafana(FakeServer):
    """Answers as Grafana does; `answer_query` gives the result of one query."""

    def __init__(self) -> None:
        super().__init__(self._route)
        self.dashboards: dict[str, dict] = {}
        self.library: dict[str, dict] = {}
        self.sources = [PROMETHEUS, LOKI, SQL]
        self.label_values: dict[str, list[str]] = {}
        self.rules: list[dict] = []
        self.groups: list[dict] = []
        self.annotations: list[dict] = []
        self.asked: list[dict] = []
        self.proxied: list[dict[str, str]] = []
        self.has_query_api = True
        self.forced: dict[str, httpx.Response] = {}
        self.answer_query: Callable[[dict], dict] = lambda query: {
            "status": 200,
            "frames": [frame([1.0, 2.0], labels={"job": "shop"})],
        }

    def add(self, uid: str, panels: list[dict], **content: Any) -> None:
        """Keep a dashboard."""
        self.dashboards[uid] = {"uid": uid, "title": uid, "panels": panels} | content

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/api/health":
            return httpx.Response(200, json={"database": "ok", "version": "12.1.0"})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READER):
            return httpx.Response(401, json={"message": "Invalid API key"})
        for start, forced in self.forced.items():
            if path.startswith(start):
                return forced
        for pattern, answer, rights in self._routes():
            found = re.fullmatch(pattern, f"{request.method} {path}")
            if found and rights == "admin" and token == READER:
                return httpx.Response(403, json={"message": "You'll need additional permissions"})
            if found:
                return answer(request, *found.groups())
        return httpx.Response(404, json={"message": "Not found"})

    def _routes(self) -> list[tuple[str, Callable[..., httpx.Response], str]]:
        return [
            (r"GET /api/org", lambda _: httpx.Response(200, json={"id": 1}), ""),
            (r"GET /api/search", self._search, ""),
            (r"GET /api/dashboards/uid/([\w-]+)", self._dashboard, ""),
            (r"GET /api/library-elements/([\w-]+)", self._element, ""),
            (r"GET /api/datasources", lambda _: httpx.Response(200, json=self.sources), "admin"),
            (r"GET /api/frontend/settings", self._settings, ""),
            (r"POST /api/ds/query", self._query, ""),
            (r"GET /api/datasources/proxy/uid/([\w-]+)(/.*)", self._proxy, ""),
            (
                r"GET /api/v1/provisioning/alert-rules",
                lambda _: httpx.Response(200, json=self.rules),
                "admin",
            ),
            (
                r"GET /api/prometheus/grafana/api/v1/rules",
                lambda _: httpx.Response(
                    200, json={"status": "success", "data": {"groups": self.groups}}
                ),
                "",
            ),
            (r"POST /api/annotations", self._annotate, ""),
        ]

    def _search(self, request: httpx.Request) -> httpx.Response:
        params = dict(parse_qsl(request.url.query.decode()))
        assert params["type"] == "dash-db"
        word = params["query"].lower()
        hits = [
            {"uid": uid, "title": d["title"], "url": f"/d/{uid}/x", "type": "dash-db"}
            for uid, d in self.dashboards.items()
            if word in d["title"].lower()
        ]
        return httpx.Response(200, json=hits[: int(params["limit"])])

    def _dashboard(self, request: httpx.Request, uid: str) -> httpx.Response:
        if uid not in self.dashboards:
            return httpx.Response(404, json={"message": "Dashboard not found"})
        content = {"dashboard": self.dashboards[uid], "meta": {"slug": f"slug-of-{uid}"}}
        return httpx.Response(200, json=content)

    def _element(self, request: httpx.Request, uid: str) -> httpx.Response:
        if uid not in self.library:
            return httpx.Response(404, json={"message": "library element could not be found"})
        return httpx.Response(200, json={"result": {"uid": uid, "model": self.library[uid]}})

    def _settings(self, request: httpx.Request) -> httpx.Response:
        named = {source["name"]: source for source in self.sources}
        content = {"datasources": named, "defaultDatasource": "Prometheus"}
        return httpx.Response(200, json=content)

    def _query(self, request: httpx.Request) -> httpx.Response:
        if not self.has_query_api:
            return httpx.Response(404, json={"message": "Not found"})
        body = json.loads(request.content)
        if not body.get("queries") or not str(body.get("from", "")).isdecimal():
            return httpx.Response(400, json={"message": "bad request data"})
        results = {}
        for query in body["queries"]:
            known = {source["uid"]: source["type"] for source in self.sources}
            uid = query["datasource"]["uid"]
            if uid not in known:
                return httpx.Response(404, json={"message": "Data source not found"})
            assert known[uid] == query["datasource"]["type"]
            assert query["intervalMs"] > 0
            assert query["maxDataPoints"] > 0
            self.asked.append(query | {"from": body["from"], "to": body["to"]})
            results[query["refId"]] = self.answer_query(query)
        statuses = {result.get("status", 200) for result in results.values()}
        return httpx.Response(200 if statuses == {200} else 207, json={"results": results})

    def _proxy(self, request: httpx.Request, uid: str, path: str) -> httpx.Response:
        params = dict(parse_qsl(request.url.query.decode()))
        self.proxied.append({"uid": uid, "path": path, **params})
        if found := re.fullmatch(r"/api/v1/label/(\w+)/values", path):
            data: Any = self.label_values.get(found[1], [])
        elif path == "/api/v1/query_range":
            points = [[T0 / 1000, "3"], [T0 / 1000 + 30, "NaN"], [T0 / 1000 + 60, "4"]]
            result = [{"metric": {"__name__": "up", "job": "shop"}, "values": points}]
            data = {"resultType": "matrix", "result": result}
        else:
            return httpx.Response(404, json={"message": "Not found"})
        return httpx.Response(200, json={"status": "success", "data": data})

    def _annotate(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if not body.get("text"):
            return httpx.Response(400, json={"message": "text field should not be empty"})
        if (
            not isinstance(body.get("time"), int)
            or body.get("timeEnd", body["time"]) < body["time"]
        ):
            return httpx.Response(400, json={"message": "bad time"})
        self.annotations.append(body)
        number = len(self.annotations)
        return httpx.Response(200, json={"id": number, "message": "Annotation added"})
