#!/usr/bin/env bash
# test.sh [ARGUMENT...]: builds everything once, then runs all tests on the programs that were built; the arguments go to
# `cargo test`. Programs and tests are built together because a build of one program alone resolves other features of
# what they share, and compiles it again. A suite that fails does not keep the others from being run.
set -euo pipefail
cd "$(dirname "$0")/.."

# Modules of Go arrive while this is built; that some do not, is said where they are needed.
(scripts/control-plane.sh fetch; scripts/helm.sh fetch) >/dev/null 2>&1 &
fetching=$!
cargo build --workspace --locked --bins --tests
wait "$fetching" || true
programs=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
export SLIPWAY_BIN=$programs/slipway SLIPWAY_API_BIN=$programs/slipway-api SLIPWAY_WORKER_BIN=$programs/slipway-worker
export SLIPWAY_GATEWAY_BIN=$programs/slipway-gateway SLIPWAY_SCALER_BIN=$programs/slipway-scaler
exec scripts/control-plane.sh run -- scripts/with-docker.sh cargo test --workspace --locked --no-fail-fast "$@"
