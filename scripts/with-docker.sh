#!/usr/bin/env bash
# with-docker.sh [--required] COMMAND...: runs the command with DOCKER_HOST and SLIPWAY_TEST_DOCKER naming a Docker
# engine. An engine that answers is used as it is; otherwise a private one is started in a temporary folder, with a
# bridge and address ranges of its own, and ended afterwards. When none can be had it says why, and without --required
# the command runs all the same.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

required=false
if [ "${1:-}" = --required ]; then
  required=true
  shift
fi
[ $# -gt 0 ] || die "usage: with-docker.sh [--required] COMMAND..."

folder='' dockerd_pid='' bridge='' child='' skipped=''

# Whether another engine has set up this machine's network already; a second one must then keep its hands off it.
network_taken() {
  [ -e /sys/class/net/docker0 ] || pgrep -x dockerd >/dev/null 2>&1
}

# A bridge of our own, so that no other engine's containers share its addresses.
make_bridge() {
  bridge="slw$$"
  local third
  for third in $(seq 1 254); do
    if ! ip -4 addr show | grep -q "inet 10\.213\.$third\."; then
      ip link add name "$bridge" type bridge &&
        ip addr add "10.213.$third.1/24" dev "$bridge" &&
        ip link set "$bridge" up
      return
    fi
  done
  return 1
}

# Addresses of the private engine's containers: its bridge, and the networks they make.
own_addresses=(10.213.0.0/16 10.214.0.0/16)
paths_open=false

# An engine that keeps its hands off the packet filter gets no help from it either: where another engine's rules drop
# what they do not know, containers of the private one could not reach each other.
open_paths() {
  command -v iptables >/dev/null 2>&1 || return 0
  local block
  for block in "${own_addresses[@]}"; do
    iptables -w -I FORWARD -s "$block" -d "$block" -j ACCEPT 2>/dev/null || return 0
  done
  paths_open=true
}

close_paths() {
  [ "$paths_open" = true ] || return 0
  local block
  for block in "${own_addresses[@]}"; do
    iptables -w -D FORWARD -s "$block" -d "$block" -j ACCEPT 2>/dev/null || true
  done
}

launch() {
  local iptables=$1
  : >"$folder/dockerd.log"
  # In a session of its own: Ctrl-C must reach the command first, and the engine only when that has cleaned up.
  setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    --host "unix://$folder/docker.sock" --bridge "$bridge" --iptables="$iptables" --ip6tables=false \
    --default-address-pool base=10.214.0.0/16,size=24 \
    >>"$folder/dockerd.log" 2>&1 </dev/null &
  dockerd_pid=$!
  wait_until 45 answers_or_gone && engine_answers "unix://$folder/docker.sock"
}

answers_or_gone() {
  gone "$dockerd_pid" || engine_answers "unix://$folder/docker.sock"
}

start_private() {
  local why=''
  if ! command -v dockerd >/dev/null 2>&1; then
    why="no dockerd is installed (apt-get install docker.io)"
  elif [ "$(id -u)" -ne 0 ]; then
    why="starting a private one needs root"
  elif ! command -v ip >/dev/null 2>&1; then
    why="the program ip is missing (apt-get install iproute2)"
  fi
  if [ -z "$why" ]; then
    folder=$(mktemp -d "${TMPDIR:-/tmp}/slipway-docker.XXXXXX")
    if ! make_bridge 2>"$folder/bridge.log"; then
      why="no network bridge can be made here: $(tail -n 1 "$folder/bridge.log")"
    elif { ! network_taken && launch true; } || { stop_dockerd; open_paths; launch false; }; then
      return 0
    else
      why="dockerd does not start: $(grep -v level=info "$folder/dockerd.log" | tail -n 1)"
    fi
  fi
  note "docker: no engine answers at ${DOCKER_HOST:-/var/run/docker.sock}, and $why"
  return 1
}

# The networks that tests left to the engine outlive it as bridges of this machine.
own_bridges() {
  curl --silent --max-time 5 --unix-socket "$folder/docker.sock" http://docker/networks 2>/dev/null |
    grep -o '"Id":"[0-9a-f]*"' | cut -d '"' -f 4 | cut -c 1-12 | sed 's/^/br-/'
}

stop_dockerd() {
  [ -n "$dockerd_pid" ] || return 0
  mapfile -t bridges < <(own_bridges)
  end_process "$dockerd_pid" 30 || note "docker: the private engine had to be killed"
  dockerd_pid=''
  local link
  for link in "${bridges[@]}"; do
    if [ -e "/sys/class/net/$link" ]; then ip link delete "$link" || true; fi
  done
}

clean_up() {
  stop_dockerd
  close_paths
  if [ -n "$bridge" ] && [ -e "/sys/class/net/$bridge" ]; then ip link delete "$bridge" || true; fi
  [ -n "$folder" ] || return 0
  # Mounts first: a folder with something mounted in it cannot be removed.
  awk -v prefix="$folder/" 'index($2, prefix) == 1 { print $2 }' /proc/mounts | sort -r |
    while read -r mount; do umount "$mount" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap clean_up EXIT

if host=$(find_engine); then
  export DOCKER_HOST=$host SLIPWAY_TEST_DOCKER=$host
elif start_private; then
  export DOCKER_HOST="unix://$folder/docker.sock" SLIPWAY_TEST_DOCKER="unix://$folder/docker.sock"
  note "docker: started a private engine at $DOCKER_HOST; it ends with this command"
else
  [ "$required" = false ] || exit 1
  note "docker: what needs an engine will be skipped"
  unset DOCKER_HOST SLIPWAY_TEST_DOCKER
fi

# The command runs in a process group of its own and gets the signals that reach this script, so that it can clean
# up before the engine ends.
# Without an engine, tests that need one say so in a line each on standard error; those are counted.
if [ -n "${SLIPWAY_TEST_DOCKER:-}" ]; then
  exec 3>&2
else
  skipped=$(mktemp)
  exec 3> >(trap '' INT TERM; tee "$skipped" >&2)
  counter=$!
fi
set -m
"$@" 2>&3 3>&- &
child=$!
set +m
exec 3>&-
trap 'kill -INT -- -"$child" 2>/dev/null || true' INT
trap 'kill -TERM -- -"$child" 2>/dev/null || true' TERM HUP
status=0
while :; do
  wait "$child" && status=0 || status=$?
  gone "$child" && break
done
if [ -n "$skipped" ]; then
  wait "$counter" || true
  note "docker: $(grep -c '^SKIP docker:' "$skipped" || true) tests were skipped for want of an engine"
  rm -f "$skipped"
fi
exit "$status"
