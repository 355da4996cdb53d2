"""Listing objects of a Kubernetes API server: paged, bounded, in a thread; only ever `list`."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations._kubernetes_settings import KubernetesSettings
from it_incident_response.integrations._replies import SAID_LENGTH_MAX
from it_incident_response.integrations.change_payloads.fields import Fields
from it_incident_response.ports import SteadyClock

NAME = "kubernetes"
PAGE_BYTES_MAX = 32 * 1024 * 1024
RESTARTS_MAX = 2
"""How often a listing is begun anew after 410 Gone: its place in the list has expired."""
_PARALLEL = 4


@dataclass(frozen=True)
class Kind:
    """One kind of object, and how the official client lists it."""

    plural: str
    api: str
    """The client's class."""
    all_namespaces: str
    """The client's method."""
    one_namespace: str | None
    """None: the kind belongs to the cluster."""
    group: str = ""
    metadata_only: bool = False
    selector: str | None = None
    """A field selector."""

    @property
    def permission(self) -> str:
        """What a role has to grant."""
        return f'verb "list" on {self.plural} (apiGroups: ["{self.group}"])'


@dataclass
class Listed:
    """The objects of one kind, and what is missing."""

    objects: list[Fields] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    error: ConnectorError | None = None
    """Why nothing at all could be read."""


Call = tuple[str, dict[str, Any]]
"""A method of the client, and its arguments."""


class _PageGone(Exception):
    """The server has forgotten the place in the list (410)."""


class KubernetesLister:
    """Lists objects through the official client, which knows all ways to authenticate."""

    def __init__(self, settings: KubernetesSettings, clock: SteadyClock) -> None:
        self._settings = settings
        self._clock = clock
        self._plain: Any = None
        self._metadata: Any = None
        self._opening = threading.Lock()
        self._turns = asyncio.Semaphore(_PARALLEL)

    async def version(self) -> str:
        """Return the server's version; raises `ConnectorError` or `ConfigError`."""
        return await asyncio.to_thread(self._version)

    async def objects_of(self, kind: Kind) -> Listed:
        """Return the objects; what could not be read is among the gaps, never an exception."""
        async with self._turns:
            # A thread cannot be stopped from outside: it ends itself at this time.
            until = self._clock.monotonic() + self._settings.budget_s
            return await asyncio.to_thread(self._list, kind, until)

    def close(self) -> None:
        """Close the connections."""
        for client in (self._plain, self._metadata):
            if client is not None:
                client.close()

    def _version(self) -> str:
        sdk = _sdk()
        kind = Kind("version", "VersionApi", "get_code", None)
        reply = self._page(sdk, kind, "get_code", {})
        return Fields(reply).text("gitVersion") or "unknown"

    def _list(self, kind: Kind, until: float) -> Listed:
        listed = Listed()
        try:
            for method, given in self._calls(kind):
                self._list_one(kind, (method, given), until, listed)
        except ConnectorError as error:
            listed.gaps.append(f"{kind.plural}: {error.message}")
            listed.error = error
        return listed

    def _calls(self, kind: Kind) -> Iterator[Call]:
        given = {"field_selector": kind.selector} if kind.selector else {}
        if kind.one_namespace is None or not self._settings.namespaces:
            yield kind.all_namespaces, given
            return
        for namespace in self._settings.namespaces:
            yield kind.one_namespace, {"namespace": namespace, **given}

    def _list_one(self, kind: Kind, call: Call, until: float, into: Listed) -> None:
        sdk = _sdk()
        for _ in range(RESTARTS_MAX + 1):
            try:
                found, missing = self._pages(sdk, kind, call, until, len(into.objects))
            except _PageGone:
                continue
            into.objects += found
            if missing:
                into.gaps.append(f"{kind.plural}: {missing}; the rest is unread")
            return
        into.gaps.append(
            f"{kind.plural}: the list expired {RESTARTS_MAX + 1} times while it was read (410)"
        )

    def _pages(
        self, sdk: Any, kind: Kind, call: Call, until: float, have: int
    ) -> tuple[list[Fields], str | None]:
        """Return the objects, and in words what keeps others from being among them."""
        method, given = call
        found: list[Fields] = []
        room = self._settings.objects_max - have
        place: dict[str, Any] = {}
        while True:
            paging = {"limit": self._settings.page_size, **place}
            reply = Fields(self._page(sdk, kind, method, {**given, **paging}))
            found += reply.each("items", limit=room + 1)
            # No bound on its length that would cut it: a cut token is another token.
            token = reply.text("metadata", "continue", limit=100_000)
            if len(found) > room or (token is not None and len(found) == room):
                return found[:room], f"there are more than {self._settings.objects_max:,}"
            if token is None:
                return found, None
            if self._clock.monotonic() > until:
                return found, f"not read completely within {self._settings.budget_s:g} s"
            place = {"_continue": token}

    def _page(self, sdk: Any, kind: Kind, method: str, given: Mapping[str, Any]) -> Any:
        client = self._client(sdk, metadata_only=kind.metadata_only)
        call = getattr(getattr(sdk.client, kind.api)(client), method)
        try:
            reply = call(**given, _preload_content=False, _request_timeout=self._settings.timeout_s)
            body = reply.read(PAGE_BYTES_MAX + 1)
            reply.close()
        except sdk.client.ApiException as error:
            raise _refusal(kind, error) from None
        except sdk.network_errors as error:
            raise ConnectorUnavailable(
                NAME, f"the API server cannot be reached: {type(error).__name__}"
            ) from None
        return _decoded(kind, body)

    def _client(self, sdk: Any, *, metadata_only: bool) -> Any:
        with self._opening:
            if self._plain is None:
                configuration = sdk.configuration(self._settings)
                self._plain = sdk.client.ApiClient(configuration)
                self._metadata = sdk.metadata_client(configuration)
        return self._metadata if metadata_only else self._plain


