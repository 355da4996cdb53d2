"""The section `temporal`: what it refuses, and the settings of the engine that it gives."""

import base64
import subprocess
import sys

import pytest

FIRST = base64.b64encode(bytes(range(32))).decode()
SECOND = base64.b64encode(bytes(range(50, 82))).decode()
CLUSTER = "temporal.example.com:7233"


def test_nothing_written_means_embedded_beside_the_database(loaded, tmp_path):
    settings = loaded(overrides={"data_dir": str(tmp_path / "d")}).settings
    engine = settings.engine
    assert engine.is_embedded
    assert (engine.namespace, engine.queue_prefix) == ("default", "iir")
    assert engine.folder == tmp_path / "d" / "engine"
    assert (engine.tls, engine.api_key, engine.encryption_keys) == (None, None, ())


def test_a_cluster(loaded, tmp_path):
    key = tmp_path / "tls.key"
    key.write_text("k")
    key.chmod(0o600)
    engine = loaded(
        f"""
temporal:
  address: {CLUSTER}
  namespace: prod.a1b2c
  queue_prefix: team-a
  tls: {{ca_file: ca.pem, cert_file: c.pem, key_file: tls.key, server_name: frontend}}
"""
    ).settings.engine
    assert not engine.is_embedded
    assert (engine.address, engine.namespace, engine.queue_prefix) == (
        CLUSTER,
        "prod.a1b2c",
        "team-a",
    )
    assert engine.tls.ca_file == tmp_path / "ca.pem"
    assert engine.tls.server_name == "frontend"


@pytest.mark.parametrize("address", ["[::1]:7233", "temporal:7233", "10.0.0.1:65535"])
def test_addresses(loaded, address):
    assert loaded(overrides={"temporal.address": address}).settings.engine.address == address


@pytest.mark.parametrize(
    "address",
    [
        "temporal",
        "http://t:7233",
        "t:0",
        "t:70000",
        "t:x",
        ":7233",
        "t:7233/x",
        "u@t:7233",
        "a b:1",
    ],
)
def test_what_is_no_address_is_refused(refused, address):
    (problem,) = refused(overrides={"temporal.address": address})
    assert "write HOST:PORT, for example temporal.example.com:7233" in problem


def test_an_api_key_switches_tls_on(loaded):
    overrides = {"temporal.address": CLUSTER, "temporal.api_key": "k"}
    assert loaded(overrides=overrides).settings.engine.tls is not None
    assert loaded(overrides={"temporal.address": CLUSTER}).settings.engine.tls is None
    overrides = {"temporal.address": CLUSTER, "temporal.tls.enabled": "true"}
    assert loaded(overrides=overrides).settings.engine.tls is not None


def test_an_api_key_is_never_sent_in_the_clear(refused):
    overrides = {
        "temporal.address": CLUSTER,
        "temporal.api_key": "sesame",
        "temporal.tls.enabled": "false",
    }
    (problem,) = refused(overrides=overrides)
    assert "the API key would be sent readable by all" in problem
    assert "sesame" not in problem


@pytest.mark.parametrize(
    ("key", "value"), [("temporal.api_key", "k"), ("temporal.tls.enabled", "true")]
)
def test_credentials_without_a_cluster_are_refused(refused, key, value):
    (problem,) = refused(overrides={key: value})
    assert "address is not set" in problem


def test_half_a_certificate_is_refused(refused):
    overrides = {"temporal.address": CLUSTER, "temporal.tls.cert_file": "c.pem"}
    (problem,) = refused(overrides=overrides)
    assert "key_file is missing" in problem


def test_tls_switched_off_and_described_is_refused(refused):
    overrides = {
        "temporal.address": CLUSTER,
        "temporal.tls.enabled": "false",
        "temporal.tls.server_name": "x",
    }
    (problem,) = refused(overrides=overrides)
    assert "keep one or the other" in problem


def test_a_private_key_that_others_can_read_is_refused(refused, tmp_path):
    key = tmp_path / "tls.key"
    key.write_text("k")
    key.chmod(0o644)
    overrides = {
        "temporal.address": CLUSTER,
        "temporal.tls.cert_file": "c.pem",
        "temporal.tls.key_file": str(key),
    }
    (problem,) = refused(overrides=overrides)
    assert f"run: chmod 600 {key}" in problem


@pytest.mark.parametrize("between", [" ", "\n", ",", ", ", "\n\n"])
def test_several_keys_in_one_text(loaded, between):
    engine = loaded(overrides={"temporal.encryption_keys": f"{FIRST}{between}{SECOND}"}).settings
    assert [k.get_secret_value() for k in engine.engine.encryption_keys] == [FIRST, SECOND]


def test_keys_from_a_file(loaded, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{FIRST}\n{SECOND}\n")
    file.chmod(0o600)
    engine = loaded("temporal: {encryption_keys_file: keys}").settings.engine
    assert len(engine.encryption_keys) == 2


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("correct horse battery staple", "is not base64"),
        ("hunter22hunter22", "has 12 bytes in place of 32"),
        (base64.b64encode(b"x" * 31).decode(), "has 31 bytes in place of 32"),
        (base64.b64encode(b"\0" * 32).decode(), "is not random"),
        (base64.b64encode(b"passwordpasswordpasswordpassword").decode(), "is not random"),
    ],
)
def test_a_weak_key_is_refused_without_showing_it(refused, key, reason):
    (problem,) = refused(overrides={"temporal.encryption_keys": key})
    assert reason in problem
    assert "openssl rand -base64 32" in problem
    assert key not in problem


@pytest.mark.parametrize("prefix", ["", "-x", "a b", "a/b", "x" * 62])
def test_a_queue_prefix_is_a_name(refused, prefix):
    assert len(refused(overrides={"temporal.queue_prefix": prefix})) == 1


def test_configuration_loads_without_the_engine():
    """Quick commands stay quick: neither the SDK nor the ciphers are imported with it."""
    code = (
        "import sys; from it_incident_response.config import Settings; Settings().engine; "
        "sys.exit(any(m.split('.')[0] in ('temporalio', 'cryptography') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
