# Everything a newcomer or CI needs. PYTHON names the interpreter (3.11 or newer) that the environment is made of.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lock engines bench-tools bench-predictor bench-validation bench-retraining \
	bench-placement bench-placers bench-replay bench-economics bench-fleet bench-dispatch chaos upgrade

help: ## Say what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the pinned dependencies and the pythia command

# The stamp is younger than what it was made from, so a second run has nothing to do.
$(READY): requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pythia needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ": name another with make PYTHON=python3.12")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the pinned dependencies into $(VENV) (once, a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Watch Pythia predict, place, dispatch, run and learn (under two minutes)
	@$(BIN)/pythia demo

up: $(READY) ## Run Pythia on this machine until Ctrl-C
	@$(BIN)/pythia up

test: $(READY) ## Run the tests (PYTHIA_TEST_DATABASE_URL, …_REDIS_URL and …_AMQP_URL add real services)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest

check: $(READY) ## Lint, formatting, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: ## Resolve requirements.lock anew from pyproject.toml
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --no-annotate --quiet --output-file requirements.lock

# The outside tools that the predictor is compared with; without them the benchmark says so and goes on.
bench-tools: $(READY)
	@test .venv-bench/.ready -nt benchmarks/requirements.txt || { \
		echo "installing the tools to compare with into .venv-bench (once)"; \
		$(PYTHON) -m venv --clear .venv-bench && .venv-bench/bin/python -m pip install --quiet \
			--disable-pip-version-check --no-deps --requirement benchmarks/requirements.txt && \
		touch .venv-bench/.ready || { rm -rf .venv-bench; echo "they could not be installed: comparing without them"; }; }

# dstack and SkyPilot, so that the tests can read task files with their own loaders and ask a dstack server; without them
# those tests skip.
engines: ## Install dstack and SkyPilot beside Pythia, for the tests of what they are asked (a minute or two)
	@test .venv-engines/.ready -nt tests/scheduler/exports/requirements.txt || { \
		echo "installing dstack and SkyPilot into .venv-engines (once)"; \
		$(PYTHON) -m venv --clear .venv-engines && .venv-engines/bin/python -m pip install --quiet \
			--disable-pip-version-check --no-deps --requirement tests/scheduler/exports/requirements.txt && \
		touch .venv-engines/.ready || { rm -rf .venv-engines; echo "they could not be installed: their tests will skip"; }; }

bench-predictor: bench-tools ## Score the predictor beside its baselines on groups held out and on new sources; time its forecasts (PYTHIA_OBSERVATIONS_DIR; ARGS="--speed": only that)
	@$(BIN)/python -m benchmarks.predictor $(ARGS)

bench-validation: $(READY) ## Compare the shipped predictor with measurements that are kept apart (PYTHIA_VALIDATION_DIR)
	@$(BIN)/python -m benchmarks.validation

bench-retraining: $(READY) ## Time learning from 100,000 observations, with its memory (PYTHIA_OBSERVATIONS_DIR)
	@$(BIN)/python -m benchmarks.retraining $(ARGS)

bench-placement: $(READY) ## Compare placements with brute force; time plans and submissions (ARGS="--seconds 60 --keep DIR")
	@$(BIN)/python -m benchmarks.placement $(ARGS)

bench-placers: $(READY) ## Let 16 placers at 10,000 jobs, kill them at random, and look at capacity at every commit
	@$(BIN)/python -m benchmarks.placers $(ARGS)

chaos: $(READY) ## Kill every process at random while 2,000 jobs run, on each broker (ARGS="--jobs 60 --kills 12 --keep DIR")
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

bench-dispatch: $(READY) ## Time starts, jobs a second, and what 10,000 running jobs take (ARGS="--only start,jobs")
	@$(BIN)/python -m benchmarks.dispatch $(ARGS)

upgrade: $(READY) ## Bring an earlier version's installation to this one while jobs run (ARGS="--from COMMIT --jobs 90")
	@$(BIN)/python -m benchmarks.upgrade $(ARGS)

bench-economics: $(READY) ## Hold token prices against measured runs that training has not seen (PYTHIA_OBSERVATIONS_DIR)
	@$(BIN)/python -m benchmarks.economics $(ARGS)

bench-fleet: $(READY) ## Time every way to serve a day of ten million requests, and the simulation against plain Python
	@$(BIN)/python -m benchmarks.fleet $(ARGS)

bench-replay: $(READY) ## Replay a trace under every policy, modelled and measured, at two months' prices (ARGS="TRACE.csv.gz --report DIR")
	@$(BIN)/python -m benchmarks.replay $(ARGS)
