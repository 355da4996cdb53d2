"""Finds payment card numbers: the issuers' prefixes and lengths, and the Luhn check digit."""

import re

_RUN = re.compile(r"(?<!\d)(?<!\d[ -])\d(?:[ -]?\d)*+")
"""Digits with single blanks or dashes between them, from the first digit of the run to its last."""
_GROUP = re.compile(r"\d+")
_GROUP_MIN = 3
"""Digits of the shortest group in which cards are written (4-4-4-4, 4-6-5, 4-4-4-4-3)."""

_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14,)),
    (re.compile(r"6(?:011|4[4-9]|5)"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
)
"""Prefix and lengths of Visa, Mastercard, American Express, Diners Club, Discover and JCB.

ISO/IEC 7812; none begins with 1, as the Unix times of today in any unit do.
"""
_DIGITS_MIN, _DIGITS_MAX = 13, 19


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def redact_cards(text: str, mark: str) -> str:
    """Return `text` with `mark` in place of each card number."""
    return _RUN.sub(lambda run: _redact_run(run[0], mark), text)


def _redact_run(run: str, mark: str) -> str:
    if len(run) < _DIGITS_MIN:
        return run
    groups = [(match.start(), match.end()) for match in _GROUP.finditer(run)]
    kept: list[str] = []
    written = index = 0
    while index < len(groups):
        end = _card_from(run, groups, index)
        if end is None:
            index += 1
            continue
        kept += [run[written : groups[index][0]], mark]
        written = groups[end][1]
        index = end + 1
    return "".join([*kept, run[written:]])


def _card_from(run: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """Return the last group of the card number that begins with group `first`, if one does."""
    digits = ""
    found = None
    if run[groups[first][0]] not in "23456":
        return None
    for index in range(first, len(groups)):
        start, end = groups[index]
        if end - start < _GROUP_MIN or len(digits) + end - start > _DIGITS_MAX:
            break
        digits += run[start:end]
        if len(digits) >= _DIGITS_MIN and _is_card(digits):
            found = index
    return found


def _is_card(digits: str) -> bool:
    fits = any(
        len(digits) in lengths and prefix.match(digits) is not None for prefix, lengths in _ISSUERS
    )
    return fits and passes_luhn(digits)
