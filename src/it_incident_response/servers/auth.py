"""Who may post: a bearer token or basic auth; where neither is set, loopback only."""

import hmac
import ipaddress
from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import Request

from it_incident_response.config.settings import ServerSettings
from it_incident_response.errors import ConfigError
from it_incident_response.servers.problem import Refusal


class Authenticator:
    """Checks the credentials of a request in constant time."""

    def __init__(self, settings: ServerSettings) -> None:
        expected = _expected(settings)
        self._digest = sha256(expected).digest() if expected is not None else None
        self._challenge = "Basic" if settings.basic_auth.password is not None else "Bearer"
        self._host = settings.host.lower()

    def check(self, request: Request) -> None:
        """Raise `Refusal` with 401, or with 403 for a web page that tries loopback."""
        if self._digest is None:
            self._refuse_rebinding(request)
            return
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        # Digests have one length, so that not even the secret's length is told by time.
        given = sha256(f"{scheme.lower()} {rest.strip()}".encode()).digest()
        if not hmac.compare_digest(given, self._digest):
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "the credentials are missing or wrong",
                headers={"www-authenticate": f'{self._challenge} realm="iir"'},
            )

    def _refuse_rebinding(self, request: Request) -> None:
        """Refuse host names a browser could have been tricked with (DNS rebinding)."""
        name = host_of(request.headers.get("host", ""))
        if name and name != self._host and not is_loopback(name):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "without credentials only requests to a loopback address are served",
                hint="set server.authorization.credentials or server.basic_auth",
            )


def _expected(settings: ServerSettings) -> bytes | None:
    if settings.authorization.credentials is not None:
        return f"bearer {settings.authorization.credentials.get_secret_value()}".encode()
    if settings.basic_auth.password is not None:
        password = settings.basic_auth.password.get_secret_value()
        pair = f"{settings.basic_auth.username}:{password}".encode()
        return b"basic " + b64encode(pair)
    return None


def host_of(header: str) -> str:
    """Return the host in a Host header, without port and brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own loopback."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_exposure(settings: ServerSettings) -> None:
    """Raise `ConfigError` if others could reach a receiver that asks for no credentials."""
    if settings.has_auth or is_loopback(settings.host):
        return
    raise ConfigError(
        f"the receiver would listen on {settings.host!r} for anyone: no credentials are set, and "
        "a forged alert can make a plan",
        hint="set server.authorization.credentials_file (a bearer token) or server.basic_auth, or "
        "set server.host to 127.0.0.1",
    )
