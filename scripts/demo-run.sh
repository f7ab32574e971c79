#!/usr/bin/env bash
# The demonstration itself, on the engine at DOCKER_HOST: a sample repository behind a token, `slipway up`, one
# deployment, its page. Ends on Ctrl-C, or by itself with DEMO_EXIT=1; cleans up either way.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

: "${DOCKER_HOST:?}" "${SLIPWAY_PROGRAMS:?}"
PATH=$SLIPWAY_PROGRAMS:$PATH:/usr/sbin:/sbin

folder=$(mktemp -d "${TMPDIR:-/tmp}/slipway-demo.XXXXXX")
base_image="slipway-demo-base:$$"
git_pid='' up_pid='' deployment='' project='' finished=false

# field NAME: a field of the JSON document on standard input.
field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."):
    value = value[int(name) if isinstance(value, list) else name]
print(value)' "$1"; }

engine() { engine_curl "$DOCKER_HOST" --max-time 60 "$@"; }

# label_filter NAME=VALUE: a query that lets only objects with that label pass.
label_filter() { printf 'filters=%%7B%%22label%%22%%3A%%5B%%22%s%%22%%5D%%7D' "${1/=/%3D}"; }

# ids KIND: the demo's containers, networks or images on the engine.
ids() {
  [ -n "$project" ] || return 0
  local path="/$1/json?all=true&"
  [ "$1" != networks ] || path='/networks?'
  engine "$path$(label_filter "io.slipway.project=$project")" |
    python3 -c 'import json, sys
for thing in json.load(sys.stdin):
    print(thing["Id"])'
}

remove_all() {
  local id
  for id in $(ids "$1"); do engine --output /dev/null -X DELETE "/$1/$id${2:-}"; done
}

nothing_left() { [ -z "$(ids containers)$(ids networks)$(ids images)" ]; }

