# Commands for people who work on microgpt. Users need none of them: pip and python are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help install check format lint types c-check test docs asan valgrind bench peers wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml setup.py microgpt/_build.py $(wildcard csrc/*.h csrc/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

install: $(VENV)/.installed ## make .venv with the package, editable, and all tools

check: lint types c-check test ## all that CI asks of the sources: format, lint, types, C warnings and tests, Python tests

format: install ## format the Python sources
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

lint: install ## format and lint, without changing anything
	$(BIN)/ruff format --quiet --check .
	$(BIN)/ruff check --quiet .

types: install ## mypy, strict
	$(BIN)/mypy

c-check: ## the C tests, with all warnings as errors
	$(MAKE) --no-print-directory -C tests/c check

test: install ## the Python tests
	$(BIN)/python -m pytest --quiet

docs: install ## the API reference from the docstrings, in docs/_build; a warning is an error
	$(BIN)/python -W error -m pdoc microgpt --output-directory docs/_build

asan: ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(MAKE) --no-print-directory -C tests/c asan

valgrind: ## the C tests under valgrind
	$(MAKE) --no-print-directory -C tests/c valgrind

bench: install ## the benchmarks, with their ratios to pure Python
	$(BIN)/python -m pytest --quiet benchmarks --benchmark-columns=min,median,rounds

peers: install ## the same with other libraries beside it (downloads torch)
	$(BIN)/python -m pip install --quiet '.[peers]'
	$(BIN)/python -m pytest --quiet benchmarks --benchmark-columns=min,median,rounds

wheel: install ## the wheel and the source archive, in dist/
	$(BIN)/python -m build --quiet

clean: ## everything that was built
	rm -rf $(VENV)/.installed build dist docs/_build *.egg-info microgpt/_core.abi3.so microgpt/_core.c .mypy_cache .ruff_cache .pytest_cache .hypothesis
	$(MAKE) --no-print-directory -C tests/c clean
