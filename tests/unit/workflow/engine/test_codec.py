"""Payloads are sealed, opened with whichever key sealed them, and nothing forged is let through."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload

from it_incident_response.errors import ConfigError, ConnectorReplyInvalid
from it_incident_response.workflow.engine.codec import ENCODING, EncryptionCodec, key_id


def key(start: int) -> SecretStr:
    return SecretStr(base64.b64encode(bytes(range(start, start + 32))).decode())


OLD, NEW, OTHER = key(0), key(60), key(120)
PLAIN = Payload(metadata={"encoding": b"json/plain", "kind": b"x"}, data=b'"top secret"')


async def sealed(payload: Payload = PLAIN, *keys: SecretStr) -> Payload:
    (result,) = await EncryptionCodec(keys or (NEW,)).encode([payload])
    return result


async def test_what_is_sealed_shows_neither_data_nor_metadata():
    payload = await sealed()
    assert payload.metadata["encoding"] == ENCODING
    assert payload.metadata["encryption-key-id"].decode() == key_id(NEW)
    wire = payload.SerializeToString()
    for readable in (b"top secret", b"json/plain", b"kind"):
        assert readable not in wire
    assert await EncryptionCodec((NEW,)).decode([payload]) == [PLAIN]


@given(
    data=st.binary(max_size=2000),
    metadata=st.dictionaries(st.text(max_size=9), st.binary(max_size=9)),
)
async def test_every_payload_comes_back_whole(data, metadata):
    payload = Payload(metadata=metadata, data=data)
    codec = EncryptionCodec((NEW, OLD))
    assert await codec.decode(await codec.encode([payload, payload])) == [payload, payload]


async def test_the_same_payload_is_never_sealed_the_same():
    codec = EncryptionCodec((NEW,))
    texts = {payload.data for payload in await codec.encode([PLAIN] * 50)}
    assert len(texts) == 50
    assert len({text[:12] for text in texts}) == 50


async def test_rotation():
    before = await sealed(PLAIN, OLD)
    both = EncryptionCodec((NEW, OLD))
    after = await sealed(PLAIN, NEW, OLD)
    assert after.metadata["encryption-key-id"].decode() == key_id(NEW)
    assert await both.decode([before, after]) == [PLAIN, PLAIN]
    with pytest.raises(ConfigError, match=key_id(OLD)):
        await EncryptionCodec((NEW,)).decode([before])


async def test_a_missing_key_is_named_and_no_key_shown():
    with pytest.raises(ConfigError) as refused:
        await EncryptionCodec((OTHER,)).decode([await sealed()])
    text = str(refused.value)
    assert key_id(NEW) in text
    assert key_id(OTHER) in text
    assert "temporal.encryption_keys" in text
    for secret in (NEW, OTHER):
        assert secret.get_secret_value() not in text


async def test_without_keys_sealed_payloads_are_refused_and_others_left_alone():
    codec = EncryptionCodec()
    assert await codec.encode([PLAIN]) == [PLAIN]
    assert await codec.decode([PLAIN]) == [PLAIN]
    with pytest.raises(ConfigError, match=r"not among ours \(none\)"):
        await codec.decode([await sealed()])


async def test_what_was_written_before_there_was_a_key_is_read():
    assert await EncryptionCodec((NEW,)).decode([PLAIN]) == [PLAIN]


@pytest.mark.parametrize("place", [0, 11, 12, 20, -17, -1])
async def test_a_changed_bit_is_noticed(place):
    payload = await sealed()
    data = bytearray(payload.data)
    data[place] ^= 1
    payload.data = bytes(data)
    with pytest.raises(ConnectorReplyInvalid, match="was changed or cut short"):
        await EncryptionCodec((NEW,)).decode([payload])


@pytest.mark.parametrize("length", [0, 1, 11, 12, 20, 28])
async def test_a_cut_payload_is_noticed(length):
    payload = await sealed()
    payload.data = payload.data[:length]
    with pytest.raises(ConnectorReplyInvalid, match="was changed or cut short"):
        await EncryptionCodec((NEW,)).decode([payload])


async def test_a_payload_said_to_be_of_another_key_is_noticed():
    payload = await sealed(PLAIN, OLD)
    payload.metadata["encryption-key-id"] = key_id(NEW).encode()
    with pytest.raises(ConnectorReplyInvalid):
        await EncryptionCodec((NEW, OLD)).decode([payload])


@pytest.mark.parametrize("name", [b"", b"\xff\x00" * 1000, b"x" * 10_000])
async def test_a_hostile_key_id_makes_a_short_error(name):
    payload = await sealed()
    payload.metadata["encryption-key-id"] = name
    with pytest.raises(ConfigError) as refused:
        await EncryptionCodec((NEW,)).decode([payload])
    assert len(str(refused.value)) < 500
    assert str(refused.value).isprintable() or "\n" in str(refused.value)


async def test_the_codec_shows_no_key():
    assert NEW.get_secret_value() not in repr(EncryptionCodec((NEW,)))
    assert key_id(NEW) in repr(EncryptionCodec((NEW,)))


def test_key_ids_differ_and_are_stable():
    assert len({key_id(key(start)) for start in range(100)}) == 100
    assert key_id(SecretStr(f" {NEW.get_secret_value()}\n")) == key_id(NEW)