clean_up() {
  local status=$? clean=true
  trap '' INT TERM
  set +e
  say
  say "demo: cleaning up"
  if [ -n "$deployment" ] && ! gone "$up_pid"; then
    slipway stop "$deployment" >"$folder/stop.log" 2>&1 ||
      { note "demo: slipway stop failed:"; cat "$folder/stop.log" >&2; clean=false; }
    [ -z "$(ids containers)" ] || { note "demo: slipway stop left containers behind"; clean=false; }
  fi
  if [ -n "$up_pid" ]; then
    end_process "$up_pid" 40 || { note "demo: slipway up had to be killed"; clean=false; }
  fi
  if [ -n "$git_pid" ]; then
    end_process "$git_pid" 10 || { note "demo: the Git server had to be killed"; clean=false; }
  fi
  remove_all containers '?force=true'
  remove_all networks
  remove_all images '?force=true'
  engine --output /dev/null -X DELETE "/images/$base_image?force=true"
  nothing_left || { note "demo: objects are left on the engine"; clean=false; }
  if [ "$finished" != true ] && [ -s "$folder/up.log" ]; then
    note "demo: the end of the server's log:"
    tail -n 20 "$folder/up.log" >&2
  fi
  rm -rf "$folder"
  [ ! -e "$folder" ] || { note "demo: $folder is left"; clean=false; }
  if [ "$finished" = true ] && [ "$clean" = true ]; then
    say "demo: everything happened, and nothing is left"
    exit 0
  fi
  [ "$status" -ne 0 ] || status=1
  note "demo: failed"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A base image for static sites, from the distribution's own static web server: no registry is needed.
make_base_image() {
  mkdir "$folder/base"
  cp "$(command -v busybox)" "$folder/base/busybox"
  cat >"$folder/base/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY busybox /bin/busybox
USER 101:101
EXPOSE 8080
# A process without a handler for SIGTERM ignores it when it is the first of its container.
STOPSIGNAL SIGKILL
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/usr/share/nginx/html"]
DOCKERFILE
  tar -C "$folder/base" -c . |
    engine --data-binary @- -H 'Content-Type: application/x-tar' -X POST "/build?t=$base_image" >"$folder/base.log"
  engine "/images/$base_image/json" | field Id >/dev/null || die "the base image: $(cat "$folder/base.log")"
}

start_git_server() {
  DEMO_GIT_TOKEN=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
  export DEMO_GIT_TOKEN
  (umask 077 && printf '%s\n' "$DEMO_GIT_TOKEN" >"$folder/git.token")
  # Each in a session of its own: Ctrl-C must reach this script first, which then ends them in order.
  setsid slipway-demo-git demo/site >"$folder/git.json" 2>"$folder/git.log" </dev/null &
  git_pid=$!
  wait_until 15 test -s "$folder/git.json" || die "the Git server: $(cat "$folder/git.log")"
  repository=$(field url <"$folder/git.json")
  repository_folder=$(field directory <"$folder/git.json")
}

start_slipway() {
  cat >"$folder/slipway.toml" <<SETTINGS
[templates.base_images]
static = "$base_image"

[docker]
host = "$DOCKER_HOST"

[gateway]
port_min = 28600
port_max = 28699
SETTINGS
  setsid slipway up --config "$folder/slipway.toml" --data-dir "$folder/data" --listen 127.0.0.1:0 \
    >"$folder/up.out" 2>"$folder/up.log" </dev/null &
  up_pid=$!
  wait_until 30 up_or_gone && ! gone "$up_pid" || die "slipway up: $(cat "$folder/up.out" "$folder/up.log")"
  cat "$folder/up.out"
  SLIPWAY_SERVER=$(field url <"$folder/data/up.json")
  export SLIPWAY_SERVER SLIPWAY__DATA__DIR="$folder/data"
}

up_or_gone() { [ -s "$folder/data/up.json" ] || gone "$up_pid"; }

deploy() {
  say
  say "$ slipway deploy $repository --token-env DEMO_GIT_TOKEN"
  slipway deploy "$repository" --token-env DEMO_GIT_TOKEN
  deployment=$(slipway list --json --limit 1 | field data.0.id)
  url=$(slipway status --json "$deployment" | field url)
  local container
  container=$(engine "/containers/json?$(label_filter "io.slipway.deployment=$deployment")")
  project=$(python3 -c 'import json, sys
print(json.loads(sys.argv[1])[0]["Labels"]["io.slipway.project"])' "$container") ||
    die "no container runs for the deployment"
}

check() {
  local page commits files
  page=$(curl --silent --show-error --fail --max-time 10 "$url")
  case $page in *'Ahoy from Slipway'*) ;; *) die "the page at $url is not the repository's: $page" ;; esac
  say
  say "$ curl $url"
  say "$page"
  commits=$(git -C "$repository_folder" rev-list --count main)
  [ "$commits" = 2 ] || die "the repository has $commits commits on main; expected its own and one generated"
  git -C "$repository_folder" show --no-patch --format=%B main | grep -q '^Slipway-Job: ' ||
    die "the newest commit is not Slipway's"
  files=$(git -C "$repository_folder" show --name-only --format= main)
  for file in Dockerfile .gitlab-ci.yml; do
    grep -qx "$file" <<<"$files" || die "the generated commit has no $file: $files"
  done
}

say "demo: the Docker engine at $DOCKER_HOST"
make_base_image
start_git_server
say "demo: a Git server with the repository $repository"
start_slipway
deploy
check
say
say "$ slipway status ${deployment: -12}"
slipway status "$deployment"
finished=true

[ "${DEMO_EXIT:-}" != 1 ] || exit 0

cat <<WORDS

The site:     $url
The API:      $SLIPWAY_SERVER/docs
The commit:   git -C $repository_folder show main

To try, in another terminal:
  export PATH=$SLIPWAY_PROGRAMS:\$PATH SLIPWAY_SERVER=$SLIPWAY_SERVER SLIPWAY__DATA__DIR=$folder/data
  export DEMO_GIT_TOKEN=\$(cat $folder/git.token)
  slipway list
  slipway logs --stage build ${deployment: -12}
  slipway deploy $repository --token-env DEMO_GIT_TOKEN --replicas 2
  slipway rollback ${deployment: -12}
  slipway stop ${deployment: -12}

Ctrl-C ends the demonstration and takes everything away again.
WORDS
while ! gone "$up_pid"; do sleep 1; done
die "slipway up has ended"
