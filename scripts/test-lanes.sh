#!/usr/bin/env bash
# test-lanes.sh: runs all tests in two lanes side by side, as they wait for servers to start, to stop and to be missed
# most of the time. The second lane has the longest fault suites, none of which needs a Docker engine; what it says is
# shown when it has ended. Called by test.sh, which has built everything.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

beside=(faults_durability faults_dependencies faults_load faults_upgrade)

# lane FIRST-LAST ARGUMENT...: a `cargo test` whose servers take ports of that range, so that no lane takes the port of
# a server that the other one has stopped for a while. A suite that fails does not keep the others from being run.
lane() {
  SLIPWAY_TEST_PORTS=$1 cargo test --workspace --locked --no-fail-fast "${@:2}"
}

first=(--lib --bins)
second=()
for file in */tests/*.rs; do
  suite=$(basename "$file" .rs)
  if [[ " ${beside[*]} " == *" $suite "* ]]; then second+=(--test "$suite"); else first+=(--test "$suite"); fi
done
[ "${#second[@]}" -eq $((2 * ${#beside[@]})) ] || die "a suite of the second lane is missing"

log=$(mktemp)
lane 22000-31999 "${second[@]}" >"$log" 2>&1 &
other=$!
trap 'kill "$other" 2>/dev/null || true; rm -f "$log"' EXIT

failed=0
started=$SECONDS
lane 12000-21999 "${first[@]}" || failed=1
cargo test --workspace --locked --doc || failed=1
say "test: the first lane took $((SECONDS - started)) s"
wait "$other" || failed=1
cat "$log"
say "test: both lanes took $((SECONDS - started)) s"
exit "$failed"
