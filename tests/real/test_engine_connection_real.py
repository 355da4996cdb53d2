"""Connections to a real Temporal server: encryption, TLS, and errors that say what to do."""

import asyncio
import base64
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from it_incident_response.errors import (
    ConfigError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.workflow.engine.connection import connect, until_ready
from it_incident_response.workflow.engine.settings import EngineSettings, EngineTls
from tests.real.stack.parked_workflow import QUEUE, Parked, shout
from tests.real.stack.process import free_port
from tests.real.stack.temporal import TemporalServer
from tests.real.stack.waiting import eventually

SECRET = "s3cr3t-payload"
OLD, NEW, OTHER = (
    SecretStr(base64.b64encode(bytes(range(start, start + 32))).decode()) for start in (0, 40, 90)
)


def sealed(server: TemporalServer, *keys: SecretStr) -> EngineSettings:
    return server.settings.model_copy(update={"encryption_keys": keys})


@asynccontextmanager
async def working(settings: EngineSettings) -> AsyncIterator[None]:
    client = await connect(settings)
    async with Worker(client, task_queue=QUEUE, workflows=[Parked], activities=[shout]):
        yield


async def run_parked(settings: EngineSettings, name: str, text: str) -> str:
    client = await connect(settings)
    handle = await client.start_workflow(
        Parked.run, text, id=name, task_queue=QUEUE, memo={"note": f"{SECRET} memo"}
    )
    await handle.signal(Parked.go, f"{SECRET} told")
    assert await handle.query(Parked.told) == f"{SECRET} told"
    async with asyncio.timeout(20):
        return await handle.result()


def bytes_on_disk(server: TemporalServer) -> bytes:
    return b"".join(file.read_bytes() for file in server.folder.glob("temporal.db*"))


async def test_nothing_readable_is_kept_with_a_key(temporal_server):
    settings = sealed(temporal_server, NEW)
    async with working(settings):
        text = f"{SECRET} text"
        assert await run_parked(settings, "w", text) == f"{text} {SECRET} told".upper()
        with pytest.raises(WorkflowFailureError) as failed:
            await run_parked(settings, "f", f"fail {SECRET}")
    cause = failed.value.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert f"could not shout fail {SECRET}" in str(cause.cause)
    client = await connect(temporal_server.settings)
    histories = [await client.get_workflow_handle(name).fetch_history() for name in ("w", "f")]
    wire = b"".join(event.SerializeToString() for h in histories for event in h.events)
    temporal_server.stop()
    for kept in (wire, bytes_on_disk(temporal_server)):
        assert b"Parked" in kept  # Names are readable; docs/durability.md says so.
        for secret in (SECRET, SECRET.upper()):
            assert secret.encode() not in kept


async def test_without_a_key_it_is_readable(temporal_server):
    """That the test above looks in the right place."""
    async with working(temporal_server.settings):
        await run_parked(temporal_server.settings, "w", "text")
    temporal_server.stop()
    assert SECRET.encode() in bytes_on_disk(temporal_server)


async def test_keys_are_rotated_under_a_running_workflow(temporal_server):
    old = sealed(temporal_server, OLD)
    client = await connect(old)
    handle = await client.start_workflow(Parked.run, "text", id="w", task_queue=QUEUE)
    both = sealed(temporal_server, NEW, OLD)
    client = await connect(both)
    await client.get_workflow_handle("w").signal(Parked.go, "now")
    async with working(both), asyncio.timeout(20):
        assert await client.get_workflow_handle("w").result() == "TEXT NOW"
    with pytest.raises(ConfigError, match="is not among ours") as refused:
        await handle.result()
    assert "temporal.encryption_keys" in str(refused.value)


async def test_a_key_can_be_introduced_under_a_running_workflow(temporal_server):
    client = await connect(temporal_server.settings)
    await client.start_workflow(Parked.run, "text", id="w", task_queue=QUEUE)
    settings = sealed(temporal_server, NEW)
    client = await connect(settings)
    handle = client.get_workflow_handle("w")
    await handle.signal(Parked.go, "now")
    async with working(settings), asyncio.timeout(20):
        assert await handle.result() == "TEXT NOW"


async def test_a_worker_without_the_key_waits_for_one(temporal_server):
    """A wrong key must not end a workflow: with the right one it goes on."""
    settings = sealed(temporal_server, NEW)
    client = await connect(settings)
    handle = await client.start_workflow(Parked.run, "text", id="w", task_queue=QUEUE)
    await handle.signal(Parked.go, "now")

    async def has_failed_task():
        history = await handle.fetch_history()
        return [
            event
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        ]

    async with working(sealed(temporal_server, OTHER)):
        (failed, *_) = await eventually(has_failed_task, 20, "a workflow task that failed")
        assert (await handle.describe()).status.name == "RUNNING"
    async with working(settings), asyncio.timeout(30):
        assert await handle.result() == "TEXT NOW"


async def test_a_tampered_payload_is_said(temporal_server):
    settings = sealed(temporal_server, NEW)
    client = await connect(settings)
    codec = client.data_converter.payload_codec
    (payload,) = await client.data_converter.encode(["text"])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(ConnectorReplyInvalid, match="was changed or cut short"):
        await codec.decode([payload])


async def test_nobody_there():
    settings = EngineSettings(address=f"127.0.0.1:{free_port()}", api_key=SecretStr(SECRET))
    with pytest.raises(ConnectorUnavailable, match="cannot be reached") as refused:
        await connect(settings, timeout_s=3)
    assert SECRET not in str(refused.value)


async def test_somebody_silent_there():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectorUnavailable, match="cannot be reached"):
            await connect(EngineSettings(address=address), timeout_s=1)


