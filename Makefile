# Everything a contributor does is one command here. Needs Python 3.11+, make and git; the rest is fetched by `setup`:
# a virtual environment from the lock (every file with its checksum), then the servers' files on first use.

# The first of these that runs and is new enough (a version manager's stand-ins exist but do not run).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP  := $(VENV)/.installed
TESTS  := $(VENV)/.collected
ARGS   ?=
# Three with servers, which mostly wait, and one that computes meanwhile. See tests/spread.py.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
# Real processes on a busy machine meet limits that are a test's own: what fails there once is tried once more, and told. Laws and worlds give one answer.
AGAIN  := --reruns 1 --max-suite-reruns 5 --rerun-show-tracebacks $(addprefix --rerun-exclude-path=tests/,properties simulation fuzz brute_force)
# Compiled code is kept, whatever the environment says: else each process of a run, and each program that it starts, compiles everything again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help setup fetch demo test every-test test-containers quick deeper deep-tests more-worlds nightly mutants mistakes lint format faults bench typescript quix docs lock lock-servers clean distclean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  ARGS=\"...\" is handed on, for example: make demo ARGS=--json"

setup: $(STAMP) ## the virtual environment, from the lock

$(LOCKED): requirements.lock
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "making $(VENV) with $(PYTHON)" >&2; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing the locked dependencies into $(VENV)" >&2
	@$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock >&2
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e . >&2
	@touch $@

fetch: $(STAMP) ## Kafka and the schema registry into the cache, for working offline
	@$(BIN)/driftlog broker fetch >&2

demo: $(STAMP) ## the retail day on a real broker
	@$(BIN)/driftlog demo $(ARGS)

test: fetch ## lint, beside the tests of every law and promise
	@$(MAKE) --no-print-directory --jobs=2 lint every-test

# Four processes that find no compiled tests each compile all of them: half a minute of computing each.
$(TESTS): $(STAMP)
	@echo "compiling the tests" >&2
	-@$(PYTEST) --collect-only --quiet >$@ 2>&1

every-test: fetch $(TESTS)
	$(PYTEST) $(SPREAD) $(AGAIN) --depth=usual $(ARGS)

test-containers: $(STAMP) ## the tests with a broker on Apache Kafka and on Redpanda in containers; says so where no Docker runs
	@docker info >/dev/null 2>&1 || { echo "skipped: Docker does not answer; start it, or let \`make test\` run them on the embedded Kafka"; exit 0; }; \
	for broker in kafka redpanda; do $(PYTEST) $(SPREAD) $(AGAIN) -m broker --broker=$$broker $(ARGS) || exit 1; done

quick: $(STAMP) ## only the tests that need no server and no patience (a minute)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m tests.quick $(ARGS)

deeper: deep-tests more-worlds ## the deep tests that `make test` leaves out, then five minutes of more simulated worlds

deep-tests: fetch $(TESTS)
	$(PYTEST) $(SPREAD) $(AGAIN) --depth=deep $(ARGS)

more-worlds: $(STAMP)
	$(PYTEST) tests/simulation/test_simulation.py tests/simulation/test_forgetting.py --full --minutes=5 $(ARGS)

mistakes: $(STAMP) ## make known mistakes in the rims, one at a time: which test notices? (ten minutes)
	@$(BIN)/python -m tests.mutation.rims $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, and the arrows between the packages
	nice $(BIN)/ruff check .
	nice $(BIN)/ruff format --check .
	nice $(BIN)/mypy --strict
	nice $(BIN)/lint-imports --no-logo

format: $(STAMP) ## put every file into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

nightly: fetch ## everything in its whole length, the algebra's laws with 10,000 examples each, every small history (hours)
	$(PYTEST) $(SPREAD) --full $(ARGS)
	$(PYTEST) tests/properties tests/fuzz --hypothesis-profile=nightly --timeout=3600 $(ARGS)
	$(PYTEST) tests/brute_force --every-history --book=.histories --timeout=7200 $(ARGS)

mutants: $(STAMP) ## break the algebra in every place, one at a time: which law notices? (an hour and more)
	@$(BIN)/python -m tests.mutation $(ARGS)

faults: fetch ## simulation and faults on the real broker
	$(PYTEST) tests/simulation tests/integration $(ARGS)

bench: fetch ## the benchmarks, beside their baselines
	@$(BIN)/driftlog bench $(ARGS)

typescript: $(STAMP) ## the TypeScript client: its types from the agent's API, then built, with Node 20 or newer
	$(BIN)/driftlog edge openapi --out clients/typescript/openapi.json
	cd clients/typescript && npm ci && npm run generate && npm run build -- --project tsconfig.build.json

quix: ## an environment with Quix Streams, the optional peer of `driftlog bench 'merge/quix/*'`
	$(PYTHON) -m venv .venv-quix
	.venv-quix/bin/pip install --disable-pip-version-check --quiet quixstreams==3.28.1 fastavro >&2

docs: $(STAMP) ## check the documents: links, commands, examples
	$(PYTEST) tests/documents $(ARGS)

lock: ## resolve the dependencies anew (uv, in a throwaway environment)
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --disable-pip-version-check --quiet uv
	.lock-venv/bin/uv pip compile pyproject.toml --extra dev $(LOCK_OPTIONS) -o requirements.lock
	.lock-venv/bin/uv pip compile pyproject.toml --extra edge --extra streams --extra console --extra postgres $(LOCK_OPTIONS) \
	  --constraint requirements.lock -o infra/images/requirements.lock
	rm -rf .lock-venv

LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet

lock-servers: $(STAMP) ## resolve the servers' files anew (a minute, the network)
	$(BIN)/python -m driftlog_infra.lock_maker

clean: ## remove what was made, except the virtual environment
	rm -f $(TESTS)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .histories .lock-venv build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	rm -rf $(VENV) .venv-quix
