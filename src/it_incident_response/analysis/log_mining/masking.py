"""Replaces what is a variable by its shape alone: numbers, ids, addresses, paths, names of hosts.

The text that remains follows the usual convention of labelled template sets: a variable is `<*>`
and takes the whole word it stands in, a word ends at white space or at one of `,!;:=|"'[](){}` or,
unless it is a path or a name of a host, at one of `./-+@#$%&`. So an address with a port is
`<*>:<*>`, and a date `<*>-<*>-<*>`.
"""

import re
from functools import lru_cache

VARIABLE = "<*>"
LINE_LENGTH_MAX = 2_000
"""Characters of a line that are looked at: the constant text stands at its beginning."""

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CALENDAR = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{1,2} "
    r"\d{1,2}:\d{2}:\d{2}(?:\.\d+)?(?: (?:19|20)\d\d\b)?"
)
"""A date as C's `asctime` writes it."""
_CALENDAR_MASK = "<*>:<*>:<*>"
_REQUEST = re.compile(r"\b(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+ HTTP/\d(?:\.\d)?")
_QUOTED = re.compile(r'"([^"]{1,200})"')
_VERBS = ("GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS ")
_SAYS = re.compile(r"(?i)(?:msg|message|err|error|reason|cause|exception|event|log)=$")
"""Fields whose quoted value is the message itself."""
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.]{1,11})://([^\s,;|\"'\[\](){}<>]+)")
_WINDOWS_PATH = re.compile(r"(?<![\w\\])[A-Za-z]:\\[^\s,;|\"'\[\](){}]*")
_PIECE = re.compile(r"[^\s,!;:=|\"'\[\](){}]+")
_PATH = re.compile(r"(?:/[^/]+)+/?")
_MAC = re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b")
_DIGIT = re.compile(r"[0-9]")
_NUMBER = re.compile(r"[-+]?\.?\d[^./+@#$%&-]*(?:\.\d[^./+@#$%&-]*)*(?:-\d+(?:\.\d+)*)?%?")
"""With sign, fraction and unit, or a version such as `2.6.5-1.358`."""
_NEGATIVE_ID = re.compile(r"\w+_-\d+")
_NUMBERED = re.compile(r"_\d")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:T\d{1,2})?|\d{1,2}-\d{1,2}-\d{4}")
_WORD_END = re.compile(r"([./\-+@#$%&])")
_HOST = re.compile(
    r"(?:[A-Za-z0-9_-]+\.)+(?:com|net|org|edu|gov|mil|int|info|local|internal|lan|corp|intra|"
    r"home|cluster|svc|arpa|ac|ar|at|au|be|br|ca|ch|cl|cn|cz|de|dk|es|eu|fi|fr|gr|hk|hu|ie|il|"
    r"in|it|jp|kr|mx|nl|no|nz|pl|pt|ro|ru|se|sg|tr|tw|ua|uk|us|za)"
)
_HEX_ID = re.compile(r"(?=.*\d)[0-9A-Fa-f]{6,}")
_USUAL_VALUES = frozenset({"true", "false", "null", "root", "admin"})
"""Words that are values wherever they stand: booleans and the names that every system has."""
_DIGITS_OF_AN_ID = 4
_DASHES_OF_A_NAME = 2
_COLONS_OF_A_MAC = 5
_PACKAGED = re.compile(r"(?:[a-z][a-z0-9_]*\.){2,}[A-Za-z_$][\w$]*")
"""Name of a class or package: a digit in it is part of a name (`app.v2.Job`)."""
_JOINED = re.compile(r"<\*>(?:\.?<\*>)+")


def first_line(message: str) -> str:
    """Return the first line that is not empty, without escape sequences, bounded in length."""
    text = without_escapes(message[:LINE_LENGTH_MAX])
    return text.strip().partition("\n")[0]


def without_escapes(text: str) -> str:
    """Return text without the escape sequences that colour a terminal."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def mask(line: str) -> str:
    """Return one line with everything that has the shape of a variable replaced by `<*>`."""
    text = " ".join(line.split())
    text = _CALENDAR.sub(_CALENDAR_MASK, text)
    if '"' in text:
        text = _REQUEST.sub(rf"\1 {VARIABLE}", text)
        text = _QUOTED.sub(_masked_quote, text)
    if "://" in text:
        text = _URL.sub(_masked_url, text)
    if ":\\" in text:
        text = _WINDOWS_PATH.sub(VARIABLE, text)
    if text.count(":") >= _COLONS_OF_A_MAC:
        text = _MAC.sub(VARIABLE, text)
    return tidy(_PIECE.sub(lambda found: _masked_piece(found.group()), text))


def tidy(template: str) -> str:
    """Join variables with nothing or only a dot between them."""
    return _JOINED.sub(VARIABLE, template)


def _masked_quote(found: re.Match[str]) -> str:
    """Mask a quoted value; not a name or value of JSON, a request line, or a message."""
    text, start, end = found.string, found.start(), found.end()
    before = text[max(0, start - 2) : start].rstrip()
    is_json = before[-1:] in ("{", ":", ",", "[", "\\") or text[end : end + 1] == ":"
    if is_json or found[1].startswith(_VERBS) or _SAYS.search(text[max(0, start - 20) : start]):
        return found[0]
    return f'"{VARIABLE}"'


def _masked_url(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    host, slash, path = rest.partition("/")
    if slash and path:
        return f"{scheme}://{VARIABLE}"
    name, colon, _ = host.partition(":")
    port = f":{VARIABLE}" if colon else ""
    return f"{scheme}://{VARIABLE if name else ''}{port}{slash}"


@lru_cache(maxsize=65_536)
def _masked_piece(piece: str) -> str:
    if piece[0] == "/":
        if _PATH.fullmatch(piece):
            return VARIABLE
        slashes = piece[: len(piece) - len(piece.lstrip("/"))]
        return slashes + (_masked_parts(piece[len(slashes) :]) if len(slashes) < len(piece) else "")
    return _masked_parts(piece)


def _masked_parts(piece: str) -> str:
    return "/".join(_masked_part(part) if part else "" for part in piece.split("/"))


def _masked_part(part: str) -> str:
    bare = part.rstrip(".")
    end = part[len(bare) :]
    if bare.lower() in _USUAL_VALUES or _is_host(bare):
        return VARIABLE + end
    if not _DIGIT.search(bare) or _PACKAGED.fullmatch(bare):
        return part
    if _DATE.fullmatch(bare):
        return "-".join([VARIABLE] * 3) + end
    if _NUMBER.fullmatch(bare) or _is_dashed_name(bare):
        return VARIABLE + end
    return tidy("".join(map(_masked_word, _WORD_END.split(_NEGATIVE_ID.sub(VARIABLE, bare))))) + end


def _is_host(bare: str) -> bool:
    """Return whether this is the full name of a host, or an e-mail address."""
    if "." not in bare:
        return False
    name, at, host = bare.partition("@")
    return _HOST.fullmatch(host if at and name else bare) is not None


def _is_dashed_name(bare: str) -> bool:
    return bare.count("-") >= _DASHES_OF_A_NAME and not bare.startswith("-")


def _masked_word(word: str) -> str:
    digits = len(_DIGIT.findall(word))
    if not digits:
        return word
    if not word[0].isalpha() or digits >= _DIGITS_OF_AN_ID:
        return VARIABLE
    is_version = word[0] in "vV" and digits == len(word) - 1
    return VARIABLE if is_version or _NUMBERED.search(word) or _HEX_ID.fullmatch(word) else word
