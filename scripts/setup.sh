#!/usr/bin/env bash
# Installs what is missing from the distribution, and says what it installs. Starts nothing. Quiet when nothing
# is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

missing=()

# need PROGRAM PACKAGE: the package is wanted when the program is not found.
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

# An administrator's programs are not on everybody's path.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

need git git
need curl curl
need python3 python3
need cc build-essential
need make build-essential
need pkg-config pkg-config
need setsid util-linux
need ip iproute2
need tar tar
need openssl openssl
need docker-registry docker-registry
docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
need setpriv util-linux
need redis-server redis-server
[ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
python3 -c "import ensurepip, venv" >/dev/null 2>&1 || missing+=(python3-venv)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if ! command -v busybox >/dev/null 2>&1 || LC_ALL=C ldd "$(command -v busybox)" >/dev/null 2>&1; then
  missing+=(busybox-static)
fi
if command -v curl >/dev/null 2>&1 && find_engine >/dev/null; then
  : # An engine answers; nothing has to be installed to have one.
elif ! command -v dockerd >/dev/null 2>&1; then
  missing+=(docker.io iptables)
else
  need iptables iptables
fi

if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  command -v apt-get >/dev/null 2>&1 ||
    die "these packages are missing, and there is no apt-get to install them with: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
      die "these packages are missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "setup: installing from the distribution: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

command -v cargo >/dev/null 2>&1 ||
  die "cargo is not found; install the Rust toolchain (rustup reads rust-toolchain.toml) and try again"
