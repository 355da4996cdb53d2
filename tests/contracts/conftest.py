"""Fixtures of the contract suites; each suite's own live in a module of its name."""

from tests.contracts.store_fixtures import (  # noqa: F401
    clock,
    migrated_file,
    second_store,
    store,
    store_url,
)
