"""Redactor: takes secrets and personal data out of text that we keep or show.

Linear in the length of the text, also of a hostile one: every search starts at a literal or at the
beginning of a run of characters, and no repetition can be entered twice over the same text.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, Field, SecretBytes, SecretStr, StringConstraints

from it_incident_response.domain.model import Value
from it_incident_response.safety.card_numbers import redact_cards
from it_incident_response.safety.secret_patterns import (
    is_secret_name,
    label_of,
    redact_emails,
    redact_patterns,
)

SECRET_MIN = 4
"""Characters of the shortest exact secret: a shorter one would tear ordinary words apart."""
DEPTH_MAX = 64


class SecretShape(Value):
    """A kind of token of your own: a fixed beginning, then letters, digits and `_ . = / + -`.

    Not a regular expression, so that none can be slow.
    """

    label: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9 _-]{0,30}$")]
    prefix: Annotated[str, StringConstraints(min_length=3, max_length=50)]
    length_min: int = Field(default=8, ge=1, le=256)
    """Characters that follow the beginning, at least."""


class Redactor:
    """Replaces what looks like a secret by a mark that says what was removed.

    Without knowing a secret only its shape or its name can give it away: register the exact values
    of those that the configuration holds.
    """

    def __init__(
        self,
        *,
        shapes: Sequence[SecretShape] = (),
        secrets: Sequence[SecretStr | str] = (),
        emails: bool = True,
        cards: bool = True,
    ) -> None:
        tail = r"[A-Za-z0-9_.=/+-]"
        self._shapes = [
            (
                re.compile(f"{re.escape(s.prefix)}{tail}{{{s.length_min},}}+"),
                f"[redacted:{s.label}]",
            )
            for s in shapes
        ]
        self._emails = emails
        self._cards = cards
        self._exact: tuple[str, ...] = ()
        for secret in secrets:
            self.register(secret)

    def __repr__(self) -> str:
        return f"Redactor({len(self._exact)} exact forms, {len(self._shapes)} shapes)"

    def register(self, secret: SecretStr | str) -> bool:
        """Remove this exact value from now on, also when URL- or base64-encoded.

        Returns False, and does nothing, if it has fewer than 4 characters.
        """
        plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        if len(plain.strip()) < SECRET_MIN:
            return False
        encoded = base64.b64encode(plain.encode()).decode()
        forms = {*self._exact, plain, quote(plain, safe=""), encoded, encoded.rstrip("=")}
        self._exact = tuple(sorted(forms, key=len, reverse=True))
        return True

    def redact(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._exact:
            text = text.replace(secret, "[redacted:secret]")
        for pattern, mark in self._shapes:
            text = pattern.sub(mark, text)
        text = redact_patterns(text)
        text = redact_emails(text) if self._emails else text
        return redact_cards(text, "[redacted:card]") if self._cards else text

    def redact_value(self, value: Any) -> Any:
        """Return JSON-like data without secrets: by the names of fields, and in every text.

        Mappings become dictionaries, sequences lists; what has no text in it stays as it is. Beyond
        64 levels everything is removed.
        """
        return self._redacted(value, 0)

    def _redacted(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, SecretStr | SecretBytes):
            return "[redacted:secret]"
        if isinstance(value, bytes | bytearray):
            return self.redact(bytes(value).decode("utf-8", "replace"))
        if isinstance(value, BaseModel):
            value = dict(value)
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return value
        if depth >= DEPTH_MAX:
            return "[redacted:too deep]"
        if isinstance(value, Mapping):
            return {self._key(k): self._field(k, v, depth + 1) for k, v in value.items()}
        return [self._redacted(item, depth + 1) for item in value]

    def _key(self, name: Any) -> Any:
        return self.redact(name) if isinstance(name, str) else name

    def _field(self, name: Any, value: Any, depth: int) -> Any:
        is_secret = isinstance(name, str) and is_secret_name(name)
        if is_secret and value is not None and not isinstance(value, bool):
            return f"[redacted:{label_of(name)}]"
        return self._redacted(value, depth)
