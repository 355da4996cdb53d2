"""A dashboard's JSON (the classic model, of Grafana 5 to 12) as panels and variables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from it_incident_response.domain.evidence import TimeWindow

PANELS_READ_MAX = 1_000
TARGETS_MAX = 26
"""Queries read of one panel, as many as Grafana has letters for."""
VARIABLES_MAX = 100
_DEPTH_MAX = 4
"""Rows hold panels and nothing holds rows; deeper nesting is not Grafana's."""
_TITLE_MAX = 200


@dataclass(frozen=True)
class Panel:
    """One panel with its queries."""

    id: int
    title: str
    type: str
    unit: str
    """Grafana's unit id, such as `percentunit`; empty if it has none."""
    datasource: Any
    """None (the default), a name (before Grafana 8.3) or `{"type": ..., "uid": ...}`."""
    targets: tuple[Mapping[str, Any], ...]
    interval: str = ""
    library_uid: str | None = None


@dataclass(frozen=True)
class Variable:
    """A template variable as it is saved."""

    name: str
    type: str
    current: tuple[str, ...]
    """Chosen values; `("$__all",)` for all."""
    options: tuple[str, ...] = ()
    query: str = ""
    regex: str = ""
    all_value: str = ""
    is_multi: bool = False
    """Several values, or all of them, may be chosen: data sources quote such values otherwise."""
    datasource: Any = None

    @property
    def is_all(self) -> bool:
        """Whether all values are chosen."""
        return ALL in self.current or self.current == ("All",)


ALL = "$__all"


@dataclass(frozen=True)
class Dashboard:
    """A dashboard as far as it is needed to run its queries."""

    uid: str
    title: str
    slug: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    has_ad_hoc_filters: bool = False

    def choosing(self, chosen: Mapping[str, str]) -> "Dashboard":
        """Return the dashboard with other values chosen; names that it has not are left out."""
        variables = tuple(
            replace(variable, current=(chosen[variable.name],))
            if variable.name in chosen
            else variable
            for variable in self.variables
        )
        return replace(self, variables=variables)

    def link(
        self,
        base_url: str,
        window: TimeWindow,
        panel_id: int | None = None,
        variables: Mapping[str, Sequence[str]] | None = None,
        org_id: int | None = None,
    ) -> str:
        """Return the address that shows a panel, or the whole, over the window."""
        arguments = [("from", str(_ms(window.start))), ("to", str(_ms(window.end)))]
        if org_id is not None:
            arguments.insert(0, ("orgId", str(org_id)))
        if panel_id is not None:
            arguments.append(("viewPanel", str(panel_id)))
        chosen = variables or {}
        arguments += [(f"var-{name}", value) for name in chosen for value in chosen[name]]
        place = f"{quote(self.uid, safe='')}/{quote(self.slug, safe='')}"
        return f"{base_url}/d/{place}?{urlencode(arguments)}"


def read_dashboard(uid: str, content: Mapping[str, Any], meta: Mapping[str, Any]) -> Dashboard:
    """Return the dashboard; raises `ValueError` where it is not the classic model."""
    if not isinstance(content.get("panels", []), list) or not isinstance(
        content.get("rows", []), list
    ):
        raise ValueError("its panels are no list")
    variables = [v for v in _listed(_mapping(content.get("templating")).get("list"))]
    return Dashboard(
        uid=uid,
        title=_text(content.get("title")) or uid,
        slug=_text(meta.get("slug")) or "-",
        panels=tuple(_panels([*_listed(content.get("panels")), *_listed(content.get("rows"))])),
        variables=tuple(
            read_variable(v)
            for v in variables[:VARIABLES_MAX]
            if _text(v.get("name")) and v.get("type") not in ("adhoc", "groupby")
        ),
        has_ad_hoc_filters=any(
            v.get("type") == "adhoc" and bool(_listed(v.get("filters"))) for v in variables
        ),
    )


def read_panel(item: Mapping[str, Any]) -> Panel:
    """Return a panel; what is missing or malformed in it is left empty."""
    defaults = _mapping(_mapping(item.get("fieldConfig")).get("defaults"))
    number = item.get("id")
    library = _mapping(item.get("libraryPanel")).get("uid")
    return Panel(
        id=number if isinstance(number, int) else 0,
        title=_text(item.get("title")) or "untitled panel",
        type=_text(item.get("type")),
        unit=_text(defaults.get("unit")) or _old_unit(item),
        datasource=item.get("datasource"),
        targets=tuple(
            target
            for target in _listed(item.get("targets"))[:TARGETS_MAX]
            if not target.get("hide")
        ),
        interval=_text(item.get("interval")),
        library_uid=library if isinstance(library, str) else None,
    )


def read_variable(item: Mapping[str, Any]) -> Variable:
    """Return a template variable; what is missing or malformed in it is left empty."""
    query = item.get("query")
    if isinstance(query, Mapping):
        query = query.get("query")
    return Variable(
        name=_text(item.get("name")),
        type=_text(item.get("type")),
        current=_values(_mapping(item.get("current")).get("value")),
        options=tuple(
            value
            for option in _listed(item.get("options"))[:1000]
            for value in _values(option.get("value"))
            if value != ALL
        ),
        query=query if isinstance(query, str) else "",
        regex=item["regex"] if isinstance(item.get("regex"), str) else "",
        all_value=item["allValue"] if isinstance(item.get("allValue"), str) else "",
        is_multi=bool(item.get("multi") or item.get("includeAll")),
        datasource=item.get("datasource"),
    )


def _panels(items: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Yield all panels, those within rows too, in the order of the dashboard."""
    waiting = [(item, 0) for item in reversed(items)]
    seen = 0
    while waiting and seen < PANELS_READ_MAX:
        item, depth = waiting.pop()
        seen += 1
        inner = _listed(item.get("panels"))
        if depth < _DEPTH_MAX:
            waiting += [(one, depth + 1) for one in reversed(inner)]
        panel = read_panel(item)
        if panel.targets or panel.library_uid:
            yield panel


def _old_unit(item: Mapping[str, Any]) -> str:
    """Return the unit of a `graph` or `singlestat` panel of before Grafana 7."""
    axes = _listed(item.get("yaxes"))
    return _text(axes[0].get("format")) if axes else _text(item.get("format"))


def _values(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(str(v)[:1_000] for v in values[:1_000] if isinstance(v, str | int | float))


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value[:_TITLE_MAX] if isinstance(value, str) else ""


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
