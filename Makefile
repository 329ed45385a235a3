# Two commands do everything on a machine with Python >= 3.11, git and make:
#   make demo    run the main job        make test    pass everything
PYTHON ?= $(shell scripts/find-python)
VENV   := .venv
PEERS  := .bench
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV      = $(shell command -v uv 2>/dev/null || echo .tool/bin/uv)
WORKERS ?= 2
# Children import much: without bytecode each of them would compile it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env demo test check audit fuzz api bench bench-peers crash phoenix soak format lock clean
help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.tool/bin/uv:
	@command -v uv >/dev/null 2>&1 || scripts/get-uv "$(PYTHON)"

ifeq ($(shell command -v uv 2>/dev/null),)
$(READY): .tool/bin/uv
endif
$(READY): requirements.lock pyproject.toml
	@scripts/make-env "$(UV)" "$(PYTHON)" "$(VENV)"
	@touch $(READY)

env: $(READY)  ## make the environment in .venv

demo: $(READY)  ## watch an agent survive kill -9 on real servers
	@$(BIN)/plumbgraph demo

test: $(READY)  ## run every test (real PostgreSQL and Valkey, no network)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q --reruns 1 --rerun-show-tracebacks

check: $(READY)  ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy plumbgraph graphs tests benchmarks
	$(BIN)/lint-imports --no-logo

bench: bench-peers  ## print every figure beside its peers, make docs/benchmarks.md (DATA=folder of data sets)
	$(PEERS)/bin/python -m benchmarks $(if $(DATA),--data $(DATA)) $(ARGS)
	$(PEERS)/bin/python -m benchmarks.page

bench-peers: $(READY)  ## make .bench: every peer, and a Redis with modules
	@scripts/bench-peers "$(UV)" "$(PYTHON)" "$(PEERS)"

crash: $(READY)  ## the long crash runs
	$(BIN)/python -m pytest -n $(WORKERS) -m crash --timeout 3600 -q

phoenix: $(READY)  ## a real Arize Phoenix takes our spans (installs it in an environment of its own)
	$(BIN)/python -m pytest -n 0 -m phoenix --timeout 1800 -q tests/phoenix

soak: $(READY)  ## the long load runs
	$(BIN)/python -m pytest -n 1 -m soak --timeout 7200 -q

audit:  ## look up every locked package; one that could not be audited is a failure
	@test -x .audit/bin/pip-audit || { "$(UV)" venv -q -p "$(PYTHON)" .audit && \
	    "$(UV)" pip install -q -p .audit pip-audit; } || \
	    { echo "nothing was audited: pip-audit cannot be installed" >&2; exit 2; }
	@"$(PYTHON)" scripts/audit .audit/bin/pip-audit

fuzz: $(READY)  ## every parser of outside input, 5,000 hostile inputs each
	PLUMBGRAPH_FUZZ_EXAMPLES=5000 $(BIN)/python -m pytest -n $(WORKERS) --timeout 3600 -q tests/fuzz

api: $(READY)  ## write docs/api from the docstrings
	$(BIN)/python scripts/api

format: $(READY)
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

lock:  ## resolve requirements.lock anew
	@scripts/lock "$(UV)"

clean:
	rm -rf $(VENV) $(PEERS) .audit .tool build dist