def _decoded(kind: Kind, body: bytes) -> Any:
    if len(body) > PAGE_BYTES_MAX:
        raise ConnectorReplyInvalid(
            NAME, f"a page of {kind.plural} is larger than {PAGE_BYTES_MAX:,} bytes"
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ConnectorReplyInvalid(NAME, f"the list of {kind.plural} is no JSON") from None


def _refusal(kind: Kind, error: Any) -> Exception:
    status = int(error.status or 0)
    if status == 410:
        return _PageGone()
    said = _said(error)
    if status == 401:
        return _rejected(
            status,
            "the API server does not know us: the token has expired or is wrong",
            "log in again, or give a kubeconfig of a service account",
        )
    if status == 403:
        grant = f"grant the {kind.permission}; the ClusterRole is in docs/connectors/kubernetes.md"
        return _rejected(status, f"not allowed: needs the {kind.permission}", grant)
    if status in (0, 408, 429) or status >= 500:
        unavailable = ConnectorUnavailable(NAME, f"HTTP {status} for {kind.plural}: {said}")
        return unavailable
    return _rejected(status, f"HTTP {status} for {kind.plural}: {said}", None)


def _rejected(status: int, message: str, hint: str | None) -> ConnectorRejected:
    error = ConnectorRejected(NAME, message, hint=hint)
    error.status = status
    return error


def _said(error: Any) -> str:
    """Return the server's own message, one line, bounded."""
    try:
        said = Fields(orjson.loads(error.body or b"{}")).text("message", limit=SAID_LENGTH_MAX)
    except (orjson.JSONDecodeError, TypeError):
        said = None
    text = said or str(error.reason or "no reason given")[:SAID_LENGTH_MAX]
    return "".join(char if char.isprintable() else " " for char in text)


def _sdk() -> Any:
    """Return the official client; raises `ConfigError` if it is not installed."""
    try:
        from it_incident_response.integrations import _kubernetes_sdk
    except ImportError as error:
        raise ConfigError(
            f"Kubernetes is read with a package that is not installed: {error.name}",
            hint="pip install 'it-incident-response[kubernetes]'",
        ) from None
    logging.getLogger("kubernetes.client.rest").setLevel(logging.WARNING)
    return _kubernetes_sdk
