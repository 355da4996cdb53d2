"""How commands print: tables for people, JSON for programs; text from outside is made harmless."""

import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

UNWATCHED_WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""

_LINE_ENDS = re.compile(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters and bidirectional overrides: they could fake what a terminal shows."""


def clean(text: object, limit: int = 400) -> str:
    """Return one line that cannot move the cursor, reverse reading order or flood the screen.

    Line ends become a visible arrow: a new line could pass for one of ours.
    """
    line = _LINE_ENDS.sub("\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS} ", str(text)[: limit * 4])
    line = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", line.replace("\t", " "))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def console() -> "Console":
    """Return the terminal, with rich markup off so that text from outside is never markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNWATCHED_WIDTH
    return Console(markup=False, highlight=False, soft_wrap=True, width=width)


def print_json(value: Any) -> None:
    """Print one JSON document; pydantic models and times are understood."""
    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    click.echo(text.decode())


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, frozenset | set | tuple):
        return sorted(value) if isinstance(value, frozenset | set) else list(value)
    return str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; every cell is cleaned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else clean(cell) for cell in row))
    console().print(table)


def ago(then: datetime, now: datetime) -> str:
    """Return an age such as `4m` or `3h 10m`."""
    seconds = max(0, int((now - then).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 60:
        return f"{seconds}s"
    if minutes < 60:
        return f"{minutes}m"
    if hours < 48:
        return f"{hours}h {minutes % 60}m"
    return f"{days}d"


def when(moment: datetime | None) -> str:
    """Return a UTC time as people read it, or a dash."""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment else "-"
