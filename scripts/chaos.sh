#!/usr/bin/env bash
# chaos.sh: builds the programs with their test switches and runs slipway-chaos. CHAOS_JOBS (10000), CHAOS_FAULTS (100),
# CHAOS_SEED (random), CHAOS_NODES (3), CHAOS_APIS (2), CHAOS_WORKERS (3), CHAOS_RATE (4 jobs a second), CHAOS_PLANT
# (none) and CHAOS_DIR (target/chaos-run) change it. Exits with 1 on any violation.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

for program in /usr/lib/rabbitmq/bin/rabbitmq-server redis-server git; do
  command -v "$program" >/dev/null || die "$program is missing; make setup installs it"
done
# Planted faults and jobs cut short exist in builds with debug assertions only; optimised ones leave the processors to
# the faults.
cargo build --locked --profile chaos --package slipway-api --bin slipway-api --package slipway-worker \
  --bin slipway-worker --package slipway-integration-tests --bin slipway-chaos
programs=$(realpath "${CARGO_TARGET_DIR:-target}/chaos")
export SLIPWAY_API_BIN=$programs/slipway-api SLIPWAY_WORKER_BIN=$programs/slipway-worker
exec "$programs/slipway-chaos"
