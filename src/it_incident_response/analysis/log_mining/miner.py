"""Mines templates from a stream of log lines, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from it_incident_response.analysis.log_mining.clusters import TEMPLATES_MAX, Clusters, Template
from it_incident_response.analysis.log_mining.masking import first_line, mask

if TYPE_CHECKING:
    import polars as pl

LOOKS_MAX = 8
"""Batches in which the first and last line of a text are looked at for what varies."""
KEYS_MAX = 100_000
"""Texts without digits whose template is remembered between batches."""


class TemplateMiner:
    """Gives each line the id of its template; learns online, forgets the oldest when full.

    No setting depends on what the lines are about. A template may later be found to be part of
    another; then `current` leads from the old id to the new one, and `template` takes either. The
    same lines in the same batches always give the same ids. Not safe for concurrent use.
    """

    def __init__(self, *, templates_max: int = TEMPLATES_MAX) -> None:
        self._clusters = Clusters(templates_max)
        self._by_key: dict[str, tuple[int, int]] = {}
        self.lines = 0
        """Lines seen."""

    def __len__(self) -> int:
        return len(self._clusters)

    def __iter__(self) -> Iterator[Template]:
        """Iterate over the templates known now."""
        return iter(self._clusters)

    @property
    def forgotten(self) -> int:
        """Templates that had to make room."""
        return self._clusters.forgotten

    def add(self, lines: "Sequence[str] | pl.Series") -> npt.NDArray[np.int64]:
        """Return the template id of each line.

        Batches of 10,000 to 100,000 lines are quickest. Of a line only the first
        `masking.LINE_LENGTH_MAX` characters up to a line end are looked at.
        """
        from it_incident_response.analysis.log_mining.columns import column_of, grouped

        if len(lines) == 0:
            return np.zeros(0, dtype=np.int64)
        found = grouped(column_of(lines))
        ids = np.empty(len(found.keys), dtype=np.int64)
        for index, key in enumerate(found.keys):
            template = self._template(key, found.first[index], found.last[index])
            template.count += int(found.counts[index])
            ids[index] = template.id
        self.lines += len(lines)
        ids = np.array([self.current(int(found_id)) for found_id in ids], dtype=np.int64)
        return ids[found.group_of]

    def current(self, template_id: int) -> int:
        """Return the id of the template that this one is now: itself, or what it has joined."""
        return self._clusters.current(template_id)

    def template(self, template_id: int) -> str | None:
        """Return the text of a template, `<*>` for each variable; None if it was forgotten."""
        template = self._clusters.get(template_id)
        return template.text if template else None

    def _template(self, key: str, first: str, last: str) -> Template:
        known_id, looks = self._by_key.get(key, (0, 0))
        known = self._clusters.get(known_id)
        if known is not None and (first == last or looks >= LOOKS_MAX):
            return self._clusters.touch(known)
        template = self._clusters.find(mask(first_line(first)))
        if last != first:
            self._clusters.find(mask(first_line(last)))
            template = self._clusters.get(template.id) or template
        if len(self._by_key) >= KEYS_MAX:
            self._by_key.clear()
        self._by_key[key] = (template.id, looks + 1)
        return template
