"""Settings of connectors: what is refused, what is hidden."""

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.integrations.connector import ConnectorSettings, read_settings

URL = "http://mon.invalid:9090"


def read(**given) -> ConnectorSettings:
    return read_settings("fake", ConnectorSettings, {"url": URL} | given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"url": "mon.invalid:9090"}, "url: write a full URL"),
        ({"url": "ftp://mon.invalid"}, "url: write a full URL"),
        ({"url": "http://"}, "url: write a full URL"),
        ({"url": "http://mon.invalid:port"}, "url"),
        ({"url": "http://mon.invalid/?a=1"}, "url: a base URL ends"),
        ({"url": "http://mon.invalid/#a"}, "url: a base URL ends"),
        ({"url": "http://mon.invalid\n"}, "url: a URL has no spaces"),
        ({"url": "http://[::1"}, ""),
        ({"url": 7}, "url"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "geheim"}, "timeout_s"),
        ({"unknown": 1}, "unknown"),
        ({"bearer_token": "geheim", "username": "a", "password": "b"}, "not both"),
        ({"username": "a"}, "belong together"),
        ({"password": "geheim"}, "belong together"),
        ({"cert_file": "a.pem"}, "cert_file and key_file"),
        ({"ca_file": "a.pem", "insecure_skip_verify": True}, "ca_file has no use"),
        ({"headers": {"bad name": "x"}}, "headers"),
        ({"headers": {"X-A": "geheim\r\nX-B: 1"}}, "headers"),
        ({"url": "http://a:geheim@mon.invalid", "username": "b", "password": "c"}, "twice"),
    ],
)
def test_wrong_settings_are_named_without_their_values(given, named):
    with pytest.raises(ConfigError) as caught:
        read(**given)
    assert caught.value.message.startswith("fake: ")
    assert named in caught.value.message
    assert "geheim" not in str(caught.value)
    assert caught.value.hint


def test_secrets_are_not_shown():
    settings = read(bearer_token="geheim-1", headers={"X-Key": "geheim-2"})
    assert "geheim" not in repr(settings)
    assert "geheim" not in settings.model_dump_json()
    assert set(settings.secrets()) == {"geheim-1", "geheim-2"}


def test_credentials_in_the_url_are_moved_out_of_it():
    settings = read(url="https://ops:p%40ss@mon.invalid:9090/prom/")
    assert settings.url == "https://mon.invalid:9090/prom"
    assert settings.username == "ops"
    assert settings.password.get_secret_value() == "p@ss"
    assert "p@ss" not in repr(settings)


@pytest.mark.parametrize("url", ["http://[::1]:9090", "https://mon.invalid/a/b", "http://10.0.0.1"])
def test_ordinary_addresses_are_kept(url):
    assert read(url=url).url == url
