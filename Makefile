# Commands for people who work on microgpt. Users need none of them: pip and python are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)# compilers side by side
WORKERS ?= auto# processes that share the Python tests, a file at a time; 0 for none
C_TESTS = $(MAKE) --no-print-directory -C tests/c -j $(JOBS)

.PHONY: help install check format lint types c-check test docs asan valgrind bench bench-long peers wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

types: install ## mypy, strict; and mypy and pyright on what users write
	$(BIN)/mypy
	$(BIN)/python tests/check_types.py

c-check: ## the C tests, with all warnings as errors
	$(C_TESTS) check

test: install ## the Python tests
	$(BIN)/python -m pytest --quiet -n $(WORKERS) --dist loadfile

docs: install ## the API reference from the docstrings, in docs/_build; a warning is an error
	$(BIN)/python -W error -m pdoc microgpt --output-directory docs/_build

asan: ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(C_TESTS) asan

.PHONY: asan-python tsan tsan-python fuzz
asan-python: install ## Python tests on a core with these sanitizers, which also looks for leaks of the core
	$(call sanitized,asan,address$(comma)undefined -fno-sanitize-recover=all,libasan.so libubsan.so,$(ASAN_TESTS))

tsan: ## the C tests that use threads under ThreadSanitizer
	$(C_TESTS) tsan

fuzz: ## calls of the C core that a fuzzer chooses, for SECONDS (60), with clang
	$(C_TESTS) fuzz

tsan-python: install ## the Python tests that use threads, on a core with ThreadSanitizer
	$(call sanitized,tsan,thread,libtsan.so,$(TSAN_TESTS))

valgrind: ## the C tests under valgrind
	$(C_TESTS) valgrind

# Python tests on a core that is built with sanitizers, in a copy of the package: the core in the checkout stays as it is.
# The sanitizer must be in the process before anything that it watches, and Python must take memory from it.
# Python itself leaves memory behind at its end. A stack of two calls names who took a block, and those that the core
# took are then the only ones that are left to report.
comma := ,
ASAN_TESTS ?= tests/test_tape.py tests/test_handles.py tests/test_program.py tests/test_indices.py tests/test_plans.py \
    tests/test_training.py tests/test_model.py tests/test_models.py tests/test_batches.py tests/test_vector.py \
    tests/test_value.py tests/test_interleaving.py
# ThreadSanitizer does not take part in a fork of a process with threads.
TSAN_TESTS ?= tests/test_tape.py tests/test_program.py tests/test_batches.py \
    tests/test_interleaving.py::test_a_game_in_two_threads \
    --deselect tests/test_batches.py::test_a_process_that_forks_goes_on
SANITIZER_OPTIONS = PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=1:malloc_context_size=2 \
    LSAN_OPTIONS=print_suppressions=0:suppressions=tests/leaks.txt TSAN_OPTIONS=halt_on_error=1
define sanitized
	rm -rf build/$(1) && mkdir -p build/$(1)
	tar --exclude=__pycache__ --exclude='*.so' --exclude=tests/c/build -cf - csrc microgpt microgpt_core tests examples \
	    setup.py pyproject.toml README.md LICENSE | tar -xf - -C build/$(1)
	cd build/$(1) && CFLAGS="-Og -g -g1 -fno-omit-frame-pointer -fsanitize=$(2)" LDFLAGS="-fsanitize=$(2)" \
	    $(abspath $(BIN))/python -m pip wheel --quiet --no-deps .
	cd build/$(1) && env $(SANITIZER_OPTIONS) LD_PRELOAD="$(foreach library,$(3),$(shell $(CC) -print-file-name=$(library)))" \
	    setarch --addr-no-randomize $(abspath $(BIN))/python -m pytest --quiet -p no:cacheprovider $(4)
endef

bench: install ## the benchmarks, with their ratios to pure Python
	$(BIN)/python -m pytest --quiet benchmarks -m 'not long' --benchmark-columns=min,median,rounds

.PHONY: ranks
ranks: install ## what a step costs on 1 to 4 ranks of MPI, and the formula's table
	for ranks in 1 2 3 4; do $(BIN)/mpiexec -n $$ranks $(BIN)/python benchmarks/ranks.py || exit 1; done
	$(BIN)/python benchmarks/ranks.py model

bench-long: install ## those that take minutes: long runs by tenths, large models from a cold start
	$(BIN)/python -m pytest --quiet benchmarks -m long --benchmark-columns=min,median,rounds

peers: install ## the same with other libraries beside it (downloads torch)
	$(BIN)/python -m pip install --quiet '.[peers]'
	$(BIN)/python -m pytest --quiet benchmarks -m 'not long' --benchmark-columns=min,median,rounds

wheel: install ## the wheel and the source archive, in dist/
	$(BIN)/python -m build --quiet

clean: ## everything that was built
	rm -rf $(VENV)/.installed build dist docs/_build *.egg-info microgpt/_core.abi3.so microgpt/_core.c .mypy_cache .ruff_cache .pytest_cache .hypothesis
	$(MAKE) --no-print-directory -C tests/c clean
