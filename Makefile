# The way in for people and for CI. `make` alone explains the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-integration test-gitlab test-rabbitmq-4 test-cluster cluster-up cluster-down \
  chaos fuzz bench lint fmt

help: ## Explain the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

setup: ## Install what is missing from the distribution; says what it installs
	@scripts/setup.sh

demo: ## Deploy a sample repository on this machine and show it; DEMO_EXIT=1 cleans up and exits
	@scripts/demo.sh

test: setup ## Run every test; starts a private Docker engine if none answers
	@scripts/test.sh

test-unit: ## Run the tests that need nothing but the toolchain
	cargo test --workspace --locked --lib --bins

test-integration: setup ## Run the suites over real services
	scripts/with-docker.sh cargo test --locked -p slipway-integration-tests

test-gitlab: setup ## Run what speaks to GitLab, and the suite on a stand-in of it; SLIPWAY_TEST_LONG=1 floods it for a minute
	cargo test --locked -p slipway-gitlab
	scripts/with-docker.sh cargo test --locked -p slipway-integration-tests --lib gitlab
	scripts/with-docker.sh cargo test --locked -p slipway-integration-tests --test gitlab

fuzz: setup ## Mutated deliveries of three forges against a running server, for ten minutes; FUZZ_SECONDS, FUZZ_SEED
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} cargo test --locked -p slipway-integration-tests --test gitlab fuzz -- --nocapture

chaos: setup ## Many jobs under random faults of every part; CHAOS_JOBS, CHAOS_FAULTS and CHAOS_SEED scale and replay it
	@scripts/chaos.sh

test-rabbitmq-4: setup ## Run the suites of the distributed form on RabbitMQ 4 of the distribution's next release; needs root
	scripts/with-rabbitmq-4.sh cargo test --locked --workspace --lib distributed
	scripts/with-rabbitmq-4.sh cargo test --locked --workspace --test harness --test chaos_plants \
	  --test faults_dependencies --test faults_durability --test faults_idempotency --test faults_load --test faults_upgrade
	scripts/with-rabbitmq-4.sh scripts/control-plane.sh run -- \
	  cargo test --locked -p slipway-integration-tests --test kubernetes scaler_processes

# The suites that need a Kubernetes control plane.
CLUSTER_SUITES := control_plane kubernetes helm_chart

test-cluster: setup ## Run the suites over a real Kubernetes control plane; builds it the first time, with Go; SLIPWAY_TEST_LONG=1 takes longer
	scripts/control-plane.sh run -- cargo test --locked --workspace $(CLUSTER_SUITES:%=--test %)

cluster-up: setup ## Leave a Kubernetes control plane running on loopback, with simulated nodes
	@scripts/control-plane.sh up

cluster-down: ## End what cluster-up left running
	@scripts/control-plane.sh down

bench: setup ## Measure; one line per figure: bench <name> <value> <unit> goal <goal> met|missed
	@scripts/bench.sh

lint: setup ## Check format, lints, documentation and the rules between crates
	@scripts/lint.sh

fmt: ## Format the code
	cargo fmt --all
