"""The cheap calls of `iir config check`: what each system is asked and how failures are told."""

import asyncio

import httpx
import pytest

from it_incident_response.errors import ConnectorError, ConnectorRejected, ConnectorUnavailable
from it_incident_response.integrations.reachability import check_http, check_ssh, measured
from it_incident_response.ports import Health
from it_incident_response.ports.registry import Surroundings

ANSWERS = {
    "grafana": {"/api/health": {"version": "12.1.0"}, "/api/org": {"id": 1}},
    "jira": {"/rest/api/2/serverInfo": {"version": "10.3"}, "/rest/api/2/myself": {"name": "x"}},
    "prometheus": {"/api/v1/status/buildinfo": {"status": "success", "data": {"version": "3.1"}}},
}
VERSIONS = {
    "grafana": "12.1.0",
    "jira": "10.3",
    "prometheus": "3.1",
}


def world(kind, asked, status=None):
    def answer(request):
        asked.append((request.url.path, request.headers.get("authorization")))
        if status and request.url.path in status:
            return httpx.Response(status[request.url.path], json={})
        return httpx.Response(200, json=ANSWERS[kind][request.url.path])

    return Surroundings(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("kind", sorted(ANSWERS))
async def test_each_system_tells_its_version_and_sees_the_credentials(kind):
    asked = []
    fields = {"url": "http://x", "bearer_token": "t", "attempts": 1}
    health = await check_http(kind, fields, world(kind, asked))
    assert health.version == VERSIONS[kind]
    assert asked == [(path, "Bearer t") for path in ANSWERS[kind]]


@pytest.mark.parametrize(
    ("kind", "path"), [("grafana", "/api/org"), ("jira", "/rest/api/2/myself")]
)
async def test_wrong_credentials_are_noticed_where_the_version_is_public(kind, path):
    fields = {"url": "http://x", "bearer_token": "t", "attempts": 1}
    with pytest.raises(ConnectorRejected):
        await check_http(kind, fields, world(kind, [], {path: 401}))


async def test_without_credentials_only_the_public_call_is_made():
    asked = []
    await check_http("grafana", {"url": "http://x", "attempts": 1}, world("grafana", asked))
    assert asked == [("/api/health", None)]


async def test_a_strange_answer_gives_no_version():
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=[]))
    health = await check_http("jira", {"url": "http://x"}, Surroundings(transport=transport))
    assert health.version is None


async def serve(greeting):
    async def handle(reader, writer):
        writer.write(greeting)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n", b"", b"x" * 20_000, b"SSH-2.0-\x1b[2J\n"]
)
async def test_something_else_than_ssh_is_noticed(greeting):
    async with await serve(greeting) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectorError, match="not as an SSH server"):
            await check_ssh("127.0.0.1", port)


async def test_a_closed_port_is_unavailable():
    with pytest.raises(ConnectorUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
        await check_ssh("127.0.0.1", 9)


async def test_a_silent_system_costs_no_more_than_the_budget():
    async def silent() -> Health:
        await asyncio.Event().wait()
        raise AssertionError

    reading = await measured(silent, budget_s=0.01)
    assert reading.is_working is False
    assert reading.wrong == "no answer within 0.01 s"
    assert reading.mend
