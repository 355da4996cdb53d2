from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from it_incident_response.config import ConfigProblems, LoadedConfig, load

Load = Callable[..., LoadedConfig]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """`loaded("yaml text", {"VARIABLE": "value"}, **{"dotted.key": ...})` in an own folder."""

    def run(
        yaml: str | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        profile: str | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> LoadedConfig:
        file = None
        if yaml is not None:
            file = Path("iir.yaml")
            (tmp_path / file).write_text(yaml, encoding="utf-8")
        variables = {"HOME": str(tmp_path / "home"), **(environ or {})}
        return load(
            file=file, environ=variables, overrides=overrides, profile=profile, cwd=tmp_path
        )

    return run


@pytest.fixture
def refused(loaded: Load) -> Callable[..., list[str]]:
    """The same, for a configuration that must be refused: its problems as text."""

    def run(*arguments: object, **options: object) -> list[str]:
        with pytest.raises(ConfigProblems) as caught:
            loaded(*arguments, **options)
        return [str(problem) for problem in caught.value.problems]

    return run
