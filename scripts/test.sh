#!/usr/bin/env bash
# test.sh [ARGUMENT...]: builds everything once, then runs all tests on the programs that were built. Programs and tests
# are built together because a build of one program alone resolves other features of what they share, and compiles it
# again. With arguments, they go to one `cargo test`; without, all tests run in two lanes side by side.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --workspace --locked --bins --tests
programs=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
export SLIPWAY_BIN=$programs/slipway SLIPWAY_API_BIN=$programs/slipway-api SLIPWAY_WORKER_BIN=$programs/slipway-worker
export SLIPWAY_GATEWAY_BIN=$programs/slipway-gateway
if [ $# -gt 0 ]; then
  exec scripts/with-docker.sh cargo test --workspace --locked "$@"
fi
exec scripts/with-docker.sh scripts/test-lanes.sh
