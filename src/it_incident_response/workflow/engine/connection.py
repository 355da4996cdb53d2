"""Connections to the durable engine, and whether a workflow can be started there."""

import asyncio
import dataclasses
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorUnavailable,
)
from it_incident_response.ports.clock import Clock, SystemClock
from it_incident_response.workflow.engine.codec import EncryptionCodec
from it_incident_response.workflow.engine.settings import EngineSettings, EngineTls

T = TypeVar("T")

CONNECTOR = "temporal"
_CONNECT_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 3.0
_PROBE_PAUSE_S = 0.05
_PROBE_PAUSE_MAX_S = 1.0
_PROBE_ID = "iir-is-ready"
"""Of a workflow that never exists."""
_REFUSED = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}
_FILE_BYTES_MAX = 1_000_000


def data_converter(settings: EngineSettings) -> DataConverter:
    """Return how values become payloads: pydantic's JSON, encrypted where keys are set.

    With keys, the messages and stack traces of failures are encrypted too.
    """
    converter = dataclasses.replace(
        pydantic_data_converter, payload_codec=EncryptionCodec(settings.encryption_keys)
    )
    if settings.encryption_keys:
        return dataclasses.replace(
            converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes
        )
    return converter


async def connect(
    settings: EngineSettings,
    address: str | None = None,
    *,
    timeout_s: float = _CONNECT_TIMEOUT_S,
) -> Client:
    """Connect to `address` (the embedded server's), or to the configured cluster.

    The connection mends itself when the server goes away and comes back. Raises `ConfigError` for
    files that cannot be read, `ConnectorUnavailable`, and `ConnectorRejected` for bad credentials.
    """
    target = address or settings.address
    if target is None:
        raise ConfigError(
            "temporal: the embedded server's address is not known yet",
            hint="start it first, or set temporal.address",
        )
    is_cluster = settings.address is not None
    tls = await asyncio.to_thread(_tls, settings.tls) if is_cluster and settings.tls else False
    key = settings.api_key if is_cluster else None
    try:
        async with asyncio.timeout(timeout_s):
            return await Client.connect(
                target,
                namespace=settings.namespace,
                api_key=key.get_secret_value() if key else None,
                data_converter=data_converter(settings),
                tls=tls,
                connect_timeout=timedelta(seconds=timeout_s),
            )
    except TimeoutError as error:
        raise _unreachable(target, f"no answer within {timeout_s:g} s") from error
    except RPCError as error:
        raise translated(error, target, settings.namespace) from error
    except RuntimeError as error:  # What the SDK raises where no connection came about.
        raise _unreachable(target, _first_line(error)) from error


def _tls(tls: EngineTls) -> TLSConfig:
    return TLSConfig(
        server_root_ca_cert=_file(tls.ca_file, "ca_file"),
        client_cert=_file(tls.cert_file, "cert_file"),
        client_private_key=_file(tls.key_file, "key_file"),
        domain=tls.server_name,
    )


def _file(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            return stream.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"temporal.tls.{key}: {path} cannot be read: {error.strerror}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _unreachable(target: str, why: str) -> ConnectorUnavailable:
    hint = "is Temporal running, is the address right, and does it speak TLS as configured?"
    return ConnectorUnavailable(CONNECTOR, f"{target} cannot be reached: {why}", hint=hint)


def translated(error: RPCError, target: str, namespace: str) -> ConnectorError:
    """Return the error of our tree for one of the engine's."""
    message = _first_line(error)
    if error.status in _REFUSED:
        hint = "check temporal.api_key, temporal.tls and what they may do in the namespace"
        return ConnectorRejected(CONNECTOR, f"{target} refused us: {message}", hint=hint)
    if is_namespace_missing(error):
        return ConnectorRejected(
            CONNECTOR,
            f"{target} has no namespace {namespace!r}",
            hint=f"temporal operator namespace create --namespace {namespace}, "
            "or correct temporal.namespace",
        )
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return ConnectorRejected(CONNECTOR, f"{target} refused the request: {message}")
    return _unreachable(target, message)


def is_namespace_missing(error: RPCError) -> bool:
    """Tell a missing namespace from a missing workflow: both are NOT_FOUND."""
    return error.status is RPCStatusCode.NOT_FOUND and "namespace" in str(error).lower()


async def probe(client: Client, timeout_s: float = _PROBE_TIMEOUT_S) -> None:
    """Return if a workflow could be started now; raises `RPCError` if not.

    A signal to a workflow that never existed: nothing is written, but the answer "no such
    workflow" takes the namespace, the permission to write, the shard and a read of the database.
    """
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=_PROBE_ID),
        signal_name="ready",
    )
    try:
        await client.workflow_service.signal_workflow_execution(
            request, retry=False, timeout=timedelta(seconds=timeout_s)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or is_namespace_missing(error):
            raise


async def until_ready(client: Client, timeout_s: float, clock: Clock | None = None) -> None:
    """Return when a workflow can be started.

    A server that has just started answers "shard status unknown" or "namespace not found" for a
    moment, so both are asked again until `timeout_s` has passed. Raises `ConnectorRejected` (at
    once for bad credentials) or `ConnectorUnavailable` with the last answer.
    """
    clock = clock or SystemClock()
    target = client.service_client.config.target_host
    pause, last = _PROBE_PAUSE_S, None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await probe(client, min(timeout_s, _PROBE_TIMEOUT_S))
                except RPCError as error:
                    if error.status in _REFUSED:
                        raise translated(error, target, client.namespace) from error
                    last = error
                await clock.sleep(pause)
                pause = min(pause * 2, _PROBE_PAUSE_MAX_S)
    except TimeoutError as error:
        if last is not None:
            raise translated(last, target, client.namespace) from last
        raise _unreachable(target, f"no answer within {timeout_s:g} s") from error


async def answered(call: Awaitable[T], client: Client) -> T:
    """Await a call of the engine; what it raises becomes an error of our tree.

    For calls whose NOT_FOUND and ALREADY_EXISTS mean nothing of their own to the caller.
    """
    target = client.service_client.config.target_host
    try:
        return await call
    except RPCError as error:
        raise translated(error, target, client.namespace) from error
