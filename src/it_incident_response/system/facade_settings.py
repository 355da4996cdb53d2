"""The settings of the façade: a simulated one leaves no file behind."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from it_incident_response.config import Origin, Settings, load
from it_incident_response.config.origin import OriginKind


def facade_settings(
    config: str | Path | Mapping[str, object] | Settings | None,
    *,
    use_real_data: bool,
    exit_stack: ExitStack,
) -> Settings:
    """Return the façade's settings; all simulated, the record is a file that goes with it."""
    if isinstance(config, Settings):
        return config
    overrides: dict[str, object] = {"use_real_data": use_real_data}
    if isinstance(config, Mapping):
        overrides |= config
    file = Path(config) if isinstance(config, str | Path) else None
    loaded = load(file=file, environ=os.environ, overrides=overrides, cwd=Path.cwd())
    settings = loaded.settings
    is_unplaced = settings.store.url is None and _is_default(loaded.origins.get("data_dir"))
    if settings.ports.is_all_simulated and is_unplaced:
        folder = exit_stack.enter_context(TemporaryDirectory(prefix="iir-"))
        settings = settings.model_copy(update={"data_dir": Path(folder)})
    return settings


def _is_default(origin: Origin | None) -> bool:
    return origin is None or origin.kind is OriginKind.DEFAULT