async def test_a_namespace_that_is_not_there(temporal_server):
    settings = temporal_server.settings.model_copy(update={"namespace": "nowhere"})
    client = await connect(settings)
    with pytest.raises(ConnectorRejected, match="has no namespace 'nowhere'") as refused:
        await until_ready(client, 1.0)
    assert "temporal operator namespace create --namespace nowhere" in str(refused.value)


async def test_ready_again_after_the_server_was_away(temporal_server):
    client = await connect(temporal_server.settings)
    await until_ready(client, 5)
    temporal_server.kill()
    with pytest.raises(ConnectorUnavailable):
        await until_ready(client, 0.5)
    waiting = asyncio.create_task(until_ready(client, 30))
    temporal_server.start()
    await waiting


class Authority:
    """A certificate authority in a folder, made for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.ca_file = folder / "ca.pem"
        certificate = self._certificate(self._name, self._key, is_authority=True)
        self.ca_file.write_bytes(certificate)

    def _certificate(self, subject, key, *, is_authority=False, names=()) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *names: x509.GeneralName) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert_file.write_bytes(self._certificate(subject, key, names=names))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file


@asynccontextmanager
async def behind_tls(server: TemporalServer, context: ssl.SSLContext) -> AsyncIterator[str]:
    """A TLS port in front of the server, which speaks none itself."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        back, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, forth), copy(back, writer))
        open_now.discard(writer)

    open_now: set[asyncio.StreamWriter] = set()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for writer in tuple(open_now):
            writer.transport.abort()
        await eventually(lambda: not open_now, 5, "the connections to end")


def server_context(authority: Authority, *names: x509.GeneralName) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", *names))
    context.set_alpn_protocols(["h2"])
    return context


async def test_tls_with_certificates_on_both_sides(temporal_server, tmp_path):
    authority = Authority(tmp_path)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    context = server_context(authority, loopback, x509.DNSName("frontend"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    cert_file, key_file = authority.issue("client")
    tls = EngineTls(
        ca_file=authority.ca_file, cert_file=cert_file, key_file=key_file, server_name="frontend"
    )
    async with behind_tls(temporal_server, context) as address:
        settings = EngineSettings(address=address, tls=tls, api_key=SecretStr(SECRET))
        client = await connect(settings, timeout_s=5)
        await until_ready(client, 5)
        anonymous = tls.model_copy(update={"cert_file": None, "key_file": None})
        for wrong in (anonymous, EngineTls(), None):
            wrong_settings = settings.model_copy(update={"tls": wrong, "api_key": None})
            with pytest.raises(ConnectorUnavailable, match="does it speak TLS as configured"):
                await connect(wrong_settings, timeout_s=2)


async def test_a_certificate_made_out_to_another_is_refused(temporal_server, tmp_path):
    authority = Authority(tmp_path)
    context = server_context(authority, x509.DNSName("somebody-else"))
    async with behind_tls(temporal_server, context) as address:
        settings = EngineSettings(address=address, tls=EngineTls(ca_file=authority.ca_file))
        with pytest.raises(ConnectorUnavailable):
            await connect(settings, timeout_s=2)


async def test_a_missing_file_is_named(tmp_path):
    tls = EngineTls(ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"temporal.tls.ca_file: .*ca.pem cannot be read"):
        await connect(EngineSettings(address="127.0.0.1:1", tls=tls))
