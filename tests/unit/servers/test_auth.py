"""Who may post, and where the receiver may listen."""

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.servers.auth import host_of, is_loopback, refuse_exposure
from tests.unit.servers.conftest import JSON, WEBHOOK, server_settings, webhook

BEARER = {"authorization": {"credentials": "t0ken"}}
BASIC = {"basic_auth": {"username": "am", "password": "päss:word"}}


async def post(client, **headers):
    answer = await client.post(WEBHOOK, content=webhook("A"), headers={**JSON, **headers})
    return answer


@pytest.mark.parametrize("header", ["Bearer t0ken", "bearer t0ken", "BEARER  t0ken "])
async def test_the_bearer_token_opens(receiver, header):
    async with receiver(**BEARER) as client:
        assert (await post(client, authorization=header)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer t0ke",
        "Bearer t0kenx",
        "Bearer T0KEN",
        "Basic t0ken",
        "t0ken",
    ],
)
async def test_anything_else_is_401_and_the_body_is_not_read(receiver, inbox, header):
    async with receiver(**BEARER) as client:
        answer = await post(client, authorization=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="iir"'
    assert answer.headers["connection"] == "close"
    assert "t0ken" not in answer.text
    assert inbox.stored == []


async def test_basic_auth(receiver):
    async with receiver(**BASIC) as client:
        body, auth = webhook("A"), ("am", "päss:word")
        answer = await client.post(WEBHOOK, content=body, headers=JSON, auth=auth)
        assert answer.status_code == 200
        answer = await client.post(WEBHOOK, content=body, headers=JSON, auth=("am", "wrong"))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="iir"'


async def test_counts_need_credentials_and_health_does_not(receiver):
    async with receiver(**BEARER) as client:
        assert (await client.get("/metrics")).status_code == 401
        headers = {"authorization": "Bearer t0ken"}
        assert (await client.get("/metrics", headers=headers)).status_code == 200
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9095", 200),
        ("localhost:9095", 200),
        ("LOCALHOST", 200),
        ("[::1]:9095", 200),
        ("evil.example.com:9095", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("10.0.0.1", 403),
    ],
)
async def test_without_credentials_a_rebound_name_is_refused(receiver, host, status):
    async with receiver() as client:
        assert (await post(client, host=host)).status_code == status
    async with receiver(**BEARER) as client:
        answer = await post(client, host=host, authorization="Bearer t0ken")
        assert answer.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "monitoring.example.com"])
def test_beyond_loopback_credentials_are_needed(host):
    with pytest.raises(ConfigError, match="no credentials are set") as caught:
        refuse_exposure(server_settings(host=host))
    assert "server.authorization" in caught.value.hint
    refuse_exposure(server_settings(host=host, **BEARER))
    refuse_exposure(server_settings(host=host, **BASIC))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_loopback_needs_none(host):
    assert is_loopback(host)
    refuse_exposure(server_settings(host=host))


@pytest.mark.parametrize(
    ("header", "host"),
    [("a:1", "a"), ("[::1]:1", "::1"), ("A", "a"), ("", ""), ("[::1", "::1"), (" a ", "a")],
)
def test_the_host_in_a_header(header, host):
    assert host_of(header) == host
