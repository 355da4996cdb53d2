"""Reads alerts from JSON: Alertmanager's webhook (version 4), its API v2, Prometheus, plain lists.

Written by hand rather than as pydantic models: a storm brings tens of thousands of alerts, and
each wrong field has to be named all the same.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import orjson

from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.labels import make_alert
from it_incident_response.errors import InputRejected

WEBHOOK_VERSION = "4"
SOURCE_ALERTMANAGER = "alertmanager"
SOURCE_PROMETHEUS = "prometheus"
SOURCE_BY_HAND = "alerts"
_SHOWN_MAX = 80
"""Characters of a label name from outside that appear in a message."""
_NONE_BEFORE = datetime(1971, 1, 1, tzinfo=UTC)
"""Go's zero time is year 1; nothing real happened before this either."""

_log = logging.getLogger(__name__)

Item = Mapping[str, Any]
T = TypeVar("T")


class _Fields(NamedTuple):
    """A checked alert, of which a domain value can be made without any further error."""

    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    generator_url: str | None
    source: str


class Webhook(NamedTuple):
    """One webhook call."""

    alerts: tuple[Alert, ...]
    truncated_alerts: int
    """How many alerts of the group Alertmanager left out (its `max_alerts`)."""
    group_key: str


class _Checked(NamedTuple):
    """One checked webhook call."""

    alerts: Sequence[_Fields]
    truncated_alerts: int
    group_key: str


class _Rejected(ValueError):
    """A field is wrong; the text begins with the field's name."""


def parse_webhook(body: bytes, received_at: datetime) -> Sequence[Alert]:
    """Return the alerts of an Alertmanager webhook body (payload version 4), in its order.

    Unknown extra fields are ignored. Raises `InputRejected` naming the first wrong field. When
    Alertmanager left alerts out (`truncatedAlerts`), a warning is logged: the pull of
    `/api/v2/alerts` brings them.
    """
    webhook = read_webhook(body, received_at)
    if webhook.truncated_alerts:
        _log.warning(
            "Alertmanager left %d alerts out of a webhook (max_alerts); the next pull brings them",
            webhook.truncated_alerts,
        )
    return webhook.alerts


def check_webhook(body: bytes, _received_at: datetime) -> int:
    """Return how many alerts `parse_webhook` would; raises what it would raise.

    Makes none of them, which is most of the cost: for a receiver that only stores the body.
    """
    return len(_webhook(body).alerts)


def read_webhook(body: bytes, received_at: datetime) -> Webhook:
    """Like `parse_webhook`, with what else the body says."""
    checked = _webhook(body)
    alerts = tuple(_alert(fields, received_at) for fields in checked.alerts)
    return Webhook(alerts, checked.truncated_alerts, checked.group_key)


def parse_alerts(body: bytes, received_at: datetime) -> Sequence[Alert]:
    """Return the alerts in any of the usual forms, in their order.

    Understood are a webhook body, the answers of Alertmanager's `/api/v2/alerts` and of
    Prometheus' `/api/v1/alerts`, a list of `{labels, annotations, startsAt, endsAt, status}`, one
    such alert, and one of these a line (NDJSON). Alerts that Alertmanager marks as suppressed
    and those that Prometheus marks as pending are left out. Without `status`, an `endsAt` that
    has passed means resolved; without `startsAt`, it began when received. Raises `InputRejected`
    naming the first wrong field.
    """
    return tuple(_alert(fields, received_at) for fields in _alerts(body, received_at))


def check_alerts(body: bytes, received_at: datetime) -> int:
    """Return how many alerts `parse_alerts` would; raises what it would raise."""
    return len(_alerts(body, received_at))


def read_api_alerts(items: Any, received_at: datetime) -> Sequence[Alert]:
    """Return the alerts of a decoded `/api/v2/alerts` answer, suppressed ones left out.

    Raises `ValueError` naming the first wrong field.
    """
    listed = _listed(_list(items, "the reply"), "alerts", received_at, SOURCE_ALERTMANAGER)
    return tuple(_alert(fields, received_at) for fields in listed)


def read_prometheus_alerts(items: Sequence[Any], received_at: datetime) -> Sequence[Alert]:
    """Return the firing ones of a decoded list of Prometheus' `/api/v1/alerts`.

    Raises `ValueError` naming the first wrong field.
    """
    listed = _listed(items, "alerts", received_at, SOURCE_PROMETHEUS)
    return tuple(_alert(fields, received_at) for fields in listed)


def _webhook(body: bytes) -> _Checked:
    try:
        return _delivery(_decoded(body))
    except _Rejected as error:
        raise InputRejected(
            f"this is not an Alertmanager webhook: {error}",
            hint="post what an Alertmanager receiver (webhook_config) sends, payload version 4",
        ) from None


def _alerts(body: bytes, received_at: datetime) -> list[_Fields]:
    try:
        return list(_any_form(body, received_at))
    except _Rejected as error:
        raise InputRejected(
            f"these are not alerts: {error}",
            hint='write a JSON list such as [{"labels": {"alertname": "DiskFull"}}]',
        ) from None


