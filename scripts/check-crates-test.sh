#!/usr/bin/env bash
# Shows that check-crates.sh fails when a rule is broken: on copies of the manifests, each with one rule broken.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

folder=$(mktemp -d "${TMPDIR:-/tmp}/slipway-crates.XXXXXX")
trap 'rm -rf "$folder"' EXIT

# The manifests alone, with an empty library in each member.
copy_manifests() {
  rm -rf "$folder/copy"
  local manifest member
  for manifest in Cargo.toml Cargo.lock rust-toolchain.toml */Cargo.toml */*/Cargo.toml; do
    mkdir -p "$folder/copy/$(dirname "$manifest")"
    cp "$manifest" "$folder/copy/$manifest"
  done
  for manifest in */Cargo.toml */*/Cargo.toml; do
    member=$(dirname "$manifest")
    mkdir -p "$folder/copy/$member/src"
    : >"$folder/copy/$member/src/lib.rs"
    echo 'fn main() {}' >"$folder/copy/$member/src/main.rs"
  done
}

# add MEMBER LINE: a line in the member's [dependencies].
add() { sed -i "s|^\[dependencies\]\$|&\n$2|" "$folder/copy/$1/Cargo.toml"; }

check() { (cd "$folder/copy" && "$OLDPWD/scripts/check-crates.sh" --offline 2>&1); }

expect_broken() {
  local member=$1 line=$2 sentence=$3 output
  copy_manifests
  add "$member" "$line"
  if output=$(check); then die "not noticed: $member with '$line'"; fi
  case $output in
    *"$sentence"*) ;;
    *) die "noticed, but for another reason: $member with '$line': $output" ;;
  esac
}

copy_manifests
check >/dev/null || die "the unchanged manifests are refused: $(check || true)"
expect_broken common 'actix-web.workspace = true' 'slipway-common depends on actix-web'
expect_broken common 'bollard.workspace = true' 'the tree of slipway-api holds bollard'
expect_broken gateway 'slipway-worker.workspace = true' 'slipway-gateway depends on slipway-worker'
expect_broken worker 'slipway-scaler.workspace = true' 'slipway-worker depends on slipway-scaler'
expect_broken scaler 'slipway-worker.workspace = true' 'slipway-scaler depends on slipway-worker'
expect_broken api 'slipway-worker.workspace = true' 'slipway-api depends on slipway-worker'
expect_broken api 'slipway-worker.workspace = true' 'the tree of slipway-api holds gix'
expect_broken api 'slipway-cluster.workspace = true' 'the tree of slipway-api holds kube'
expect_broken common/cluster 'slipway-gateway.workspace = true' 'slipway-cluster depends on slipway-gateway'
expect_broken common/gitlab 'slipway-cluster.workspace = true' 'slipway-gitlab depends on slipway-cluster'
expect_broken common/gitlab 'slipway-cluster.workspace = true' 'the tree of slipway-gitlab holds kube'
expect_broken api 'slipway-gitlab.workspace = true' 'slipway-api depends on slipway-gitlab'
expect_broken api 'bollard.workspace = true' 'slipway-api depends on bollard'
expect_broken cli 'gix.workspace = true' 'slipway-cli depends on gix'
expect_broken api 'lapin.workspace = true' 'slipway-api depends on lapin'
expect_broken worker 'redis.workspace = true' 'slipway-worker depends on redis'
expect_broken worker 'actix-web.workspace = true' 'slipway-worker depends on actix-web'
say "crate rules: a broken one is noticed (17 cases)"
