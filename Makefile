# Every command that a person or CI runs. `make` lists them.

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/.stamps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := app worker emulator examples migrations tests benchmarks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo up test fault-matrix check docs migration lock chaos chaos-page bench-api bench-life bench-datasets bench-watch bench-results clean

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

install: $(STAMPS)/dev ## the environment .venv from the hashed lock files; every other command does it too

demo: $(STAMPS)/run ## the main job on real data: DATA=file VALIDATION=file, JSON=1 for a last line of JSON
	@$(BIN)/kitae demo $(if $(DATA),--data '$(DATA)') $(if $(VALIDATION),--validation '$(VALIDATION)') $(if $(JSON),--json)

up: $(STAMPS)/run ## everything on this machine, until Ctrl-C: PORT=8000
	@$(BIN)/kitae up $(if $(PORT),--port $(PORT))

test: $(STAMPS)/dev ## the whole test suite: ARGS='tests/unit -x' for a part of it
	@$(BIN)/pytest -n 2 $(ARGS)

fault-matrix: $(STAMPS)/dev ## every test that breaks something on purpose, and the page of what held
	@mkdir -p var
	$(BIN)/pytest -n 2 -m row --junitxml=var/fault-matrix.xml
	$(BIN)/python tests/fault_matrix.py record var/fault-matrix.xml
	$(BIN)/python docs/generate.py

check: $(STAMPS)/dev ## style, types, layers, migrations, generated pages, container files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.cli.schema check
	$(BIN)/python docs/generate.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

docs: $(STAMPS)/dev ## write the pages that are generated from the code
	$(BIN)/python docs/generate.py

chaos: $(STAMPS)/dev ## kill -9 at random, then count: KILLS=300 PAUSES=30 DB_RESTARTS=2 FLUSHES=2 SEED=1 WORKERS=4 FAULTS=0.333 CLAIMS=8 REPORT=file
	@$(BIN)/python tests/chaos/run.py $(if $(KILLS),--kills $(KILLS)) $(if $(PAUSES),--pauses $(PAUSES)) \
	  $(if $(DB_RESTARTS),--restarts $(DB_RESTARTS)) $(if $(FLUSHES),--flushes $(FLUSHES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(WORKERS),--workers $(WORKERS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(CLAIMS),--claims-between $(CLAIMS)) $(if $(REPORT),--json '$(REPORT)')

chaos-page: $(STAMPS)/dev ## put a report of chaos into docs/reliability.md: REPORT=file PART=kills
	@$(BIN)/python tests/chaos/run.py --publish '$(REPORT)' '$(PART)'

bench-api: $(STAMPS)/dev ## how quick the API answers
	$(BIN)/python benchmarks/bench_api.py

bench-life: $(STAMPS)/dev ## what a whole life costs more than a bare SDK script
	$(BIN)/python benchmarks/bench_life.py

bench-datasets: $(STAMPS)/dev ## how fast a dataset is checked, against counting its tokens alone: MB=200 ROUNDS=3 TEXT=talk|programs
	$(BIN)/python benchmarks/bench_datasets.py $(if $(MB),--mb $(MB)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(TEXT),--text $(TEXT))

bench-watch: $(STAMPS)/dev ## 10,000 jobs watched by one worker, against a poll for each: JOBS=10000 SECONDS=110
	$(BIN)/python benchmarks/bench_watch.py $(if $(JOBS),--jobs $(JOBS)) $(if $(SECONDS),--seconds $(SECONDS))

bench-results: $(STAMPS)/dev ## a training of 100,000 points read, judged, served and drawn: POINTS=100000 ROUNDS=5
	$(BIN)/python benchmarks/bench_results.py $(if $(POINTS),--points $(POINTS)) $(if $(ROUNDS),--rounds $(ROUNDS))

migration: $(STAMPS)/dev ## write a migration from what the tables have become: name="dataset contact"
	$(BIN)/python -m app.cli.schema write '$(name)'

lock: $(STAMPS)/dev ## resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev -o requirements-dev.lock pyproject.toml

clean: ## remove the environment, caches and what was made here
	rm -rf .venv var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache
	find $(SOURCES) -type d -name __pycache__ -prune -exec rm -rf {} +

# The environment: made once, and again only when what it is made from has changed.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Kitae needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "hint: name another, e.g. make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment .venv …" >&2
	@$(PYTHON) -m venv .venv

$(STAMPS)/run: $(BIN)/python requirements.lock pyproject.toml
	@echo "Installing what Kitae needs; this takes a minute the first time …" >&2
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(STAMPS)/run requirements-dev.lock
	@echo "Installing what its tests and checks need …" >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
