#!/usr/bin/env bash
# The demonstration: sets this machine up, builds Slipway, and runs scripts/demo-run.sh on a Docker engine. With
# DEMO_EXIT=1 it cleans up after itself and exits 0 only if everything happened.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

scripts/setup.sh
say "demo: building (a few minutes the first time)"
cargo build --quiet --locked -p slipway-cli --bin slipway
cargo build --quiet --locked -p slipway-integration-tests --bin slipway-demo-git
SLIPWAY_PROGRAMS=$PWD/${CARGO_TARGET_DIR:-target}/debug
case ${CARGO_TARGET_DIR:-} in /*) SLIPWAY_PROGRAMS=$CARGO_TARGET_DIR/debug ;; esac
export SLIPWAY_PROGRAMS
exec scripts/with-docker.sh --required scripts/demo-run.sh
