# The way in for people and for CI. `make` alone explains the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-integration chaos bench lint fmt

help: ## Explain the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

setup: ## Install what is missing from the distribution; says what it installs
	@scripts/setup.sh

demo: ## Deploy a sample repository on this machine and show it; DEMO_EXIT=1 cleans up and exits
	@scripts/demo.sh

test: setup ## Run every test; starts a private Docker engine if none answers
	scripts/with-docker.sh cargo test --workspace --locked

test-unit: ## Run the tests that need nothing but the toolchain
	cargo test --workspace --locked --lib --bins

test-integration: setup ## Run the suites over real services
	scripts/with-docker.sh cargo test --locked -p slipway-integration-tests

chaos: setup ## Many jobs under random faults of every part; CHAOS_JOBS, CHAOS_FAULTS and CHAOS_SEED scale and replay it
	@scripts/chaos.sh

bench: setup ## Measure; one line per figure: bench <name> <value> <unit> goal <goal> met|missed
	@scripts/bench.sh

lint: setup ## Check format, lints, documentation and the rules between crates
	@scripts/lint.sh

fmt: ## Format the code
	cargo fmt --all
