"""The one place that speaks HTTP: what is retried, what is told, what is never shown."""

import asyncio
import gzip
import ssl

import httpx
import pytest

from it_incident_response.errors import (
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations._http import HttpRequest
from it_incident_response.integrations._replies import retry_after_s
from tests.unit.integrations.support import NOW, FakeServer, http_client

GET = HttpRequest("GET", "/api")


def broken_off() -> httpx.Response:
    async def body():
        yield b'{"a": '
        raise httpx.RemoteProtocolError("peer closed connection without sending complete body")

    return httpx.Response(200, content=body())


async def test_an_answer_is_decoded():
    client, _ = http_client(FakeServer(httpx.Response(200, json={"a": 1})))
    assert await client.json(GET) == {"a": 1}
    empty, _ = http_client(FakeServer(httpx.Response(200)))
    assert await empty.json(GET) is None


async def test_the_path_of_the_url_is_a_prefix():
    server = FakeServer(httpx.Response(200, json={}))
    client, _ = http_client(server, url="http://mon.invalid/team a/prom/".replace(" ", "%20"))
    await client.json(HttpRequest("GET", "/api/v1/query", (("query", "a b&c"),)))
    assert server.paths == ["GET /team%20a/prom/api/v1/query?query=a+b%26c"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_repeated_and_then_unavailable(status):
    server = FakeServer(lambda _: httpx.Response(status, text="busy"))
    client, clock = http_client(server, attempts=3)
    with pytest.raises(ConnectorUnavailable, match=rf"fake: GET /api answered {status}: busy"):
        await client.json(GET)
    assert len(server.requests) == 3
    assert len(clock.slept) == 2
    assert all(0 <= pause <= 3 for pause in clock.slept)


async def test_a_passing_failure_goes_unnoticed():
    server = FakeServer(
        httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(200, json=7)
    )
    client, _ = http_client(server)
    assert await client.json(GET) == 7


async def test_what_does_something_is_never_repeated():
    server = FakeServer(lambda _: httpx.Response(503))
    client, _ = http_client(server)
    with pytest.raises(ConnectorUnavailable):
        await client.json(HttpRequest("POST", "/silences", json={}, is_repeatable=False))
    assert len(server.requests) == 1


async def test_retry_after_is_honoured():
    server = FakeServer(
        httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200, json=1)
    )
    client, clock = http_client(server)
    assert await client.json(GET) == 1
    assert 7 <= clock.slept[0] <= 8


async def test_a_long_retry_after_is_reported_at_once():
    server = FakeServer(lambda _: httpx.Response(429, headers={"Retry-After": "3600"}))
    client, clock = http_client(server)
    with pytest.raises(ConnectorUnavailable) as caught:
        await client.json(GET)
    assert caught.value.retry_after_s == 3600
    assert clock.slept == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        ("Mon, 23 Nov 2026 10:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value, seconds):
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 422])
async def test_a_refusal_is_final_and_in_the_servers_own_words(status):
    body = {"status": "error", "errorType": "bad_data", "error": "1:2: parse error"}
    server = FakeServer(httpx.Response(status, json=body))
    client, _ = http_client(server)
    with pytest.raises(ConnectorRejected, match="1:2: parse error") as caught:
        await client.json(GET)
    assert len(server.requests) == 1
    assert caught.value.status == status


async def test_a_redirect_is_not_followed():
    target = "https://user:geheim@sso.invalid/login"
    server = FakeServer(httpx.Response(302, headers={"Location": target}))
    client, _ = http_client(server)
    with pytest.raises(ConnectorRejected, match=r"redirected \(302\) to https://sso") as caught:
        await client.json(GET)
    assert "geheim" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, html="<html><body>Log in</body></html>"), "web page"),
        (httpx.Response(200, content=b"\n <!DOCTYPE html>"), "web page"),
        (httpx.Response(200, content=b'{"a": [1, 2'), "broken or truncated JSON"),
        (httpx.Response(200, content=b"\xff\xfe"), "broken or truncated JSON"),
        (httpx.Response(200, content=b"[" * 5000), "broken or truncated JSON"),
    ],
)
async def test_no_json_is_an_invalid_reply(answer, words):
    client, _ = http_client(FakeServer(answer))
    with pytest.raises(ConnectorReplyInvalid, match=words):
        await client.json(GET)


async def test_a_body_that_breaks_off_is_an_invalid_reply():
    client, _ = http_client(FakeServer(lambda _: broken_off()))
    with pytest.raises(ConnectorReplyInvalid, match="broke off"):
        await client.json(GET)


async def test_a_reply_is_bounded_also_when_it_is_compressed():
    bomb = gzip.compress(b" " * 5_000_000)
    headers = {"Content-Encoding": "gzip"}
    server = FakeServer(lambda _: httpx.Response(200, content=bomb, headers=headers))
    client, _ = http_client(server, response_bytes_max=100_000)
    with pytest.raises(ConnectorReplyInvalid, match="longer than 100000 bytes"):
        await client.json(GET)


async def test_garbled_compression_is_an_invalid_reply():
    def garbled(_):
        async def body():
            yield b"not gzip"

        return httpx.Response(200, content=body(), headers={"Content-Encoding": "gzip"})

    client, _ = http_client(FakeServer(garbled))
    with pytest.raises(ConnectorReplyInvalid):
        await client.json(GET)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ProxyError("proxy"),
    ],
)
async def test_no_answer_is_unavailable(error):
    client, _ = http_client(FakeServer(error), attempts=1)
    with pytest.raises(ConnectorUnavailable, match=r"http://mon\.invalid:9090"):
        await client.json(GET)


