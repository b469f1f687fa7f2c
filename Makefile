# Everything runs in a private environment that `make` sets up by itself: .venv, versions locked with
# hashes in requirements.txt.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-truth test browser bi-test torture airflow bench bench-coverage bench-journeys bench-ladder bench-peers truth lint audit lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
SIZES ?= $(or $(SIZE),1e6 1e7)

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A half-made environment has no stamp, so it is made again. Compiled once and for all: where the
# interpreter may not write bytecode, each process would spend ten seconds on compiling anew.
$(VENV)/ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12 or 3.13 is needed: install one, or name it with PYTHON=" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the locked packages into $(VENV) ..." >&2
	@PATH="$$PWD/$(BIN):$$PATH" uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.txt
	@PATH="$$PWD/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q attribution
	@touch $@

demo: $(VENV)/ready ## simulate a bank's exports, run the nightly DAG on them, show the credit
	@$(BIN)/python scripts/demo.py

test: $(VENV)/ready ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

browser: ## Debian's chromium, for the tests of the report (needs root; they skip without)
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null
	@chromium --version 2>/dev/null

# Superset holds other versions of SQLAlchemy, pandas and numpy, so it has an environment of its own.
BI := .venv-bi
$(BI)/ready: scripts/bi/superset.txt | $(VENV)/ready
	@echo "installing Apache Superset into $(BI) ..." >&2
	@PATH="$$PWD/$(BIN):$$PATH" uv venv --quiet --clear --python $(BIN)/python $(BI)
	@PATH="$$PWD/$(BIN):$$PATH" uv pip sync --quiet --python $(BI)/bin/python --require-hashes scripts/bi/superset.txt
	@touch $@

bi-test: $(VENV)/ready $(BI)/ready ## Apache Superset on the published file, while versions are published
	@ATTRIBUTION_SUPERSET=$$PWD/$(BI)/bin/superset $(BIN)/python -m pytest -q -s tests/test_superset.py

torture: $(VENV)/ready ## the tests of faults at full length: kills, flipped bits, full disks, races
	@ATTRIBUTION_TORTURE=1 $(BIN)/python -m pytest -q -s tests/test_kills.py tests/test_changes.py tests/test_mutations.py tests/test_full_disk.py tests/test_restatement.py tests/test_security.py tests/test_erase.py

airflow: $(VENV)/ready ## Airflow's web page on the demo, the DAG unpaused
	@$(BIN)/python scripts/demo.py --serve

bench: $(VENV)/ready ## time and memory of each step, beside the decode scan (SIZES="1e6 1e7", BENCH=--help)
	@$(BIN)/python scripts/bench.py $(or $(SIZES),$(SIZE)) $(BENCH)

bench-coverage: $(VENV)/ready ## how often the 95 % intervals hold the truth, 1,000 draws
	@$(BIN)/python scripts/bench_coverage.py

bench-peers: $(VENV)/ready ## answers and time beside other packages, each in its own environment (JSON=FILE)
	@$(BIN)/python scripts/bench_peers.py $(if $(JSON),--json $(JSON))

bench-journeys: $(VENV)/ready ## the line's journeys beside the same by polars and pandas (SIZE=1e7)
	@$(BIN)/python scripts/bench_journeys.py $(SIZE)

bench-ladder: $(VENV)/ready ## time and memory of one ladder of 50,000 customers
	@$(BIN)/python scripts/bench_ladder.py

demo-truth: $(VENV)/ready ## the demo's ladder beside what its bank's channels truly cause
	@$(BIN)/python scripts/demo_truth.py

truth: $(VENV)/ready ## every model against worlds of known truth, into docs/truth.md (SEEDS=20)
	@$(BIN)/python scripts/truth.py --seeds $(or $(SEEDS),20)

lint: $(VENV)/ready ## ruff, mypy, sqlfluff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models

audit: $(VENV)/ready ## known vulnerabilities of the locked packages (asks the advisory database)
	@$(BIN)/python scripts/audit.py

lock: $(VENV)/ready ## renew requirements.txt from pyproject.toml, and Superset's from scripts/bi
	@PATH="$$PWD/$(BIN):$$PATH" uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --extra dev --custom-compile-command "make lock" --output-file requirements.txt pyproject.toml
	@PATH="$$PWD/$(BIN):$$PATH" uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make lock" --output-file scripts/bi/superset.txt scripts/bi/superset.in

clean: ## remove the demo's data (var/), keep the environment
	@rm -rf var
