# Two commands: `make run` takes a fresh machine to the running app, `make test` to green tests.

PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Tests that start processes wait more than they compute: one more than there are cores.
JOBS ?= $(shell $(PY) -c 'import os; print(min(8, 1 + (os.cpu_count() or 1)))' 2>/dev/null || echo 2)

.PHONY: help setup setup-dev run demo test e2e lint format bench lock wheel clean

help:
	@echo "make run    start carboy (sets everything up first)"
	@echo "make demo   an offline tour with a scripted agent"
	@echo "make test   the tests, in minutes    make e2e   real agents and engines, slow"
	@echo "make lint   ruff, pyright, import rules    make bench   measurements"

setup:
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev

run: setup
	@.venv/bin/carboy

demo: setup
	@.venv/bin/carboy demo

test: setup-dev
	$(PYTEST) -m "not e2e" -n $(JOBS) --dist loadgroup -q

# They wait for agents and engines most of the time; some run five agents at once, each a few hundred megabytes.
E2E_JOBS ?= $(shell $(PY) -c 'import os; print(3 if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 15e9 else 2)' 2>/dev/null || echo 2)
e2e: setup-dev
	$(PYTEST) -m e2e -n $(E2E_JOBS) --dist loadgroup -q

lint: setup-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/pyright

format: setup-dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: setup-dev
	$(PY) -m tests.bench

# The locks name versions and hashes, for every platform; no index is written into them.
LOCK := uv pip compile -q --universal --python-version 3.13 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock:
	$(LOCK) pyproject.toml -o requirements/run.lock
	$(LOCK) pyproject.toml --group dev -o requirements/dev.lock

wheel: setup-dev
	$(PY) -m build --wheel

clean:
	rm -rf .venv .cache dist build .pytest_cache .ruff_cache .hypothesis snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
