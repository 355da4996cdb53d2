"""What is taken out of everything that is kept or shown, besides the secrets known by shape."""

from typing import Annotated

from pydantic import Field

from it_incident_response.config.connections import Section
from it_incident_response.safety.redaction import SecretShape


class RedactionSettings(Section):
    """What counts as secret or personal, beyond tokens, keys and passwords."""

    emails: bool = True
    """Take e-mail addresses out."""
    cards: bool = True
    """Take numbers out that pass the check of a payment card."""
    shapes: Annotated[tuple[SecretShape, ...], Field(max_length=50)] = ()
    """Tokens of your own: `{label, prefix, length_min}` each."""
