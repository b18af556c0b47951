# `make` alone shows what there is. Every target sets itself up.
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
# Workers take long runs of tests, so that what a file sets up is set up once or twice; whoever is
# done takes over from the others, since one file may take longer than all the rest.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | \
		awk 'BEGIN {FS = ":.*## "} {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/bench: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[dev,bench,services]'
	@touch $@

$(VENV)/audit: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[dev,audit]'
	@touch $@

$(VENV)/fuzz: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[dev,fuzz]'
	@touch $@

$(VENV)/services: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[dev,services]'
	@touch $@

.PHONY: demo
demo: $(VENV)/ready ## Survey a source tree, killed in the middle and gone on with (DIR=... picks one)
	$(BIN)/python examples/survey_demo.py --yes $(if $(DIR),'$(DIR)')

.PHONY: test
test: $(VENV)/ready lint ## Check style, types and imports, and run the tests that need nothing else
	$(PYTEST) -m "not services"

# Lint first: in a new environment it sees what `make test` sees, without the storage systems.
.PHONY: test-all
test-all: lint $(VENV)/services ## The same with the tests on real storage systems, which it starts itself
	$(PYTEST)

.PHONY: services
services: ## Install the storage systems that test-all starts (Debian, Ubuntu)
	@if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
		&& command -v redis-server >/dev/null && command -v pgbouncer >/dev/null; \
	then echo "They are installed."; \
	else $(SUDO) apt-get update --quiet=2 && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install --quiet=2 --yes --no-install-recommends postgresql redis-server pgbouncer; \
	fi

.PHONY: lint
lint: $(VENV)/ready ## Check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/ready ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: torture
torture: $(VENV)/services ## The crash, fault and simulation tests with their full counts (hours)
	DURABLE_GRAPH_TORTURE=1 $(BIN)/python -m pytest tests/crash tests/fuzz tests/simulation tests/backends tests/pure tests/runtime --timeout 7200

.PHONY: audit
audit: $(VENV)/audit ## Look for known vulnerabilities in what users install (asks PyPI, or OSV: SERVICE=osv)
	$(BIN)/python -m tests.security.audit $(if $(SERVICE),--service '$(SERVICE)')

.PHONY: fuzz
fuzz: $(VENV)/fuzz ## Look for bytes that what reads storage cannot bear (MINUTES=3 for each target)
	$(BIN)/python -m tests.fuzz.run $(if $(MINUTES),--minutes '$(MINUTES)') $(ARGS)

.PHONY: bench
bench: $(VENV)/bench ## Measure side by side with LangGraph (BACKEND=postgres, ARGS="--only loop")
	$(BIN)/python -m benchmarks.run $(if $(BACKEND),--backend '$(BACKEND)') $(ARGS)

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
