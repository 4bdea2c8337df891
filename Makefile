# `make run` and `make test` need Python 3.11 or newer with venv, and nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?= strategy=pipelined depth=3

# Processes that run tests side by side; `--dist worksteal` evens out tests of very different lengths.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# The tests start many processes, which would compile the package again and again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-services test-xrt lint style check mutants bench ui clean

run: $(VENV)/run.stamp
	@$(BIN)/python -m harness $(ARGS)

# Types are checked by tests/test_types.py.
test: style
	$(PYTEST) -m "not services"

# MLflow's server on PostgreSQL, and its pages in chromium; skipped where those are not installed.
test-services: $(VENV)/test.stamp
	$(PYTEST) -m services

# Against the real pyxrt; needs root, a Debian mirror and 300 MB.
test-xrt:
	@tests/contract/run

# Lint, types and the quick tests.
check: lint
	$(PYTEST) -m "not slow and not services and not needs_xrt"

lint: style
	$(BIN)/mypy

style: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Changes the code in one place at a time and lists the changes that no test notices; takes long.
mutants: $(VENV)/test.stamp
	$(BIN)/python tests/mutation/run.py $(MODULES)

bench: $(VENV)/test.stamp
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

ui: $(VENV)/run.stamp
	@$(BIN)/python -m harness ui $(if $(PORT),--port $(PORT))

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "harness: needs Python 3.11 or newer; name one with make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml
	@echo "harness: installing into $(VENV); about 2 minutes, once" >&2
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/bin/python pyproject.toml
	@echo "harness: installing into $(VENV), with what the tests need: about 2 minutes, once" >&2
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) .xrt .mypy_cache .pytest_cache .ruff_cache .hypothesis
