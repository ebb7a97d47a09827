# Two commands for a fresh machine: `make demo` and `make test`. Each sets up what it needs and says so.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lane test-lane test-sriov lint bench soak schemas docs clean

VENV := $(or $(CNM_VENV),.venv)
export CNM_VENV := $(abspath $(VENV))
PYTEST_ARGS ?=
# Tests with packets wait half of their time and more.
WORKERS ?= $(shell echo $$(($$(nproc) * 2)))
LANE_ARGS ?=
BENCH_ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: ## install what cnm needs: Debian packages (as root, when missing) and a virtual environment
	@.ci/setup run

demo: setup ## the main job, in private network namespaces: plan, apply, ping, break, repair, destroy (root)
	@$(VENV)/bin/python -m tests.demo

test: develop ## lint, and all tests, in the lane those that this kernel cannot run (as a user: what a user namespace allows)
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check -q
	@.ci/beside $(VENV)/bin/mypy .ci/test -n $(WORKERS) --dist worksteal -rs $(PYTEST_ARGS)
	@$(VENV)/bin/python -m tests.lane --waiting --optional $(PYTEST_ARGS)

lane: develop ## build the lane's kernel (6 minutes on 2 cores), once; CNM_LANE_KERNEL=/path names one instead
	@$(VENV)/bin/python -m tests.lane.kernel

test-lane: develop ## in the lane only: the tests that this machine's kernel cannot run, or LANE_ARGS="tests/x -k y" or --all
	@$(VENV)/bin/python -m tests.lane $(LANE_ARGS)

test-sriov: develop ## the tests that need a network card with VFs, inside QEMU (slow; installs QEMU >= 8 as root)
	@tests/lane/qemu-setup "$$($(VENV)/bin/python -c 'from tests.lane import kernel; print(kernel.cache() / "qemu")')"
	@$(VENV)/bin/python -m tests.lane --machine qemu --guests 1 --hardware $(LANE_ARGS)

lint: develop ## ruff (rules and format) and mypy --strict
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check -q
	@$(VENV)/bin/mypy

bench: setup ## measure beside the peers that are installed, in about 20 minutes; writes docs/benchmarks.md and .svg (root)
	@$(VENV)/bin/python -m tests.bench $(BENCH_ARGS)

soak: develop ## repeat all tests for SOAK minutes (default 30), with other random examples each round
	@.ci/soak $(or $(SOAK),30)

schemas: setup ## write schemas/ from the models
	@$(VENV)/bin/cnm schema --dir schemas

docs: setup ## write docs/manifest.md (and schemas/) from the models, docs/cli.md from the commands
	@$(VENV)/bin/python -m reconciler.manifest.generate
	@$(VENV)/bin/python -m reconciler.cli.reference

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: develop
develop:
	@.ci/setup develop
