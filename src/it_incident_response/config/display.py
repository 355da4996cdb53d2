"""The merged settings as rows for people and programs, secrets masked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from it_incident_response.config.load import LoadedConfig
from it_incident_response.config.schema import schema
from it_incident_response.config.settings import Settings
from it_incident_response.config.units import format_duration, format_size

MASK = "********"


class ShownSetting(NamedTuple):
    """One setting as it may be shown to anyone."""

    key: str
    value: Any
    """JSON-able; a secret is masked."""
    origin: str


def shown_settings(loaded: LoadedConfig) -> Iterator[ShownSetting]:
    """Yield every setting in the order of the schema."""
    for key in schema().leaves:
        value = _value(loaded.settings, key)
        if key == "store.url":
            value = mask_url(loaded.settings.database_url.get_secret_value())
        yield ShownSetting(key, value, str(loaded.origins[key]))


def mask_url(url: str) -> str:
    """Return a database URL without its password and options."""
    scheme, _, rest = url.partition("://")
    location, at, host = rest.rpartition("@")
    user, colon, _ = location.partition(":")
    host, query, _ = host.partition("?")
    return f"{scheme}://{user}{f':{MASK}' if colon else ''}{at}{host}{f'?{MASK}' if query else ''}"


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    name = ""
    for part in key.split("."):
        name = _field_name(type(value), part)
        value = getattr(value, name)
    if value is not None and name.endswith("_bytes"):
        return format_size(value)
    if value is not None and name.endswith("_s"):
        return format_duration(value)
    return _plain(value)


def _field_name(model: type[BaseModel], key: str) -> str:
    for name, field in model.model_fields.items():
        if key in (field.alias, name):
            return name
    raise KeyError(key)


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
