"""Posted changes: proof of the sender, bounds, repeated deliveries, hostile content."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import StoreUnavailable
from it_incident_response.integrations.change_payloads import ServiceNames
from it_incident_response.servers import Intake, create_app
from it_incident_response.servers.changes import BODY_BYTES_MAX, ChangeDoor
from tests.unit.servers.conftest import CHECKS, JSON, server_settings

SECRET = "it's a secret"
PUSH = {
    "ref": "refs/heads/main",
    "after": "a" * 40,
    "repository": {
        "full_name": "acme/checkout",
        "default_branch": "main",
        "pushed_at": 1769860000,
    },
    "commits": [
        {
            "id": "a" * 40,
            "message": "Raise the pool\n\nbecause",
            "url": "https://github.com/acme/checkout/commit/a",
            "author": {"name": "Al", "username": "al"},
            "modified": ["pool.py"],
            "added": [],
            "removed": ["old.py"],
        }
    ],
}


class FakeStore:
    def __init__(self) -> None:
        self.told: list[Change] = []
        self.failure: Exception | None = None

    async def add_changes(self, changes: Any, received_at: Any) -> None:
        if self.failure:
            raise self.failure
        self.told += changes


@pytest.fixture
def told() -> FakeStore:
    return FakeStore()


@pytest.fixture
def door(inbox, clock, told):
    @asynccontextmanager
    async def run(
        secrets: dict[str, str] | None = None, **server: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        async with Intake(inbox, clock) as intake:
            secret = {name: SecretStr(text) for name, text in (secrets or {}).items()}
            changes = ChangeDoor(told, ServiceNames({"acme/checkout": "shop-checkout"}), secret)
            app = create_app(
                intake, settings=server_settings(**server), checks=CHECKS, changes=changes
            )
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:9095"
            ) as client:
                yield client

    return run


def _signed(body: bytes, secret: str = SECRET, event: str = "push") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, sha256).hexdigest()
    return JSON | {"x-hub-signature-256": f"sha256={digest}", "x-github-event": event}


async def test_a_signed_push_is_stored_commit_by_commit(door, told) -> None:
    body = orjson.dumps(PUSH)
    async with door({"github": SECRET}) as client:
        answer = await client.post("/api/v1/changes/github", content=body, headers=_signed(body))
    assert (answer.status_code, answer.json()) == (200, {"status": "stored", "changes": 1})
    (change,) = told.told
    assert change.change_id == f"github:acme/checkout:commit:{'a' * 40}"
    assert (change.entity.name, change.summary, change.author) == (
        "shop-checkout",
        "Raise the pool",
        "al",
    )
    assert change.files == ("pool.py", "old.py")
    assert change.at.timestamp() == 1769860000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256=\u00e9".encode("latin-1")},
        {"authorization": f"Bearer {SECRET}"},
    ],
)
async def test_an_unproven_body_is_refused_and_not_read(door, told, headers) -> None:
    async with door({"github": SECRET}) as client:
        answer = await client.post(
            "/api/v1/changes/github",
            content=b"no json at all",
            headers=JSON | {"x-github-event": "push"} | headers,
        )
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert told.told == []


async def test_a_signature_covers_the_very_bytes(door, told) -> None:
    body = orjson.dumps(PUSH)
    async with door({"github": SECRET}) as client:
        answer = await client.post(
            "/api/v1/changes/github", content=body + b" ", headers=_signed(body)
        )
    assert answer.status_code == 401
    assert told.told == []


@pytest.mark.parametrize(("token", "status"), [(SECRET, 200), ("wrong", 401), (SECRET + "x", 401)])
async def test_gitlab_proves_itself_by_its_token(door, told, token, status) -> None:
    body = orjson.dumps(
        {
            "object_kind": "deployment",
            "status": "success",
            "status_changed_at": "2026-01-31 12:30:00 +0100",
            "deployment_id": 15,
            "environment": "production",
            "ref": "main",
            "commit_url": "https://gitlab.example/acme/shop/-/commit/" + "b" * 40,
            "commit_title": "Add a cache",
            "user": {"username": "eve"},
            "project": {"path_with_namespace": "acme/shop"},
        }
    )
    async with door({"gitlab": SECRET}) as client:
        answer = await client.post(
            "/api/v1/changes/gitlab", content=body, headers=JSON | {"x-gitlab-token": token}
        )
    assert answer.status_code == status
    if status == 200:
        (change,) = told.told
        assert change.summary == "acme/shop main to production: success (Add a cache)"
        assert change.version == "b" * 40
        assert change.at.isoformat() == "2026-01-31T11:30:00+00:00"


async def test_a_sender_without_secret_needs_the_servers_credentials(door, told) -> None:
    body = orjson.dumps({"service": "shop", "version": "2"})
    async with door(authorization={"credentials": "key"}) as client:
        for path in ("github", "gitlab", "argocd", "flags", "generic"):
            answer = await client.post(f"/api/v1/changes/{path}", content=body, headers=JSON)
            assert answer.status_code == 401
        answer = await client.post(
            "/api/v1/changes/generic",
            content=body,
            headers=JSON | {"authorization": "Bearer key"},
        )
    assert answer.status_code == 200
    assert len(told.told) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("generic", b"{", 400),
        ("generic", b"\xff\xfe", 400),
        ("generic", b"[" * 100_000, 400),
        ("generic", b"[1]", 400),
        ("generic", b'{"service": "x"}', 400),
        ("generic", b'{"version": "1", "at": "yesterday"}', 400),
        ("generic", b'{"version": "1", "at": "2999-01-01T00:00:00Z"}', 400),
        ("generic", b'{"version": "1", "sevrice": "x"}', 400),
        ("generic", b"x" * (BODY_BYTES_MAX + 1), 413),
        ("github", b"[]", 400),
        ("github", b"{}", 400),
        ("argocd", b"{}", 400),
        ("flags", b'{"a": 1}', 400),
    ],
)
async def test_a_body_that_makes_no_sense_says_why(door, told, path, body, status) -> None:
    async with door() as client:
        answer = await client.post(
            f"/api/v1/changes/{path}", content=body, headers=JSON | {"x-github-event": "push"}
        )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert told.told == []


async def test_events_that_change_nothing_are_acknowledged(door, told) -> None:
    async with door() as client:
        for event in ("ping", "issues", "star"):
            body = orjson.dumps(PUSH)
            answer = await client.post(
                "/api/v1/changes/github", content=body, headers=JSON | {"x-github-event": event}
            )
            assert (answer.status_code, answer.json()["status"]) == (200, "ignored")


async def test_a_store_that_is_down_asks_to_send_again(door, told) -> None:
    told.failure = StoreUnavailable("the database is down")
    async with door() as client:
        answer = await client.post(
            "/api/v1/changes/generic", content=b'{"version": "1"}', headers=JSON
        )
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_without_a_door_there_is_no_such_path(receiver) -> None:
    async with receiver() as client:
        answer = await client.post("/api/v1/changes/generic", content=b"{}", headers=JSON)
    assert answer.status_code == 404
