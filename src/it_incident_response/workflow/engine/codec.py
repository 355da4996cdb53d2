"""Encrypts what the engine keeps: AES-256-GCM over each payload, with several keys for rotation."""

import hashlib
import os
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from it_incident_response.errors import ConfigError, ConnectorReplyInvalid
from it_incident_response.workflow.engine.settings import key_bytes

ENCODING = b"binary/encrypted"
_CIPHER = b"AES-256-GCM"
_VERSION = b"iir-payload-1"
_NONCE_BYTES = 12
"""NIST SP 800-38D, 5.2.1.1; random ones serve 2^32 payloads of one key (8.3)."""


def key_id(key: SecretStr) -> str:
    """Return the public name of a key: a hash of it, which tells nothing about it."""
    digest = hashlib.sha256(b"iir payload key id\x00" + key_bytes(key)).hexdigest()
    return digest[:16]


class EncryptionCodec(PayloadCodec):
    """Encrypts with the first key, decrypts with whichever the payload names.

    Without keys it encrypts nothing and refuses what is encrypted, saying which key is missing.
    What is not encrypted is let through: it was written before there was a key, and nothing that
    comes from the engine is trusted anyway.
    """

    def __init__(self, keys: Sequence[SecretStr] = ()) -> None:
        self._ciphers = {key_id(key): AESGCM(key_bytes(key)) for key in keys}
        self._current = key_id(keys[0]) if keys else None

    def __repr__(self) -> str:
        return f"EncryptionCodec(key ids: {', '.join(self._ciphers) or 'none'})"

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return each payload, whole with its metadata, encrypted."""
        if self._current is None:
            return list(payloads)
        return [self._encrypted(payload, self._current) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return what was encrypted.

        Raises `ConfigError` if we do not have the key, `ConnectorReplyInvalid` if the payload is
        not what one of our keys made.
        """
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload, name: str) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        text = payload.SerializeToString(deterministic=True)
        sealed = self._ciphers[name].encrypt(nonce, text, _bound_to(name))
        return Payload(
            metadata={
                "encoding": ENCODING,
                "encryption-cipher": _CIPHER,
                "encryption-key-id": name.encode(),
            },
            data=nonce + sealed,
        )

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        # Whatever reaches the engine's port may have written this name.
        name = payload.metadata.get("encryption-key-id", b"")[:64].decode("ascii", "replace")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise _missing_key(name, self._ciphers)
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            text = cipher.decrypt(nonce, sealed, _bound_to(name))
            return Payload.FromString(text)
        except (InvalidTag, ValueError) as error:
            what = f"a payload sealed with the key {name} was changed or cut short"
            hint = "somebody wrote to the engine's port or file, or the file is damaged"
            raise ConnectorReplyInvalid("temporal", what, hint=hint) from error


def _bound_to(name: str) -> bytes:
    return _VERSION + b"\x00" + name.encode()


def _missing_key(name: str, known: Iterable[str]) -> ConfigError:
    have = ", ".join(known) or "none"
    return ConfigError(
        f"temporal: a payload is encrypted with the key {name!r}, which is not among ours ({have})",
        hint="add the key to temporal.encryption_keys, after the one that is to encrypt",
    )
