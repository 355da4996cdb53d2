"""TLS for real, on loopback: own authority, server names, client certificates."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from it_incident_response.errors import ConnectorError, ConnectorRejected
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.integrations.connector import ConnectorSettings
from it_incident_response.ports.registry import Surroundings


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed("our authority", self.key, is_ca=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key file for a name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(name, key, is_ca=False))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        key_file.chmod(0o600)
        return certificate, key_file

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("our authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b'"ok"')

    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of handshakes that clients broke off: that is what is tested."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def serving(authority: Authority, *, wants_client_certificate: bool) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("mon.test"))
    if wants_client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)
    server = QuietServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def url(authority: Authority) -> Iterator[str]:
    yield from serving(authority, wants_client_certificate=False)


@pytest.fixture(scope="module")
def strict_url(authority: Authority) -> Iterator[str]:
    yield from serving(authority, wants_client_certificate=True)


async def ask(url: str, **settings: object) -> object:
    given = ConnectorSettings.model_validate({"url": url, "attempts": 1, **settings})
    client = HttpClient("fake", given, Surroundings())
    try:
        return await client.json(HttpRequest("GET", "/"))
    finally:
        await client.aclose()


async def test_an_unknown_authority_is_not_trusted(url):
    with pytest.raises(ConnectorRejected, match="not trusted") as caught:
        await ask(url, server_name="mon.test")
    assert "ca_file" in caught.value.hint


async def test_our_authority_and_the_right_name_are_trusted(url, authority):
    assert await ask(url, ca_file=authority.file, server_name="mon.test") == "ok"


@pytest.mark.parametrize("name", [None, "other.test"])
async def test_another_name_is_not_trusted(url, authority, name):
    with pytest.raises(ConnectorRejected, match="not trusted"):
        await ask(url, ca_file=authority.file, server_name=name)


async def test_verification_can_be_switched_off_for_a_test_system(url):
    assert await ask(url, insecure_skip_verify=True) == "ok"


async def test_a_client_certificate_is_shown_where_one_is_wanted(strict_url, authority):
    trust = {"ca_file": authority.file, "server_name": "mon.test"}
    certificate, key = authority.issue("iir")
    assert await ask(strict_url, cert_file=certificate, key_file=key, **trust) == "ok"
    with pytest.raises(ConnectorError):
        await ask(strict_url, **trust)
