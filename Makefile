# Everything starts here: each target makes .venv first, once, and again only when its requirements change.
#
#   make demo    the benchmark of the whole family on a corpus that is made on the spot; results in demo/
#   make test    the tests
#   make docs    the documentation, in build/docs
#   make check   all that must pass before a change is accepted
#
# torch is held to its CPU build by constraints-cpu.txt; with a GPU say e.g. `make CONSTRAINTS=/dev/null test`.

PYTHON ?= python3
CONSTRAINTS ?= constraints-cpu.txt
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(notdir $(CONSTRAINTS))

# One thread a process, on as many processes as there are cores; waiting threads sleep.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
JOBS ?= 2
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint format types doctest docs links readme check clean

help:
	@sed -n 's/^#   //p' Makefile

$(READY): pyproject.toml $(wildcard constraints-cpu.txt)
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "dynvae needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev]"
	@rm -f $(VENV)/ready-*
	@touch $@

venv: $(READY)

demo: $(READY)
	$(BIN)/dynvae benchmark --config recipes/demo/config.yaml --out $(DEMO) $(FLAGS)

test: $(READY)
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(FLAGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)
	$(BIN)/mypy

doctest: $(READY)
	$(BIN)/pytest --quiet --doctest-modules src/dynvae $(FLAGS)

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky -b html docs build/docs $(FLAGS)
	$(BIN)/python tools/run_readme.py $(wildcard docs/how-to/*.md docs/reference/*.md docs/explanation/*.md)

links: $(READY)
	$(BIN)/sphinx-build --quiet -b linkcheck docs build/links $(FLAGS)

readme: $(READY)
	$(BIN)/python tools/run_readme.py README.md

check: lint types doctest test readme docs

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
