#!/usr/bin/env bash
# Everything that can be said about the code without running it. The first thing that is wrong ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

step() {
  local started; started=$(now_ms)
  say "lint: $1"
  "${@:2}" || die "$1: see above"
  say "lint: $1: done in $((($(now_ms) - started) / 1000)) s"
}

deny_if_installed() {
  if command -v cargo-deny >/dev/null 2>&1; then
    cargo deny --locked --log-level error check bans licenses sources
  else
    say "lint: cargo-deny is not installed; licences and sources are not checked here"
  fi
}

step "crate rules" scripts/check-crates.sh
step "crate rules notice a broken one" scripts/check-crates-test.sh
step "format" cargo fmt --all --check
step "clippy" cargo clippy --workspace --all-targets --locked --quiet -- --deny warnings
step "documentation" env RUSTDOCFLAGS="--deny warnings" \
  cargo doc --workspace --no-deps --document-private-items --locked --quiet
step "dependencies" deny_if_installed
