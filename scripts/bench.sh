#!/usr/bin/env bash
# bench.sh [PART...]: builds the optimised programs and takes the figures of BENCHMARKS.md, one line each. Parts: idle,
# accept, list, null-jobs, deploy; all of them if none is named. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

profile=bench-run
cargo build --locked --profile "$profile" --package slipway-cli --package slipway-integration-tests \
  --bin slipway --bin slipway-bench
programs=${CARGO_TARGET_DIR:-target}/$profile
SLIPWAY_BIN=$(realpath "$programs/slipway")
export SLIPWAY_BIN
note "bench: $(uname -sr), $(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
scripts/with-docker.sh "$programs/slipway-bench" "$@"
note "bench: load $(cut -d' ' -f1-3 /proc/loadavg) at the end"
