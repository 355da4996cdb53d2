"""The receiver on a real socket: ports, TLS, slow and rude clients, an orderly end."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from it_incident_response.errors import ConfigError
from it_incident_response.servers import Intake, create_app, listening, receiving, serving
from tests.unit.servers.conftest import CHECKS, JSON, WEBHOOK, server_settings, webhook


@pytest.fixture
def served(inbox, clock):
    """`async with served(**server settings) as url`."""

    @asynccontextmanager
    async def run(**server):
        settings = server_settings(**{"port": 0, **server})
        async with Intake(inbox, clock) as intake:
            app = create_app(intake, settings=settings, checks=CHECKS)
            async with serving(app, settings) as url:
                yield url

    return run


async def talk(url, *parts, until_closed=True):
    """Send raw bytes; return everything that comes back until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_port_0_is_told_and_serves(served, inbox):
    async with served() as url:
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(":0")
        async with httpx.AsyncClient() as client:
            answer = await client.post(url + WEBHOOK, content=webhook("A"), headers=JSON)
            assert answer.status_code == 200
            assert "server" not in answer.headers
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as client:
            await client.get(url + "/healthz")
    assert len(inbox.stored) == 1


async def test_a_taken_port_is_a_clear_error(served):
    async with served() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already"
        ):
            async with served(port=port):
                pass


async def test_an_address_that_is_not_ours_is_a_clear_error(served):
    with pytest.raises(ConfigError, match="cannot listen on"):
        async with served(host="192.0.2.1", authorization={"credentials": "t"}):
            pass


async def test_beyond_loopback_it_refuses_to_start_without_credentials(served):
    with pytest.raises(ConfigError, match="for anyone"):
        async with served(host="0.0.0.0"):
            pass


async def test_an_error_inside_the_block_comes_out_as_it_is(served):
    with pytest.raises(ConfigError, match="mine"):
        async with served():
            raise ConfigError("mine")


async def test_at_the_end_running_requests_are_stored_and_answered(served, inbox, eventually):
    inbox.gate.clear()
    async with httpx.AsyncClient() as client:
        async with served() as url:
            posting = asyncio.create_task(
                client.post(url + WEBHOOK, content=webhook("A"), headers=JSON)
            )
            await eventually(lambda: inbox.calls == 1, 5, "the request is being stored")
            asyncio.get_running_loop().call_later(0.05, inbox.gate.set)
        answer = await posting
    assert answer.status_code == 200
    assert len(inbox.stored) == 1


async def test_a_client_that_never_sends_its_head_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(listening, "HEAD_WITHIN_S", 0.05)
    async with served() as url:
        for beginning in (b"", b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: loc"):
            assert await talk(url, beginning) == b""
        async with httpx.AsyncClient() as client:  # A second request on one connection.
            for _ in range(2):
                assert (await client.get(url + "/healthz")).status_code == 200


async def test_a_client_that_never_sends_its_body_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(receiving, "DISCARD_WITHIN_S", 0.05)
    head = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    async with served(request_timeout=0.05) as url:
        assert (await talk(url, head)).startswith(b"HTTP/1.1 408 ")


async def test_an_endless_head_is_cut_off(served):
    async with served() as url:
        answer = await talk(
            url,
            b"GET /healthz HTTP/1.1\r\n",
            *(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(20)),
        )
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
        async with httpx.AsyncClient() as client:
            assert (await client.get(url + "/healthz")).status_code == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_is_refused_and_the_server_stays_up(
    served, request_line, monkeypatch
):
    monkeypatch.setattr(listening, "HEAD_WITHIN_S", 0.1)
    monkeypatch.setattr(receiving, "DISCARD_WITHIN_S", 0.1)
    async with served(request_timeout=0.1) as url:
        answer = await talk(url, request_line)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
        async with httpx.AsyncClient() as client:
            assert (await client.get(url + "/healthz")).status_code == 200


async def test_50_megabytes_are_refused_by_default_and_the_sender_learns_why(served, inbox):
    async def body():
        for _ in range(50):
            yield b" " * 1_000_000

    async with served() as url, httpx.AsyncClient() as client:
        for content in (body(), b" " * 50_000_000):
            answer = await client.post(url + WEBHOOK, content=content, headers=JSON)
            assert answer.status_code == 413
            assert "20,000,000 bytes" in answer.json()["detail"]
        assert (await client.get(url + "/healthz")).status_code == 200
    assert inbox.stored == []


async def test_without_credentials_a_large_body_still_gets_its_answer(served):
    async with served(authorization={"credentials": "t"}) as url, httpx.AsyncClient() as client:
        answer = await client.post(url + WEBHOOK, content=b" " * 10_000_000, headers=JSON)
    assert answer.status_code == 401


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "iir test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"cert_file": str(cert_file), "key_file": str(key_file)}


async def test_tls(served, certificate):
    context = ssl.create_default_context(cafile=certificate["cert_file"])
    async with served(tls=certificate) as url, httpx.AsyncClient(verify=context) as client:
        assert url.startswith("https://")
        answer = await client.post(url + WEBHOOK, content=webhook("A"), headers=JSON)
        assert answer.status_code == 200


async def test_an_unusable_certificate_is_a_clear_error(served, certificate, tmp_path):
    (tmp_path / "junk").write_text("junk")
    for broken in ({"cert_file": str(tmp_path / "junk")}, {"key_file": str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match=r"server\.tls: .* cannot be used"):
            async with served(tls={**certificate, **broken}):
                pass
