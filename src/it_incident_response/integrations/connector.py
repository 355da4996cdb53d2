"""What a connector is: a name, a settings model, the ports it fills and how to build it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from it_incident_response.errors import ConfigError
from it_incident_response.ports.registry import Surroundings

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


SettingsT = TypeVar("SettingsT", bound="ConnectorSettings")


class ConnectorSettings(BaseModel):
    """Address, credentials and limits of one outside HTTP system."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, Field(min_length=1, max_length=2048)]
    """Base address; a path in it (`https://example.com/prometheus`) is kept as a prefix.

    Credentials in it (`https://user:password@...`) are moved to `username` and `password`.
    """
    timeout_s: float = Field(default=10.0, gt=0, le=600)
    """Longest wait for one answer. 10 s: an answer that takes longer is of no use on call."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a request that changes nothing is tried before giving up."""
    response_bytes_max: int = Field(default=32 * 1024 * 1024, ge=1024)
    """A longer answer is refused, so that one reply cannot fill the memory."""
    bearer_token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    """PEM file of the authority to trust instead of the public ones."""
    cert_file: Path | None = None
    """PEM file of our own certificate, where the system asks for one."""
    key_file: Path | None = None
    server_name: str | None = None
    """Name that the certificate must show, where it is not the one in the URL."""
    insecure_skip_verify: bool = False
    """Accept any certificate: only for a test system."""
    headers: Mapping[str, SecretStr] = {}
    """Further request headers, such as `X-Scope-OrgID`."""

    @model_validator(mode="before")
    @classmethod
    def _move_credentials_out_of_the_url(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("url"), str):
            return given
        bare, username, password = split_credentials(given["url"])
        if username is None:
            return given
        if given.get("username") or given.get("password"):
            raise ValueError("credentials are given twice: in the url and as username or password")
        return {**given, "url": bare, "username": username, "password": password or ""}

    @field_validator("url")
    @classmethod
    def _is_a_web_address(cls, url: str) -> str:
        if any(ord(char) <= 32 or ord(char) == 127 for char in url):
            raise ValueError("a URL has no spaces or control characters")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write a full URL, such as http://localhost:9090")
        if parts.query or parts.fragment:
            raise ValueError("a base URL ends before any '?' or '#'")
        _ = parts.port  # raises ValueError for a port that is no number
        return url.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is not a header name")
            if not value.get_secret_value().isprintable():
                raise ValueError(f"the value of header {name!r} has control characters")
        return headers

    @model_validator(mode="after")
    def _credentials_fit_together(self) -> "ConnectorSettings":
        if self.bearer_token and self.username:
            raise ValueError("give either bearer_token or username and password, not both")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.ca_file and self.insecure_skip_verify:
            raise ValueError("ca_file has no use when insecure_skip_verify is set")
        return self

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text in these settings, to keep them out of messages."""
        values = [self.bearer_token, self.password, *self.headers.values()]
        return tuple(text for value in values if value and (text := value.get_secret_value()))


def read_settings(connector: str, model: type[SettingsT], given: Mapping[str, Any]) -> SettingsT:
    """Return validated settings; raises `ConfigError` naming the field, never its value."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{connector}: {f'{where}: ' if where else ''}{what}",
            hint=f"settings of {connector!r} are: {', '.join(sorted(model.model_fields))}",
        ) from None


def split_credentials(url: str) -> tuple[str, str | None, str | None]:
    """Return (URL without credentials, user, password) of a URL; raises `ValueError`."""
    parts = urlsplit(url)
    location, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    user, _, password = location.partition(":")
    return urlunsplit(parts._replace(netloc=host)), unquote(user), unquote(password)


@dataclass(frozen=True)
class Connector:
    """One outside system as listed in `CONNECTORS`."""

    name: str
    settings: type[ConnectorSettings]
    capabilities: frozenset[type]
    """The port Protocols that what `build` returns implements."""
    make: Callable[[Any, Surroundings], Any]
    """Takes an instance of `settings` and the surroundings."""

    def read_settings(self, given: Mapping[str, Any]) -> ConnectorSettings:
        """Return validated settings; raises `ConfigError` naming the field, never its value."""
        return read_settings(self.name, self.settings, given)

    def build(self, settings: ConnectorSettings, surroundings: Surroundings) -> Any:
        """Return the adapter; connects to nothing yet."""
        return self.make(settings, surroundings)
