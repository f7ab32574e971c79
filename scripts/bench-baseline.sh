#!/usr/bin/env bash
# The yardstick of `make bench`: deploys a repository as a person would script it with git and docker, to the same
# effect as Slipway: missing files committed and pushed, the image built by the classic builder under the same limits,
# the container locked down and labelled as much, the old one drained and removed once the new one answers.
# Input: BENCH_APP, BENCH_REPOSITORY_URL, BENCH_REPOSITORY_TOKEN, BENCH_TEMPLATES, BENCH_DRAIN_SECONDS, DOCKER_HOST.
set -euo pipefail
app=$BENCH_APP port=8080
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The token goes by header and from the environment, as Slipway sends it: never in arguments or in .git/config.
GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'oauth2:%s' "$BENCH_REPOSITORY_TOKEN" | base64 --wrap=0)"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
git clone --quiet --depth 1 "$BENCH_REPOSITORY_URL" "$work/site"
cd "$work/site"

missing=()
for file in Dockerfile .dockerignore .gitlab-ci.yml; do
  [ -e "$file" ] || { cp "$BENCH_TEMPLATES/$file" "$file"; missing+=("$file"); }
done
if [ ${#missing[@]} -gt 0 ]; then
  git add -- "${missing[@]}"
  git -c user.name=Script -c user.email=script@localhost commit --quiet --message "Add what is missing"
  git push --quiet origin HEAD
fi
revision=$(git rev-parse HEAD)

# labels COUNT: as many labels as Slipway writes there.
labels() {
  printf '%s\n' --label "bench.slipway.app=$app"
  for number in $(seq 2 "$1"); do printf '%s\n' --label "bench.slipway.label-$number=$revision"; done
}
mapfile -t image_labels < <(labels 6)
mapfile -t network_labels < <(labels 3)
mapfile -t container_labels < <(labels 13)

memory=$((2 * 1024 * 1024 * 1024 - 1))
DOCKER_BUILDKIT=0 docker build --tag "bench-slipway/$app:${revision:0:12}" --iidfile "$work/image" --force-rm \
  --memory "$memory" --memory-swap "$memory" --cpu-period 100000 --cpu-quota 200000 \
  "${image_labels[@]}" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }

docker network inspect "$app" >"$work/network" 2>&1 ||
  docker network create --driver bridge "${network_labels[@]}" "$app" >"$work/network"

old=$(docker ps --all --quiet --filter "label=bench.slipway.app=$app")
new=$(docker run --detach --name "$app-${revision:0:12}" --network "$app" --init --expose "$port" \
  --memory 512m --memory-swap 512m --cpus 1 --pids-limit 512 \
  --cap-drop ALL --cap-add NET_BIND_SERVICE --security-opt no-new-privileges --restart unless-stopped \
  --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
  "${container_labels[@]}" "$(cat "$work/image")")
address=$(docker inspect --format "{{(index .NetworkSettings.Networks \"$app\").IPAddress}}" "$new")
deadline=$((SECONDS + 60))
until curl --silent --fail --noproxy '*' --max-time 2 --output "$work/page" "http://$address:$port/"; do
  [ "$SECONDS" -lt "$deadline" ] || { docker logs "$new" >&2; exit 1; }
  sleep 0.1
done

if [ -n "$old" ]; then
  sleep "$BENCH_DRAIN_SECONDS"
  docker stop -t 10 "$old" >"$work/stopped"
  docker rm --volumes "$old" >"$work/removed"
fi
