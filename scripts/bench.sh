#!/usr/bin/env bash
# bench.sh [PART...]: builds the optimised programs and takes the figures of BENCHMARKS.md, one line each. Parts: idle,
# accept, list, null-jobs, accept-quorum, workers, memory, cluster, scaler, hooks, projects, deploy; all of them if none is
# named. BENCH_SECONDS (30), BENCH_JOBS (20000), BENCH_FLEET (1000), BENCH_PROJECTS (10000) and BENCH_REPETITIONS (7) scale
# them. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

profile=bench-run
cargo build --locked --profile "$profile" --package slipway-cli --package slipway-api --package slipway-worker --package slipway-scaler \
  --package slipway-integration-tests --bin slipway --bin slipway-api --bin slipway-worker --bin slipway-scaler --bin slipway-bench
programs=${CARGO_TARGET_DIR:-target}/$profile
SLIPWAY_BIN=$(realpath "$programs/slipway")
SLIPWAY_API_BIN=$(realpath "$programs/slipway-api")
SLIPWAY_WORKER_BIN=$(realpath "$programs/slipway-worker")
SLIPWAY_SCALER_BIN=$(realpath "$programs/slipway-scaler")
export SLIPWAY_BIN SLIPWAY_API_BIN SLIPWAY_WORKER_BIN SLIPWAY_SCALER_BIN
note "bench: $(uname -sr), $(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
scripts/with-docker.sh "$programs/slipway-bench" "$@"
note "bench: load $(cut -d' ' -f1-3 /proc/loadavg) at the end"
