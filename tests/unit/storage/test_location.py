"""From URL to database: what is accepted, and what a refusal says."""

import importlib.util
from pathlib import Path

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.storage.location import database_at


def test_a_sqlite_path_may_be_relative_or_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert database_at("sqlite:///data/iir.db").name == f"sqlite:///{tmp_path}/data/iir.db"
    assert database_at("sqlite:////srv/iir.db").name == "sqlite:////srv/iir.db"


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///a?mode=ro", "sqlite://host/a", "mysql://h/d",
     "", "iir.db", "postgresql://host", "postgresql://u:geheim@host:port/d", "://geheim"],
)  # fmt: skip
def test_any_other_url_is_refused_with_the_forms_and_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        database_at(url)
    assert "write " in str(caught.value.hint)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_name_of_a_postgresql_database_has_no_user_and_no_password(scheme: str) -> None:
    database = database_at(f"{scheme}://alice:geheim@db.example:5433/iir?sslmode=require")
    assert database.name == "postgresql://db.example:5433/iir"
    assert "geheim" not in repr(database)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="driver") as caught:
        database_at("postgresql://host/iir")
    assert "it-incident-response[postgresql]" in str(caught.value.hint)