def _decoded(body: bytes) -> Any:
    if not body or body.isspace():
        raise _Rejected("the body is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Rejected(f"the body is not JSON: {error}") from None


def _delivery(content: Any) -> _Checked:
    message = _object(content, "the body")
    version = message.get("version")
    if version != WEBHOOK_VERSION:
        raise _Rejected(f'version: must be "{WEBHOOK_VERSION}", not {_shown(version)}')
    items = _list(message.get("alerts"), "alerts")
    truncated = message.get("truncatedAlerts", 0)
    if type(truncated) is not int or truncated < 0:
        raise _Rejected(f"truncatedAlerts: must be a count, not {_shown(truncated)}")
    alerts = list(_each(items, "alerts", _delivered))
    group_key = message.get("groupKey", "")
    return _Checked(alerts, truncated, group_key if isinstance(group_key, str) else "")


def _each(items: Sequence[Any], where: str, read: Callable[[Item], T]) -> Iterator[T]:
    for place, item in enumerate(items):
        try:
            yield read(_object(item, "the alert"))
        except _Rejected as error:
            raise _Rejected(f"{where}[{place}]: {error}") from None


def _delivered(item: Item) -> _Fields:
    """Return an alert as a webhook brings it: status and startsAt are always there."""
    status = _status(item.get("status"))
    if "startsAt" not in item:
        raise _Rejected("startsAt: is missing")
    return _fields(item, status, SOURCE_ALERTMANAGER)


def _fields(item: Item, status: AlertStatus, source: str) -> _Fields:
    labels = _texts(item.get("labels"), "labels")
    if not labels:
        raise _Rejected("labels: is empty or missing; an alert is identified by its labels")
    annotations = item.get("annotations")
    generator_url = item.get("generatorURL")
    return _Fields(
        status,
        labels,
        _texts(annotations, "annotations") if annotations else {},
        _time(item.get("startsAt"), "startsAt"),
        _time(item.get("endsAt"), "endsAt"),
        generator_url if isinstance(generator_url, str) else None,
        source,
    )


def _alert(fields: _Fields, received_at: datetime) -> Alert:
    return make_alert(
        labels=fields.labels,
        annotations=fields.annotations,
        status=fields.status,
        starts_at=fields.starts_at or received_at,
        ends_at=fields.ends_at,
        received_at=received_at,
        source=fields.source,
        generator_url=fields.generator_url,
    )


def _status(value: Any) -> AlertStatus:
    if value == "firing":
        return AlertStatus.FIRING
    if value == "resolved":
        return AlertStatus.RESOLVED
    raise _Rejected(f'status: must be "firing" or "resolved", not {_shown(value)}')


def _any_form(body: bytes, received_at: datetime) -> Iterator[_Fields]:
    try:
        content = _decoded(body)
    except _Rejected:
        if len(lines := body.splitlines()) < 2:
            raise
        yield from _lines(lines, received_at)
        return
    yield from _one_form(content, received_at)


def _lines(lines: Sequence[bytes], received_at: datetime) -> Iterator[_Fields]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield from _one_form(_decoded(line), received_at)
        except _Rejected as error:
            raise _Rejected(f"line {number}: {error}") from None


def _one_form(content: Any, received_at: datetime) -> Iterator[_Fields]:
    if isinstance(content, list):
        yield from _listed(content, "alerts", received_at, SOURCE_BY_HAND)
        return
    message = _object(content, "the body")
    if "labels" in message:
        yield from _listed([message], "alerts", received_at, SOURCE_BY_HAND)
    elif isinstance(message.get("data"), Mapping):
        items = _list(message["data"].get("alerts"), "data.alerts")
        yield from _listed(items, "data.alerts", received_at, SOURCE_PROMETHEUS)
    else:
        yield from _delivery(message).alerts


def _listed(
    items: Sequence[Any], where: str, received_at: datetime, source: str
) -> Iterator[_Fields]:
    found = _each(items, where, lambda item: _known_or_silent(item, received_at, source))
    return (fields for fields in found if fields is not None)


def _known_or_silent(item: Item, received_at: datetime, source: str) -> _Fields | None:
    """Return a listed alert; None for one that is suppressed or only pending."""
    status = item.get("status")
    if isinstance(status, Mapping):  # Alertmanager's API v2 lists what has not ended
        is_silent = status.get("state") == "suppressed"
        return None if is_silent else _fields(item, AlertStatus.FIRING, SOURCE_ALERTMANAGER)
    if "activeAt" in item:  # Prometheus' API
        if item.get("state") != "firing":
            return None
        item = {**item, "startsAt": item["activeAt"]}
        return _fields(item, AlertStatus.FIRING, SOURCE_PROMETHEUS)
    if status is not None:
        return _fields(item, _status(status), source)
    ends_at = _time(item.get("endsAt"), "endsAt")
    has_ended = ends_at is not None and ends_at <= received_at
    status = AlertStatus.RESOLVED if has_ended else AlertStatus.FIRING
    return _fields(item, status, source)


def _texts(value: Any, field: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _Rejected(f"{field}: must be an object of texts, not {_shown(value)}")
    for name, text in value.items():
        if type(text) is not str:
            shown = name[:_SHOWN_MAX]
            raise _Rejected(f"{field}.{shown}: must be a text, not {_shown(text)}")
    return value


def _time(value: Any, field: str) -> datetime | None:
    """Return a time, None for a missing one and for Go's zero time, which means "none"."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _Rejected(f"{field}: must be a time as text, not {_shown(value)}")
    moment = _moment(value[:64])
    if moment is None:
        raise _Rejected(f"{field}: {value[:64]!r} is not a time such as 2026-01-31T12:00:00Z")
    return moment if moment > _NONE_BEFORE else None


@lru_cache(maxsize=1024)
def _moment(text: str) -> datetime | None:
    """Return an RFC 3339 time, None if it is none; cached, as storms repeat the same ones."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo and len(text) >= 20 else None
    except (ValueError, OverflowError):
        return None


def _object(value: Any, field: str) -> Item:
    if not isinstance(value, dict):
        raise _Rejected(f"{field}: must be an object, not {_shown(value)}")
    return value


def _list(value: Any, field: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _Rejected(f"{field}: must be a list, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Return a value from outside in a few harmless words."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value[:_SHOWN_MAX])
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else repr(value)[:_SHOWN_MAX]
