# aircheck: `make demo` sees it work, `make test` proves it. `make help` lists the rest.
# With another Python, beside the first: make test VENV=.venv-3.12 PYTHON=python3.12
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Processes share the cores in tests as they do in the server: threads that spin while they wait starve one another.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo doctor serve evaluate test promtool lint format stubs wheels notice sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## create .venv and install the server and the client
demo: $(VENV)/.installed ## start a server, scan the sample episode, show what was found, stop the server
	@$(BIN)/aircheck demo

serve: $(VENV)/.installed ## start a server on 127.0.0.1:8001 and keep it until Ctrl-C
	@$(BIN)/aircheck serve

doctor: $(VENV)/.installed ## look whether a server can run here, and say what to do where not
	@$(BIN)/aircheck doctor

evaluate: $(VENV)/.installed ## measure the quality on the committed set, against the committed bounds
	@$(BIN)/aircheck evaluate --gate server_config/quality_gate.yaml

test: $(VENV)/.installed-dev ## run the whole test suite against a real Triton
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

promtool: $(BIN)/promtool ## unpack Debian's promtool into .venv, for the tests of the alerts (skipped without it)

lint: $(VENV)/.installed-dev ## check style, types and container files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile

format: $(VENV)/.installed-dev ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: $(VENV)/.installed-dev ## make the client's gRPC stubs anew from clients/aircheck_client/v1/aircheck.proto
	$(BIN)/python -m grpc_tools.protoc -I clients --python_out=clients --pyi_out=clients --grpc_python_out=clients \
		clients/aircheck_client/v1/aircheck.proto

$(BIN)/promtool: | $(BIN)/python
	@set -e; target="$(abspath $@)"; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; cd "$$folder"; \
		apt-get download --quiet=2 prometheus 2>/dev/null || { apt-get update --quiet=2; apt-get download --quiet=2 prometheus; }; \
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract ./usr/bin/promtool; \
		install -m 755 usr/bin/promtool "$$target"

wheels: $(VENV)/.installed-dev ## build the wheels of server and client into dist/
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./clients .

notice: $(VENV)/.installed-dev ## write NOTICE anew: the licences of all weights and dependencies
	$(BIN)/python -m release.notice

sbom: $(VENV)/.installed-dev ## write the bill of materials (CycloneDX) to out/aircheck.cdx.json
	$(BIN)/python -m release.sbom --out out/aircheck.cdx.json

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
		{ echo "aircheck needs Python 3.11 or 3.12; found $$($(PYTHON) --version 2>&1). Try: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml clients/pyproject.toml constraints.txt
	@echo "installing into $(VENV): about 6.5 GB, a few minutes"
	@$(PIP_INSTALL) --editable clients --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the test tools"
	@$(PIP_INSTALL) --editable 'clients[bulk,ray,worker]' --editable '.[dev,load]'
	@touch $@
