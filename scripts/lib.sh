# What the scripts share: talking, finding a Docker engine, asking its API. Sourced, not run.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# engine_curl HOST CURL-ARGUMENT...: asks the engine at HOST (unix:///path or tcp://host:port); the last argument
# is the path of the request.
engine_curl() {
  local host=$1; shift
  local path=${*: -1}
  set -- "${@:1:$#-1}"
  case $host in
    unix://*) curl --silent --show-error --unix-socket "${host#unix://}" "$@" "http://localhost$path" ;;
    tcp://*) curl --silent --show-error "$@" "http://${host#tcp://}$path" ;;
    *) note "cannot use the Docker engine at '$host': only unix:// and tcp:// are understood"; return 1 ;;
  esac
}

# engine_answers HOST: whether an engine answers there within 5 s.
engine_answers() {
  [ "$(engine_curl "$1" --max-time 5 /_ping 2>/dev/null)" = OK ]
}

# find_engine: prints the host of an engine that answers: $DOCKER_HOST, otherwise the system's socket.
find_engine() {
  local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
  engine_answers "$host" || return 1
  printf '%s\n' "$host"
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds; fails when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# end_process PID SECONDS: SIGTERM, and SIGKILL when the time is over. Fails if it had to be killed.
end_process() {
  kill -TERM "$1" 2>/dev/null || return 0
  if wait_until "$2" gone "$1"; then return 0; fi
  kill -KILL "$1" 2>/dev/null || true
  wait_until 5 gone "$1" || true
  return 1
}

# milliseconds since the epoch
now_ms() { date +%s%3N; }
