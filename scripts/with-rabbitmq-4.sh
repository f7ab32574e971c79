#!/usr/bin/env bash
# with-rabbitmq-4.sh COMMAND...: runs the command so that its tests use RabbitMQ 4, as the distribution's next release has
# it, in place of the installed 3.10. It is unpacked once into a folder of its own below the build folder (300 MB) and run
# from there by chroot; mounts are private to the command. Needs root, and installs debootstrap if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

release=trixie

[ $# -gt 0 ] || die "usage: with-rabbitmq-4.sh COMMAND..."
[ "$(id -u)" -eq 0 ] || die "running another release's RabbitMQ needs root"
if ! command -v debootstrap >/dev/null 2>&1; then
  say "setup: installing from the distribution: debootstrap"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi

mkdir -p "${CARGO_TARGET_DIR:-target}/rabbitmq-4"
folder=$(realpath "${CARGO_TARGET_DIR:-target}/rabbitmq-4")
if [ ! -e "$folder/complete" ]; then
  # From where this machine has its packages.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' | head -n 1)
  [ -n "$mirror" ] || die "apt-get knows no source of packages"
  say "setup: unpacking RabbitMQ 4 of $release"
  rm -rf "$folder/root"
  debootstrap --variant=minbase --include=rabbitmq-server "$release" "$folder/root" "$mirror" >"$folder/log" 2>&1 ||
    die "it could not be unpacked: $(tail -n 1 "$folder/log")"
  mkdir -p "$folder/bin"
  for program in rabbitmq-server rabbitmqctl; do
    printf '#!/bin/sh\nexec chroot %s /usr/lib/rabbitmq/bin/%s "$@"\n' "$folder/root" "$program" >"$folder/bin/$program"
    chmod +x "$folder/bin/$program"
  done
  touch "$folder/complete"
fi
say "RabbitMQ $(chroot "$folder/root" dpkg-query -W -f '${Version}' rabbitmq-server)"

export SLIPWAY_TEST_RABBITMQ=$folder/bin
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --mount --propagation private bash -c '
  root=$1; shift
  mount --bind "${TMPDIR:-/tmp}" "$root/tmp"
  mount -t proc proc "$root/proc"
  exec "$@"' bash "$folder/root" "$@"
