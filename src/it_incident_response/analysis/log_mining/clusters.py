"""Joins masked texts that differ in a word which takes many values, online and in bounded memory.

Masking finds variables by their shape; a variable that looks like a word (the name of a user, of a
queue) shows only by how many values it takes. Each template is kept under one key for every word
left out; templates under one key differ in that word alone. As soon as it has taken enough values
for a word of its kind, they become one template with `<*>` in its place.
"""

import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from it_incident_response.analysis.log_mining.masking import VARIABLE, tidy

TEMPLATES_MAX = 20_000
"""Templates kept; of more, the one not seen for the longest time is forgotten."""
TEXTS_MAX = 100_000
"""Masked texts whose template is remembered, to be found again at once."""
WORDS_COMPARED = 48
"""Words of a template that may turn out to be variables; the first ones."""

_SPLIT = re.compile(r"""([\s,!;:=|"'\[\](){}]|\.+(?=[\s,;:)\]}"']|$))""")
_EMPTY_BRACKETS = re.compile(r"\(\)|\[\]")
_LIST = re.compile(r"<\*>(?:(?:, ?| )<\*>)+")
_UNITS = frozenset(
    {"B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "bytes", "ns", "us", "ms", "s"}
)
_CONSTANT = re.compile(r"[^\W\d_]{2}")
"""Something must stay to know a template by."""
_INNER = re.compile(r"[A-Za-z0-9][.\-_@][A-Za-z0-9]")

_VALUES_OF_A_NUMBERED_WORD = 2
_VALUES_OF_A_NAME = 3
_VALUES_OF_A_WORD = 4
_VALUES_OF_AN_IDENTIFIER = 5
_VALUES_OF_A_CONSTANT = 8
_TOKENS_OF_A_WORD = 2
"""A word and what stands behind it."""
_FIRST_WORD_FACTOR = 3
_HASH_MASK = (1 << 61) - 1


@dataclass(eq=False)
class Template:
    """One template as it is known now."""

    id: int
    tokens: list[str]
    """Words and what stands between them, in turns."""
    count: int = 0
    open_places: frozenset[int] = frozenset()
    """Places of `tokens` where words were found to vary: any other word there belongs too."""
    unit_places: frozenset[int] = frozenset()
    """Those of them that are the unit of the number before: shown as one variable with it."""

    @property
    def text(self) -> str:
        """The constant text, `<*>` for each variable."""
        words = list(self.tokens)
        for place in self.unit_places:
            words[place - 1 : place + 1] = ["", ""]
        return tidy("".join(words))


class Clusters:
    """Finds the template of a masked text; templates may be joined later, see `current`."""

    def __init__(self, templates_max: int = TEMPLATES_MAX) -> None:
        self._templates_max = templates_max
        self._templates: OrderedDict[int, Template] = OrderedDict()
        self._joined: dict[int, int] = {}
        self._by_text: dict[str, int] = {}
        self._by_form: dict[str, int] = {}
        self._by_gap: defaultdict[int, list[int]] = defaultdict(list)
        self._next_id = 1
        self.forgotten = 0
        """Templates that had to make room."""

    def __len__(self) -> int:
        return len(self._templates)

    def __iter__(self) -> Iterator[Template]:
        return iter(self._templates.values())

    def current(self, template_id: int) -> int:
        """Return the id of the template that this one has become part of."""
        while template_id in self._joined:
            template_id = self._joined[template_id]
        return template_id

    def get(self, template_id: int) -> Template | None:
        """Return a template by any id it ever had; None if it was forgotten."""
        return self._templates.get(self.current(template_id))

    def touch(self, template: Template) -> Template:
        """Return a template, marked as seen just now."""
        self._templates.move_to_end(template.id)
        return template

    def find(self, text: str) -> Template:
        """Return the template of a masked text, a new one if none fits."""
        known = self._by_text.get(text)
        if known is not None:
            template = self.get(known)
            if template is not None:
                return self.touch(template)
        template = self._of_form(text) or self._new(text)
        if len(self._by_text) >= TEXTS_MAX:
            self._by_text.clear()
        self._by_text[text] = template.id
        return template

    def _of_form(self, text: str) -> Template | None:
        """Return the template that differs only in how long a list is or in what is empty."""
        filled = _EMPTY_BRACKETS.sub(_filled, text)
        form = _LIST.sub(VARIABLE, filled)
        known = self.get(self._by_form.get(form, 0))
        if known is None:
            return None
        there = _EMPTY_BRACKETS.sub(_filled, "".join(known.tokens))
        if there == filled:
            return self._become(known, filled)
        if _LIST.sub(VARIABLE, there) == form:
            return self._become(known, form)
        return known

    def _become(self, template: Template, text: str) -> Template:
        tokens = _SPLIT.split(text)
        if tokens != template.tokens:
            self._unlist(template)
            template.tokens, template.open_places = tokens, frozenset()
            template.unit_places = frozenset()
            return self._list(template)
        return template

    def _new(self, text: str) -> Template:
        if len(self._templates) >= self._templates_max:
            self._forget(next(iter(self._templates.values())))
        template = Template(self._next_id, _SPLIT.split(text))
        self._next_id += 1
        self._templates[template.id] = template
        return self._list(template)

    def _list(self, template: Template) -> Template:
        """Enter a template under its keys; return the one it is joined with, if it is."""
        text = "".join(template.tokens)
        same = self.get(self._by_text.get(text, 0))
        if same is not None and same is not template and same.tokens == template.tokens:
            return self._join(same, [template])
        self._by_text[text] = template.id
        self._by_form.setdefault(_form(text), template.id)
        for place, key in _gap_keys(template.tokens):
            alike = self._by_gap[key]
            alike.append(template.id)
            found = [t for t in map(self._templates.get, alike) if t is not None]
            if len(found) > 1 and _vary(found, place):
                return self._generalize(found, place)
        return template

    def _generalize(self, found: list[Template], place: int) -> Template:
        are_units = _are_units(found, place)
        kept = self._join(found[0], found[1:])
        self._unlist(kept)
        if are_units:
            kept.unit_places |= {place}
        kept.tokens = [*kept.tokens[:place], VARIABLE, *kept.tokens[place + 1 :]]
        kept.open_places |= {place}
        return self._list(kept)

    def _join(self, kept: Template, others: list[Template]) -> Template:
        for other in others:
            self._unlist(other)
            self._by_text["".join(other.tokens)] = kept.id
            kept.open_places |= other.open_places
            kept.unit_places |= other.unit_places
            del self._templates[other.id]
            self._joined[other.id] = kept.id
            kept.count += other.count
        return kept

    def _forget(self, template: Template) -> None:
        self.forgotten += 1
        self._unlist(template)
        del self._templates[template.id]

    def _unlist(self, template: Template) -> None:
        text = "".join(template.tokens)
        if self._by_text.get(text) == template.id:
            del self._by_text[text]
        form = _form(text)
        if self._by_form.get(form) == template.id:
            del self._by_form[form]
        for _, key in _gap_keys(template.tokens):
            alike = self._by_gap.get(key)
            if alike and template.id in alike:
                alike.remove(template.id)
                if not alike:
                    del self._by_gap[key]


def _filled(found: re.Match[str]) -> str:
    brackets = found.group()
    return f"{brackets[0]}{VARIABLE}{brackets[1]}"


def _form(text: str) -> str:
    return _LIST.sub(VARIABLE, _EMPTY_BRACKETS.sub(_filled, text))


def _gap_keys(tokens: list[str]) -> list[tuple[int, int]]:
    """Return place and key of each word: the key tells everything but that word.

    None for a word without which no constant one is left.
    A sum of hashes weighed by place, so that all keys of a template take one pass.
    """
    parts = [hash((place, token)) for place, token in enumerate(tokens)]
    total = sum(parts) + hash(len(tokens))
    constant = [bool(_CONSTANT.search(token)) for token in tokens]
    count = sum(constant)
    return [
        (place, hash((place, (total - parts[place]) & _HASH_MASK)))
        for place in range(0, min(len(tokens), 2 * WORDS_COMPARED), 2)
        if count > constant[place]
    ]


def _vary(found: list[Template], place: int) -> bool:
    """Return whether the word in which these templates differ is a variable."""
    if any(place in template.open_places for template in found):
        return True
    values = {template.tokens[place] for template in found}
    if _are_units(found, place):
        return True
    needed = max(map(_values_needed, values))
    if place == 0 and needed > _VALUES_OF_A_NUMBERED_WORD:
        needed *= _FIRST_WORD_FACTOR
    return len(values) >= needed


def _are_units(found: list[Template], place: int) -> bool:
    """Return whether the templates differ in the unit of a number, as `10 KB` and `3 MB`."""
    tokens = found[0].tokens
    after_number = place >= _TOKENS_OF_A_WORD and tokens[place - _TOKENS_OF_A_WORD] == VARIABLE
    return (
        after_number
        and tokens[place - 1] == " "
        and all(t.tokens[place] in _UNITS or place in t.unit_places for t in found)
    )


def _values_needed(word: str) -> int:
    if VARIABLE in word:
        return _VALUES_OF_A_NUMBERED_WORD
    if not any(map(str.isalpha, word)):
        return _VALUES_OF_A_NUMBERED_WORD if word else _VALUES_OF_A_NAME
    if any(map(str.isdigit, word)):
        return _VALUES_OF_A_NUMBERED_WORD
    last = re.split(r"[.\-@$]", word)[-1] or word
    if last.isupper() or last.replace("_", "").isupper():
        return _VALUES_OF_A_CONSTANT
    if last != last.lower():
        return _VALUES_OF_AN_IDENTIFIER
    return _VALUES_OF_A_NAME if _INNER.search(word) else _VALUES_OF_A_WORD
