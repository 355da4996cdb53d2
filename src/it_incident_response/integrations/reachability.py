"""Whether outside systems answer, for `iir config check`: one cheap call each, all at once."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from it_incident_response.domain.model import Value
from it_incident_response.errors import ConnectorError, ConnectorUnavailable, IncidentResponseError
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.integrations.connector import ConnectorSettings, read_settings
from it_incident_response.ports import Health, HealthCheck
from it_incident_response.ports.registry import Surroundings, registered_connectors

_BANNER_BYTES_MAX = 8192
_BANNER = re.compile(rb"SSH-(?:2\.0|1\.99)-([\x21-\x7e]{1,100})")


class Reading(Value):
    """What one check found."""

    is_working: bool
    version: str | None = None
    latency_s: float | None = None
    wrong: str | None = None
    mend: str | None = None


@dataclass(frozen=True)
class _Call:
    """The cheapest call that answers, and one that needs the credentials if the first does not."""

    path: str
    version_at: tuple[str | int, ...]
    private_path: str | None = None


_CALLS = {
    "grafana": _Call("/api/health", ("version",), "/api/org"),
    "jira": _Call("/rest/api/2/serverInfo", ("version",), "/rest/api/2/myself"),
}
"""Systems that no connector reads yet; the others are checked by their connector."""


async def check_http(
    kind: str, fields: Mapping[str, Any], surroundings: Surroundings | None = None
) -> Health:
    """Ask a system of this kind for its version; `fields` are a connector's settings.

    Raises `ConnectorError` or `ConfigError`.
    """
    surroundings = surroundings or Surroundings()
    connector = registered_connectors().get(kind)
    if connector is not None:
        model: Any = connector.settings
        adapter = connector.build(read_settings(kind, model, fields), surroundings)
        if isinstance(adapter, HealthCheck):
            return await adapter.check()
    how = {name: value for name, value in fields.items() if name in ConnectorSettings.model_fields}
    return await _call(kind, read_settings(kind, ConnectorSettings, how), surroundings)


async def _call(kind: str, settings: ConnectorSettings, surroundings: Surroundings) -> Health:
    call = _CALLS[kind]
    client = HttpClient(kind, settings, surroundings)
    has_credentials = bool(settings.secrets())
    try:
        answer = await client.json(HttpRequest("GET", call.path))
        if has_credentials and call.private_path is not None:
            await client.json(HttpRequest("GET", call.private_path))
    finally:
        await client.aclose()
    return Health(version=_at(answer, call.version_at))


def _at(answer: Any, path: tuple[str | int, ...]) -> str | None:
    for step in path:
        try:
            answer = answer[step]
        except (KeyError, IndexError, TypeError):
            return None
    return str(answer)[:40] if isinstance(answer, str | int | float) else None


async def check_ssh(host: str, port: int) -> Health:
    """Connect and read the greeting of an SSH server; logs in nowhere.

    Raises `ConnectorUnavailable` or `ConnectorError`.
    """
    place = f"{host}:{port}"
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_BANNER_BYTES_MAX)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConnectorUnavailable(
            "ssh",
            f"{place} cannot be reached: {reason}",
            hint="is sshd running there, and are address and port in the inventory right?",
        ) from error
    try:
        line = await reader.readline()
    except (ValueError, OSError):
        line = b""
    finally:
        writer.close()
    match = _BANNER.match(line)
    if match is None:
        raise ConnectorError(
            "ssh",
            f"{place} answers, but not as an SSH server",
            hint="is the port in the inventory right?",
        )
    return Health(version=match[1].decode("ascii"))


async def measured(check: Callable[[], Awaitable[Health]], *, budget_s: float) -> Reading:
    """Run a check and say how it went and how long it took; never raises errors of ours."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(budget_s):
            health = await check()
    except TimeoutError:
        return Reading(
            is_working=False,
            wrong=f"no answer within {budget_s:g} s",
            mend="is the address right, and does no firewall drop the packets?",
        )
    except ConnectorError as error:
        wrong = error.message.removeprefix(f"{error.connector}: ")
        return Reading(is_working=False, wrong=wrong, mend=error.hint)
    except IncidentResponseError as error:
        return Reading(is_working=False, wrong=error.message, mend=error.hint)
    return Reading(is_working=True, version=health.version, latency_s=loop.time() - begun)
