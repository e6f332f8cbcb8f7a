# Bare `make` lists the targets. Everything runs in .venv, which is made when it is needed.

PYTHON ?= python3
BIN := .venv/bin
RUNS ?= 20
KILLS ?= 25
MINUTES ?=

# `pip install .` in the same .venv replaces the editable install by a copy, and tests of a copy
# prove nothing: then install again.
EDITABLE := $(wildcard .venv/lib/python3*/site-packages/__editable__*callboard*)
TOOLS := $(BIN)/lint-imports

.DEFAULT_GOAL := help
.PHONY: help install test lint format types layers package docs check demo prove shop schedules contention fuzz crash moments torn soak simulate mutations guides nightly bench bench-quick clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: FORCE ## make .venv, with the package editable and all tools
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e ".[dev]"
	@touch $(TOOLS)

$(TOOLS): setup.cfg pyproject.toml $(if $(EDITABLE),,FORCE)
	@$(MAKE) --no-print-directory install

test: $(TOOLS) ## run the tests (ARGS="-k timer" chooses)
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(TOOLS) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(TOOLS) ## repair style and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Checkers look for a folder of the package's name, which an editable install does not give them.
# .tree/callboard holds links to the package's parts and nothing else: no tests, no .venv.
.tree: FORCE
	@rm -rf .tree && mkdir -p .tree/callboard
	@for part in *.py py.typed actors runtime persistence repl; do \
		ln -s "../../$$part" .tree/callboard/; \
	done

types: $(TOOLS) .tree ## check types, strictly, in package, tests, examples and benchmarks
	$(BIN)/mypy -p callboard
	$(BIN)/mypy $(wildcard tests examples benchmarks)

layers: $(TOOLS) .tree ## check that imports go down only
	PYTHONPATH=.tree $(BIN)/lint-imports

# build/ goes first: what it kept of deleted modules would end up in the wheel.
package: $(TOOLS) .tree ## check that an installed package holds every file of the tree
	@rm -rf build
	$(BIN)/pip install -q --no-deps --target build/site .
	diff -r -x __pycache__ .tree/callboard build/site/callboard

# -E reads every page again: a warning is shown at each build, not only at the first.
docs: $(TOOLS) ## build the documentation; a warning is an error
	$(BIN)/sphinx-build -q -E -W --keep-going -d build/doctrees docs build/docs
	@echo "docs: build/docs/index.html"

check: lint types layers package docs test ## everything that a change must pass

demo: $(TOOLS) ## watch a service being killed and resuming
	$(BIN)/callboard demo $(ARGS)

prove: $(TOOLS) ## run the demo 20 times with random seeds, then once with 25 kills
	@run=1; while [ $$run -le $(RUNS) ]; do \
		seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
		echo "prove: $$run of $(RUNS), seed $$seed"; \
		$(BIN)/callboard demo --seed $$seed || { \
			echo "prove: FAILED after $$((run - 1)) good runs; again: $(BIN)/callboard demo --seed $$seed"; \
			exit 1; }; \
		run=$$((run + 1)); \
	done
	@echo "prove: $(KILLS) kills"
	@$(BIN)/callboard demo --kills $(KILLS) || { \
		echo "prove: FAILED with $(KILLS) kills, after $(RUNS) good runs"; exit 1; }
	@echo "prove: $(RUNS) runs and one with $(KILLS) kills, all good"

shop: $(TOOLS) ## run the example shop in real time, killed ten times, and under a spike
	cd examples && ../$(BIN)/python -m shop.demo
	cd examples && ../$(BIN)/python -m shop.crash
	cd examples && ../$(BIN)/python -m shop.spike

crash: KILLS = 200
crash: $(TOOLS) ## kill owners under a mixed load, 200 times (KILLS=, SEED=)
	$(BIN)/python -m tests.attack --kills $(KILLS) $(if $(SEED),--seed $(SEED))

moments: $(TOOLS) ## kill and stop in the worst moments, ten times each (TIMES=, SEED=)
	$(BIN)/python -m tests.moments --times $(or $(TIMES),10) $(if $(SEED),--seed $(SEED))

torn: RUNS = 3
torn: $(TOOLS) ## cut the logs of three busy runs at every page (RUNS=, SEED=)
	$(BIN)/python -m tests.torn --runs $(RUNS) $(if $(SEED),--seed $(SEED))

schedules: $(TOOLS) ## compare schedules with cronsim over 2024 to 2030 (some minutes)
	$(BIN)/python tests/schedule_oracle.py

contention: $(TOOLS) ## have neighbours write beside a saturated owner (MINUTES=3)
	$(BIN)/python -m tests.contention $(or $(MINUTES),3)

fuzz: $(TOOLS) ## give every input made-up bytes for ten minutes (MINUTES=, SEED=, BACKEND=atheris)
	$(BIN)/python -m tests.fuzz$(if $(BACKEND),_$(BACKEND)) $(or $(MINUTES),10) $(SEED)

soak: $(TOOLS) ## run mixed load for an hour (MINUTES=60), and see that nothing grows
	$(BIN)/python -m tests.soak $(or $(MINUTES),60)

simulate: SEEDS = 10000
simulate: $(TOOLS) ## run whole runtimes in 10,000 seeded orders with crashes (SEEDS=, FIRST=)
	$(BIN)/python -m tests.simulate --seeds $(SEEDS) --first $(or $(FIRST),0)

mutations: $(TOOLS) ## plant defects and search for the seed that finds each
	$(BIN)/python -m tests.mutations

# As in `package`: what build/ kept of deleted modules would end up in the wheel.
guides: $(TOOLS) ## follow each guide in a new virtual environment (PAGES=)
	@rm -rf build
	$(BIN)/python -m tests.guides $(PAGES)

$(BIN)/huey_consumer: setup.cfg
	$(BIN)/pip install -q -e ".[bench]"
	@touch $@

bench: $(TOOLS) $(BIN)/huey_consumer ## measure beside the bare limit and the peers (ARGS="--long")
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(TOOLS) ## the same, small and without peers, in two minutes
	$(BIN)/python -m benchmarks --quick $(ARGS)

nightly: guides contention simulate mutations crash moments torn soak fuzz ## all that takes long

clean: ## remove what was built; .venv too
	rm -rf .venv .tree build dist *.egg-info .coverage htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
