# The few commands people use. `make` lists them.
export UV_PYTHON_DOWNLOADS ?= never
RUN := uv run --locked

.DEFAULT_GOAL := help
.PHONY: help setup check test test-slow test-real demo bench clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with everything, and the pre-commit hooks
	uv sync --locked
	$(RUN) pre-commit install

check: ## Format, lint, types, import directions (seconds)
	$(RUN) ruff format
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports

test: ## Unit and contract tests: no server, no network (under a minute)
	$(RUN) pytest -n auto

test-slow: ## Tests that play whole incidents, days and storms (about two minutes)
	$(RUN) pytest -n auto --slow -m slow

test-real: ## Tests against real servers on this machine (root, Debian packages)
	$(RUN) pytest --real -m real

demo: ## Play one incident in the simulated world
	$(RUN) iir demo

bench: ## The benchmarks, each next to a peer (see bench/README.md)
	$(RUN) python -m bench

clean: ## Remove caches and build results, not the data
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
