"""Alembic's environment and one module a schema revision; a released one never changes."""
