"""Groups a batch of lines, as a column, by their text without digits: only one of each is masked.

A million lines of a log have a few thousand distinct texts once every run of hexadecimal digits
that has a digit in it is taken for the same. That takes one pass of a regular expression over the
column; all that follows works on the distinct ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from it_incident_response.analysis.log_mining.masking import LINE_LENGTH_MAX, first_line

_DIGITS = r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*(?:\.[0-9a-fA-F]*[0-9][0-9a-fA-F]*)*"
_NEEDS_CARE = r"[\x1b\n\r]"


class Grouped(NamedTuple):
    """The distinct texts of a batch."""

    keys: list[str]
    """Texts without digits, in the order in which they first came."""
    first: list[str]
    """The first line of each."""
    last: list[str]
    """The last line of each: where it differs, what differs is a variable."""
    counts: npt.NDArray[np.int64]
    group_of: npt.NDArray[np.int64]
    """For each line of the batch the index of its text."""


def column_of(lines: Sequence[str] | pl.Series) -> pl.Series:
    """Return lines as a column of bounded first lines; what is not Unicode becomes U+FFFD."""
    column = lines if isinstance(lines, pl.Series) else _series(lines)
    longest = column.str.len_bytes().max()
    if isinstance(longest, int) and longest > LINE_LENGTH_MAX:
        column = column.str.head(LINE_LENGTH_MAX)
    if column.str.contains(_NEEDS_CARE).any():
        column = pl.Series([first_line(line) for line in column.to_list()], dtype=pl.String)
    return column


def grouped(column: pl.Series) -> Grouped:
    """Return the distinct texts of a column of lines."""
    frame = pl.DataFrame({"key": column.str.replace_all(_DIGITS, "0")}).with_row_index("row")
    found = frame.group_by("key", maintain_order=True).agg(
        pl.col("row").first().alias("first"),
        pl.col("row").last().alias("last"),
        pl.len().alias("count"),
    )
    numbered = found.select("key").with_row_index("group")
    group_of = frame.select("key").join(numbered, on="key", how="left", maintain_order="left")
    return Grouped(
        found["key"].to_list(),
        column.gather(found["first"]).to_list(),
        column.gather(found["last"]).to_list(),
        found["count"].to_numpy().astype(np.int64),
        group_of["group"].to_numpy().astype(np.int64),
    )


def _series(lines: Sequence[str]) -> pl.Series:
    try:
        return pl.Series(lines, dtype=pl.String)
    except UnicodeEncodeError:  # lone surrogates, as of bytes that are not UTF-8
        clean = [line.encode("utf-8", "replace").decode() for line in lines]
        return pl.Series(clean, dtype=pl.String)
