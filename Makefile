# `make demo` shows what Valence does; `make test` proves that it works. Both set up first.
PYTHON ?= python3
BIN := .venv/bin
# Tests of one file share what they set up; two processes with a thread each beat one with two.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: setup demo test test-all lint clean

# Pinned by constraints.txt; done again only when the pins or the package's needs change.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Valence needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: .venv/ready

demo: setup
	$(BIN)/valence run recipes/demo.yaml

test: setup
	$(PYTEST)

test-all: setup
	$(PYTEST) -m 'not gpu and not network'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv runs dist .pytest_cache .mypy_cache .ruff_cache
