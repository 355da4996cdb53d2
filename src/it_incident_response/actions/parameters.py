"""The constrained strings of the actions' parameters: no shell, no option, no traversal."""

import posixpath
from typing import Annotated

from pydantic import AfterValidator

from it_incident_response.domain.inventory import AbsolutePath, HostName, UnitName

__all__ = ["CleanablePath", "FilePath", "HostName", "ServiceName", "UnitName"]

_NEVER_BELOW = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")
"""Folders of the operating system (FHS 3.0): nothing in them is ever litter."""

_NEVER_ITSELF = ("/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/var", "/var/lib")
"""Folders whose sub-folders may be cleaned, but which hold too much to be cleaned whole."""


def _require_normal(path: str) -> str:
    if path == "/" or path.startswith("//") or posixpath.normpath(path) != path:
        raise ValueError(
            "write the path without `..`, `.`, `//` or a slash at the end, and not `/`"
        )
    return path


def _require_litter(path: str) -> str:
    below = any(path == root or path.startswith(root + "/") for root in _NEVER_BELOW)
    if below or path in _NEVER_ITSELF:
        raise ValueError("this folder belongs to the operating system; name a folder of old files")
    return path


ServiceName = HostName
"""The same alphabet: letters, digits, dot, dash, underscore; never a dash first."""

FilePath = Annotated[AbsolutePath, AfterValidator(_require_normal)]
"""An absolute path in normal form, of harmless characters."""

CleanablePath = Annotated[FilePath, AfterValidator(_require_litter)]
"""A folder whose old files may be deleted: never part of the operating system."""
