"""What a panel's series mean: the signal that its owner stated, in our units; else only a title."""

from collections.abc import Mapping

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import SIGNAL_UNITS, Signal, SignalSeries
from it_incident_response.domain.labels import label_facts
from it_incident_response.integrations._grafana_panels import PanelSeries
from it_incident_response.integrations._grafana_settings import NAME

_SCALES: Mapping[str, tuple[str, float]] = {
    "percentunit": ("ratio", 1.0),
    "percent": ("ratio", 0.01),
    "s": ("seconds", 1.0),
    "dtdurations": ("seconds", 1.0),
    "ms": ("seconds", 1e-3),
    "dtdurationms": ("seconds", 1e-3),
    "µs": ("seconds", 1e-6),
    "ns": ("seconds", 1e-9),
    "m": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "d": ("seconds", 86400.0),
    "bytes": ("bytes", 1.0),
    "decbytes": ("bytes", 1.0),
    "kbytes": ("bytes", 1024.0),
    "deckbytes": ("bytes", 1e3),
    "mbytes": ("bytes", 1024.0**2),
    "decmbytes": ("bytes", 1e6),
    "gbytes": ("bytes", 1024.0**3),
    "decgbytes": ("bytes", 1e9),
    "reqps": ("per_second", 1.0),
    "ops": ("per_second", 1.0),
    "rps": ("per_second", 1.0),
    "wps": ("per_second", 1.0),
    "iops": ("per_second", 1.0),
    "cps": ("per_second", 1.0),
    "eps": ("per_second", 1.0),
    "mps": ("per_second", 1.0),
    "reqpm": ("per_second", 1 / 60),
    "opm": ("per_second", 1 / 60),
    "short": ("count", 1.0),
    "none": ("count", 1.0),
    "bool": ("bool", 1.0),
    "bool_on_off": ("bool", 1.0),
    "bool_yes_no": ("bool", 1.0),
}
"""Grafana's unit ids that are one of our units, and the factor."""
_WHOSE = (
    EntityKind.SERVICE,
    EntityKind.POD,
    EntityKind.CONTAINER,
    EntityKind.HOST,
    EntityKind.NODE,
    EntityKind.INSTANCE,
)


def as_signal(
    found: PanelSeries, *, title: str, link: str, owner: Entity, signal: Signal = Signal.OTHER
) -> SignalSeries:
    """Return a panel's series as the signal that it is stated to be.

    In the signal's unit, where the panel states one that can be converted; a panel without a unit
    is believed. A series whose unit contradicts the signal, and one of no stated signal, is
    `Signal.OTHER`, with the title, its own name and its unit. It belongs to the entity that its
    labels name, or else to `owner`.
    """
    scale = _scale(signal, found.unit)
    if scale is None:
        signal, scale = Signal.OTHER, 1.0
    series = found.series
    return SignalSeries(
        signal=signal,
        entity=_whose(series.labels, owner),
        source=NAME,
        query=found.query,
        link=link,
        labels=series.labels,
        times=series.times,
        values=series.values if scale == 1.0 else tuple(v * scale for v in series.values),
        title=_title(title, series.name, found.unit),
    )


def _scale(signal: Signal, unit: str) -> float | None:
    """Return the factor to the signal's unit, None if the panel's unit is of another kind."""
    wanted = SIGNAL_UNITS[signal]
    if wanted == "number" or unit in ("", "short", "none"):
        return 1.0
    kind, factor = _SCALES.get(unit.lower(), ("", 0.0))
    return factor if kind == wanted else None


def _whose(labels: Mapping[str, str], owner: Entity) -> Entity:
    named = {entity.kind: entity for entity in reversed(label_facts(labels).entities)}
    return next((named[kind] for kind in _WHOSE if kind in named), owner)


def _title(title: str, name: str, unit: str) -> str:
    shown = f"{title}: {name}" if name and name != title else title
    return f"{shown} ({unit})"[:300] if unit else shown[:300]


def owner_of(service: str | None, dashboard_title: str) -> Entity:
    """Return whose the series without telling labels are: the service's, or the dashboard's."""
    return Entity(EntityKind.SERVICE, service or dashboard_title)
