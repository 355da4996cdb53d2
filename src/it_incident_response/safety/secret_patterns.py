"""What secrets look like; each pattern is anchored so that searching stays linear."""

import base64
import binascii
import re

_I = re.IGNORECASE

_NAMES = (
    r"(?:password|passwd|passphrase|pwd|secret|token|credentials?|set-cookie|cookie|"
    r"(?:proxy-)?authorization|"
    r"(?:api|access|private|secret|account|encryption|signing)[_-]?(?:key|secret)|"
    r"(?:session|auth)[_-]?(?:key|secret|id)|"
    r"(?:auth|session)[_-]?token)"
    r"(?:[_-]?(?:value|hash|b64|base64|key|id|[0-9]{1,3}))?"
)
_NAME_HINTS = ("pass", "pwd", "secret", "token", "credential", "cookie", "auth", "key", "session")
"""Each name has one of them: most texts have none, and need not be searched for names."""
_VALUE = (
    r"(?!\[redacted:)(?:"
    r"\\++\"[^\"\\]*+\\++\"|"  # JSON within JSON: \"...\"
    r"\"(?:[^\"\\\n]++|\\.)*+\"|"
    r"'(?:[^'\\\n]++|\\.)*+'|"
    r"[\"']?(?:[^\s,;&\"'\\]|\\(?![\"'nrt]))++)"
)
_ASSIGNED = re.compile(
    rf"(?P<kept>(?P<name>{_NAMES})(?:\\{{0,8}}[\"'])?[ \t]{{0,8}}(?>:=|=>|[:=])[ \t]{{0,8}}"
    rf"(?:(?:bearer|basic|digest|negotiate|token|apikey)[ \t]{{1,8}})?+)(?P<value>{_VALUE})",
    _I,
)
_OPTION = re.compile(
    rf"(?P<kept>--?(?:[a-z]{{1,12}}-){{0,3}}(?P<name>{_NAMES})[ \t]{{1,8}})"
    rf"(?P<value>(?!-){_VALUE})",
    _I,
)
_COOKIES = re.compile(
    r"(\b(?:set-cookie|cookie)[ \t]{0,4}:[ \t]{0,8}+)(?!\[redacted:)[^\r\n]++", _I
)
_BEARER = re.compile(r"(\bbearer[ \t]{1,8})([A-Za-z0-9._~+/=-]{8,}+)", _I)
_BASIC = re.compile(r"(\bbasic[ \t]{1,8})([A-Za-z0-9+/_-]{8,}+={0,2}+)", _I)
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+)?"
)
_AWS = re.compile(r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_ISSUED = re.compile(
    r"(?:gh[opsur]_|github_pat_|glpat-|gldt-|xox[abeoprs]-|xapp-|sk-|[sr]k_(?:live|test)_|whsec_|"
    r"AIza|ya29\.|SG\.|npm_|dop_v1_|hv[sbr]\.|glsa_|glc_|ATATT|shpat_|NRAK-|hf_|sntrys_)"
    r"[A-Za-z0-9_.=-]{16,}+"
)
"""Tokens that their issuers mark: GitHub, GitLab, Slack, Stripe, Google, SendGrid, Vault..."""
_URL = re.compile(r"(?<=://)([^\s/:@\"'<>]*+:)(?!\[redacted:)([^\s/?#\"'<>]+)@")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++"
)
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_NAME_ALONE = re.compile(rf"(?:.*[_.\s-])?{_NAMES}", _I | re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAME_MAX = 200

_UNIT_SUFFIXES = frozenset(
    ("service", "socket", "timer", "target", "path", "mount", "automount")
    + ("slice", "scope", "device", "swap")
)
_NO_SECRETS = frozenset({"", "null", "none", "true", "false", "nil", "undefined", "yes", "no"})
_BEARER_MIN_WITHOUT_DIGIT = 32
"""`bearer` before a shorter word of letters alone is English, not a header."""


def redact_patterns(text: str) -> str:
    """Return `text` with everything that looks like a secret replaced by its mark."""
    lowered = text.lower()
    text = _redact_private_keys(text) if "-----begin " in lowered else text
    text = _URL.sub(r"\1[redacted:password]@", text) if "://" in lowered else text
    text = _COOKIES.sub(r"\1[redacted:cookie]", text) if "cookie" in lowered else text
    if any(hint in lowered for hint in _NAME_HINTS):
        text = _ASSIGNED.sub(_redact_assigned, text)
        text = _OPTION.sub(_redact_assigned, text) if "-" in lowered else text
    text = _BEARER.sub(_redact_bearer, text) if "bearer" in lowered else text
    text = _BASIC.sub(_redact_basic, text) if "basic" in lowered else text
    text = _JWT.sub("[redacted:token]", text) if "eyj" in lowered else text
    text = _ISSUED.sub(_redact_issued, text)
    return _AWS.sub("[redacted:key]", text)


def redact_emails(text: str) -> str:
    """Return `text` without e-mail addresses; `name@instance.service` is a unit, not an address."""
    return _EMAIL.sub(_redact_email, text) if "@" in text else text


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret: `password`, `dbPassword`, `X_API_KEY`."""
    if len(name) > _NAME_MAX:
        return False
    return _NAME_ALONE.fullmatch(_CAMEL.sub("_", name)) is not None


def label_of(name: str) -> str:
    """Return what a secret of this name is called in its mark."""
    lowered = name.lower()
    if "pass" in lowered or "pwd" in lowered:
        return "password"
    if "cookie" in lowered:
        return "cookie"
    if "key" in lowered:
        return "key"
    return "token" if "token" in lowered or "auth" in lowered else "secret"


def _redact_assigned(match: re.Match[str]) -> str:
    value = match["value"]
    bare = value.strip("\\\"'")
    if bare.lower() in _NO_SECRETS or bare.startswith("[redacted:"):
        return match[0]
    start = value.find(bare)
    mark = f"[redacted:{label_of(match['name'])}]"
    return f"{match['kept']}{value[:start]}{mark}{value[start + len(bare) :]}"


def _redact_bearer(match: re.Match[str]) -> str:
    token = match[2]
    if not any(c.isdigit() for c in token) and len(token) < _BEARER_MIN_WITHOUT_DIGIT:
        return match[0]
    return f"{match[1]}[redacted:token]"


def _redact_basic(match: re.Match[str]) -> str:
    """Basic credentials are base64 of `user:password`; other words after `basic` stay."""
    token = match[2]
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), altchars=None, validate=True)
    except binascii.Error:
        return match[0]
    return f"{match[1]}[redacted:password]" if b":" in plain else match[0]


def _redact_issued(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()] if match.start() else ""
    is_inside_a_word = before.isalnum() or before in ("_", "-") and before != ""
    has_digit = any(c.isdigit() for c in match[0])
    return match[0] if is_inside_a_word or not has_digit else "[redacted:token]"


def _redact_email(match: re.Match[str]) -> str:
    top = match[0].rpartition(".")[2].lower()
    is_address = top.isalpha() and len(top) > 1 and top not in _UNIT_SUFFIXES
    return "[redacted:email]" if is_address else match[0]


def _redact_private_keys(text: str) -> str:
    """Blank every key block; one without an end is blanked to the end of the text."""
    kept: list[str] = []
    position = 0
    while (begin := _KEY_BEGIN.search(text, position)) is not None:
        kept += [text[position : begin.start()], "[redacted:private key]"]
        end = _KEY_END.search(text, begin.end())
        if end is None:
            return "".join(kept)
        position = end.end()
    return "".join([*kept, text[position:]])
