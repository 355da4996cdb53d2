"""Origin: where a setting's value was written, so that an error can point at it."""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class OriginKind(StrEnum):
    """The places a value can come from, the weakest first."""

    DEFAULT = "default"
    PROFILE = "profile"
    FILE = "file"
    DOTENV = ".env"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


class Origin(NamedTuple):
    """One place; `str()` is how a person would name it."""

    kind: OriginKind
    name: str = ""
    """Profile, path or variable."""
    line: int | None = None
    base: Path | None = None
    """Folder that relative paths written there start from."""
    via: str = ""
    """Such as `token_file`, if the value stands in another file."""

    def __str__(self) -> str:
        place = f"{self._place()}"
        return f"{place} ({self.via})" if self.via else place

    def _place(self) -> str:
        match self.kind:
            case OriginKind.DEFAULT | OriginKind.COMMAND_LINE:
                return str(self.kind)
            case OriginKind.PROFILE:
                return f"profile {self.name}"
            case OriginKind.ENVIRONMENT:
                return f"environment variable {self.name}"
            case OriginKind.DOTENV:
                return f".env:{self.line} {self.name}"
        return f"{self.name}:{self.line}" if self.line is not None else self.name


DEFAULT = Origin(OriginKind.DEFAULT)
COMMAND_LINE = Origin(OriginKind.COMMAND_LINE)
