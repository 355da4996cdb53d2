"""Keys of payloads: random ones only, none shown; task queues and ports."""

import base64
import os

import pytest
from pydantic import SecretStr, ValidationError

from it_incident_response.workflow.engine import ports
from it_incident_response.workflow.engine.settings import EngineSettings, key_bytes, split_keys

KEY = base64.b64encode(bytes(range(32))).decode()


def test_a_random_key_is_taken():
    for _ in range(200):
        data = os.urandom(32)
        assert key_bytes(SecretStr(base64.b64encode(data).decode())) == data


@pytest.mark.parametrize(
    "text", ["", "é", "%%%", KEY[:-1], KEY + "A", base64.b64encode(b"a").decode()]
)
def test_anything_else_is_refused_unseen(text):
    with pytest.raises(ValueError, match="make one with: openssl rand -base64 32") as refused:
        key_bytes(SecretStr(text))
    assert not text or text not in str(refused.value)
    assert refused.value.__cause__ is None


def test_settings_refuse_a_bad_key_and_show_none():
    with pytest.raises(ValidationError):
        EngineSettings(encryption_keys=(SecretStr("short"),))
    assert KEY not in repr(EngineSettings(encryption_keys=(SecretStr(KEY),)))


def test_keys_in_one_text():
    assert split_keys(None) == ()
    assert split_keys(SecretStr(" \n,")) == ()
    assert [k.get_secret_value() for k in split_keys(SecretStr("a, b\nc  d"))] == list("abcd")


def test_embedded_without_an_address():
    assert EngineSettings().is_embedded
    assert not EngineSettings(address="t:7233").is_embedded


def test_a_folder_keeps_its_port_while_it_is_free(tmp_path):
    first = ports.free_port(tmp_path)
    assert first == ports.free_port(tmp_path)
    assert 20_000 <= first < 30_000
    assert ports.free_port(tmp_path, 1) != first


def test_a_port_in_use_is_passed_over(tmp_path):
    import socket

    first = ports.free_port(tmp_path)
    with socket.create_server(("127.0.0.1", first)):
        assert not ports.is_free(first)
        assert ports.free_port(tmp_path) != first


def test_if_all_of_ours_are_taken_any_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    assert ports.free_port(tmp_path) > 0