async def test_a_server_that_trickles_is_given_up():
    async def answer():
        yield b"["
        await asyncio.Event().wait()

    server = FakeServer(lambda _: httpx.Response(200, content=answer()))
    client, _ = http_client(server, timeout_s=0.05, attempts=1)
    with pytest.raises(ConnectorUnavailable, match=r"no answer within 0\.05 s"):
        await client.json(GET)


async def test_an_untrusted_certificate_is_for_the_operator():
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    server = FakeServer(error)
    client, _ = http_client(server)
    with pytest.raises(ConnectorRejected, match="not trusted") as caught:
        await client.json(GET)
    assert "ca_file" in caught.value.hint
    assert len(server.requests) == 1


async def test_after_five_failures_it_is_not_asked_until_it_has_rested():
    server = FakeServer(lambda _: httpx.Response(503))
    client, clock = http_client(server, attempts=1)
    for _ in range(5):
        with pytest.raises(ConnectorUnavailable, match="503"):
            await client.json(GET)
    with pytest.raises(ConnectorUnavailable, match="not asked"):
        await client.json(GET)
    assert len(server.requests) == 5
    server.answers = [httpx.Response(200, json="well")]
    clock.move(5)
    assert await client.json(GET) == "well"


async def test_refusals_do_not_open_the_circuit():
    server = FakeServer(lambda _: httpx.Response(400))
    client, _ = http_client(server)
    for _ in range(20):
        with pytest.raises(ConnectorRejected):
            await client.json(GET)
    assert len(server.requests) == 20


SECRETS = {
    "bearer_token": "tok-geheim-1",
    "headers": {"X-Api-Key": "key-geheim-2"},
}


async def test_credentials_are_sent_and_never_shown():
    echo = FakeServer(lambda request: httpx.Response(403, text=str(dict(request.headers))))
    client, _ = http_client(echo, **SECRETS)
    with pytest.raises(ConnectorRejected) as caught:
        await client.json(GET)
    sent = echo.requests[0].headers
    assert sent["Authorization"] == "Bearer tok-geheim-1"
    assert sent["X-Api-Key"] == "key-geheim-2"
    assert "***" in str(caught.value), "the server's echo is shown, without the secrets"
    assert "geheim" not in str(caught.value)


async def test_basic_auth_from_the_url_is_sent_and_the_url_shown_without_it():
    server = FakeServer(httpx.ConnectError("refused"))
    client, _ = http_client(server, url="http://ops:ge%40heim@mon.invalid", attempts=1)
    with pytest.raises(ConnectorUnavailable) as caught:
        await client.json(GET)
    assert server.requests[0].headers["Authorization"] == "Basic b3BzOmdlQGhlaW0="
    assert "http://mon.invalid cannot be reached" in str(caught.value)
    assert "heim" not in str(caught.value)


async def test_control_characters_of_a_server_do_not_reach_the_terminal():
    text = "\x1b[2J\x1b]0;owned\x07 line\r\nnext \u202e" + "x" * 5000
    client, _ = http_client(FakeServer(httpx.Response(400, text=text)))
    with pytest.raises(ConnectorRejected) as caught:
        await client.json(GET)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_one_client_serves_several_event_loops():
    client, _ = http_client(FakeServer(httpx.Response(200, json=1)))

    async def once():
        try:
            return await client.json(GET)
        finally:
            await client.aclose()

    assert [asyncio.run(once()) for _ in range(3)] == [1, 1, 1]


def test_connections_end_with_the_event_loop_they_were_made_in():
    client, _ = http_client(FakeServer(httpx.Response(200, json=1)))
    inner = []

    async def once():
        await client.json(GET)
        inner.append(await client._client())
        assert not inner[0].is_closed

    asyncio.run(once())
    assert inner[0].is_closed


async def test_tls_files_that_cannot_be_used_are_a_configuration_error(tmp_path):
    from it_incident_response.errors import ConfigError

    nothing = tmp_path / "ca.pem"
    nothing.write_text("no certificate")
    client, _ = http_client(FakeServer(), url="https://mon.invalid", ca_file=nothing)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        await client.json(GET)
    missing = tmp_path / "absent.pem"
    client, _ = http_client(FakeServer(), url="https://mon.invalid", ca_file=missing)
    with pytest.raises(ConfigError, match=r"absent\.pem: No such file"):
        await client.json(GET)


async def test_a_private_key_that_everyone_can_read_is_refused(tmp_path):
    from it_incident_response.errors import ConfigError

    key = tmp_path / "key.pem"
    key.write_text("key")
    key.chmod(0o644)
    options = {"cert_file": key, "key_file": key, "url": "https://mon.invalid"}
    client, _ = http_client(FakeServer(), **options)
    with pytest.raises(ConfigError, match="can be read by everyone") as caught:
        await client.json(GET)
    assert "chmod 600" in caught.value.hint


def test_certificates_are_verified_unless_told_otherwise():
    from it_incident_response.integrations._tls import tls_context
    from it_incident_response.integrations.connector import ConnectorSettings

    strict = tls_context("fake", ConnectorSettings(url="https://a.invalid"))
    assert strict.verify_mode is ssl.CERT_REQUIRED
    assert strict.check_hostname
    lax = ConnectorSettings(url="https://a.invalid", insecure_skip_verify=True)
    assert tls_context("fake", lax).verify_mode is ssl.CERT_NONE
