"""Which of the candidate fields exist, and how each may be searched, from `_field_caps`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from it_incident_response.integrations._elasticsearch_settings import Role

_KEYWORDS = frozenset({"keyword", "constant_keyword", "wildcard", "flattened", "flat_object"})
_TEXTS = frozenset({"text", "match_only_text", "annotated_text"})
_NUMBERS = frozenset(
    {
        "long",
        "integer",
        "short",
        "byte",
        "unsigned_long",
        "double",
        "float",
        "half_float",
        "scaled_float",
    }
)
_DATES = frozenset({"date", "date_nanos"})
_NAMES_SHOWN = 3
_PATTERN_LENGTH_MAX = 2000


class Kind(Enum):
    """How a field's values are compared."""

    KEYWORD = "keyword"
    TEXT = "text"
    """Split into words: a whole value can only be looked for as a phrase."""
    NUMBER = "number"
    DATE = "date"
    MIXED = "mixed"
    """Mapped differently in different indices."""
    OTHER = "other"


@dataclass(frozen=True)
class Field:
    """One field that exists in at least one index."""

    name: str
    kind: Kind
    types: frozenset[str]
    is_aggregatable: bool

    @property
    def has_positions(self) -> bool:
        """Tell whether span queries work: they do on `text` only."""
        return self.types == {"text"}


@dataclass(frozen=True)
class Layout:
    """How the documents of one index pattern are to be searched and read."""

    index: str
    """The pattern to search; indices without usable timestamps are taken out."""
    timestamp: Field | None
    fields: Mapping[Role, tuple[Field, ...]]
    """Usable fields by role, best first; a `.keyword` sub-field stands for its text field."""
    names: Mapping[Role, tuple[str, ...]]
    """Candidate names by role, for reading documents: also those that are not indexed."""
    gaps: tuple[str, ...] = ()
    is_empty: bool = False
    """No index matches the pattern."""

    def of(self, role: Role) -> tuple[Field, ...]:
        """Return the usable fields of a role."""
        return self.fields.get(role, ())


def names_to_ask(candidates: Mapping[Role, Sequence[str]]) -> list[str]:
    """Return the names to ask `_field_caps` for: sub-fields and flattened parents included."""
    wanted: dict[str, None] = {}
    for role, names in candidates.items():
        for name in names:
            wanted[name] = None
            if role not in ("timestamp", "message", "stack"):
                wanted[f"{name}.keyword"] = None
                wanted |= dict.fromkeys(_parents(name))
    return list(wanted)


def read_layout(
    index: str, candidates: Mapping[Role, tuple[str, ...]], caps: Mapping[str, Any]
) -> Layout:
    """Return the layout that a `_field_caps` reply describes; a bad entry counts as none."""
    found = _fields_of(caps)
    is_empty = not caps.get("indices")
    if is_empty:
        gap = f"no index matches {index!r}: nothing was searched"
        return Layout(index, None, {}, candidates, (gap,), is_empty=True)
    usable = {role: tuple(_usable(names, found)) for role, names in candidates.items()}
    stamps = [_stamp(name, found) for name in candidates["timestamp"]]
    timestamp = next((field for field in stamps if field), None)
    if timestamp is None:
        looked = ", ".join(candidates["timestamp"])
        gap = f"no date field in {index!r} (looked for {looked}): nothing was searched"
        return Layout(index, None, usable, candidates, (gap,))
    cut, gaps = _without_stamp(timestamp, caps)
    mixed = [
        field
        for role, fields in usable.items()
        for field in fields
        if field.kind is Kind.MIXED and role != "timestamp"
    ]
    gaps += [_mixed_gap(field) for field in dict.fromkeys(mixed)]
    return Layout(_reduced(index, cut), timestamp, usable, candidates, tuple(gaps))


def _usable(names: Iterable[str], found: Mapping[str, Field]) -> Iterable[Field]:
    for name in names:
        field = found.get(name)
        exact = found.get(f"{name}.keyword")
        if field is None:
            yield from _within_flattened(name, found)
        elif field.kind is Kind.TEXT and exact is not None and exact.kind is Kind.KEYWORD:
            yield exact
        elif field.kind not in (Kind.OTHER, Kind.DATE):
            yield field


def _within_flattened(name: str, found: Mapping[str, Field]) -> Iterable[Field]:
    for parent in _parents(name):
        field = found.get(parent)
        if field is not None and field.types <= {"flattened", "flat_object"}:
            yield Field(name, Kind.KEYWORD, field.types, field.types == {"flattened"})
            return


def _stamp(name: str, found: Mapping[str, Field]) -> Field | None:
    field = found.get(name)
    dates = frozenset() if field is None else field.types & _DATES
    return Field(name, Kind.DATE, dates, True) if dates else None


def _without_stamp(stamp: Field, caps: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the indices to leave out, in which the timestamp is no date, and the gaps to name."""
    kinds: Mapping[str, Any] = caps["fields"][stamp.name]
    cut: list[str] = []
    gaps: list[str] = []
    for kind, entry in kinds.items():
        names = _indices(entry)
        if kind in _DATES or not names:
            continue
        if kind == "unmapped":
            gaps.append(f"no field {stamp.name!r} in {_listed(names)}: not searched")
        else:
            cut += names
            gaps.append(f"{stamp.name!r} is {kind}, no date, in {_listed(names)}: not searched")
    return cut, gaps


def _reduced(index: str, cut: Sequence[str]) -> str:
    """Take indices out of a pattern, as many as a request line holds; others fail by themselves."""
    for name in cut:
        longer = f"{index},-{name}"
        if len(longer) > _PATTERN_LENGTH_MAX:
            break
        index = longer
    return index


def _mixed_gap(field: Field) -> str:
    kinds = " and ".join(sorted(field.types))
    return (
        f"field {field.name!r} is mapped as {kinds} in different indices: "
        "it is compared word by word, and cannot be counted by"
    )


def _fields_of(caps: Mapping[str, Any]) -> dict[str, Field]:
    given = caps.get("fields")
    fields = given if isinstance(given, Mapping) else {}
    return {
        name: field
        for name, kinds in fields.items()
        if isinstance(kinds, Mapping) and (field := _field(name, kinds)) is not None
    }


def _field(name: str, kinds: Mapping[str, Any]) -> Field | None:
    entries = {kind: e for kind, e in kinds.items() if kind != "unmapped" and isinstance(e, dict)}
    types = frozenset(entries)
    if not types or types <= {"object", "nested"}:
        return None
    kind = _kind(types)
    can_aggregate = all(entry.get("aggregatable") is True for entry in entries.values())
    return Field(name, kind, types, can_aggregate and kind is not Kind.MIXED)


def _kind(types: frozenset[str]) -> Kind:
    families = (
        (_KEYWORDS, Kind.KEYWORD),
        (_TEXTS, Kind.TEXT),
        (_NUMBERS, Kind.NUMBER),
        (_DATES, Kind.DATE),
    )
    for family, kind in families:
        if types <= family:
            return kind
    return Kind.OTHER if not types & (_KEYWORDS | _TEXTS | _NUMBERS) else Kind.MIXED


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _indices(entry: Any) -> list[str]:
    listed = entry.get("indices") if isinstance(entry, Mapping) else None
    given = listed if isinstance(listed, list) else [listed]
    return [name for name in given if isinstance(name, str)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
