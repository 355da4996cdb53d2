"""The shipped profiles: the simulated default and the guide's four roll-out phases."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from it_incident_response.config.document import Document, parse_document
from it_incident_response.config.origin import Origin, OriginKind
from it_incident_response.config.problems import ConfigProblems, Problem, did_you_mean

DEFAULT_PROFILE = "simulated"
_FOLDER = files("it_incident_response.config") / "profiles"


class Profile(NamedTuple):
    """A named set of settings under the file's."""

    name: str
    summary: str
    document: Document


@cache
def profile_names() -> tuple[str, ...]:
    """Return the names of the shipped profiles, the default last."""
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in _FOLDER.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def profile(name: str, where: str) -> Profile:
    """Return a profile by its name, or the part before the dash; `where` is for the error."""
    known = profile_names()
    matching = [full for full in known if full == name or (name and full.startswith(f"{name}-"))]
    if len(matching) != 1:
        what = f"there is no profile {name[:60]!r}{did_you_mean(name, known)}"
        raise ConfigProblems([Problem(where, f"{what} (`iir config profiles` lists them)")])
    name = matching[0]
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    summary = text.partition("\n")[0].lstrip("# ")
    return Profile(name, summary, parse_document(text, Origin(OriginKind.PROFILE, name)))
