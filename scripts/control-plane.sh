#!/usr/bin/env bash
# control-plane.sh: a real Kubernetes control plane for tests. etcd, kube-apiserver, kube-controller-manager and
# kube-scheduler run as they are; kwok plays the nodes and their pods. Everything listens on loopback only.
#
#   ensure            prints the folder that holds the programs; builds those that this machine does not have. The
#                     status is 3 when they cannot be had: no Go, too old a Go, no modules, or not built within
#                     CONTROL_PLANE_BUILD_MAX_S (1200).
#   fetch             gets the modules that a build needs, so that it can be done while something else is built.
#   run -- COMMAND... runs the command with SLIPWAY_TEST_CLUSTER naming the folder of a control plane that ends with
#                     it. When the programs cannot be had it says why, and runs the command all the same. Whoever
#                     wants to do without says why in SLIPWAY_NO_TEST_CLUSTER.
#   up, down          start one to play with, and end it.
#   prepare FOLDER PROGRAMS ETCD-PORT PEER-PORT API-PORT KUBELET-PORT
#                     writes all that the programs need into the folder; the command line of each becomes a file there.
#   settle FOLDER     makes the nodes, once the API answers, and waits until they are ready.
# shellcheck disable=SC2317 # some functions are handed over by their names
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

module=$PWD/integration-tests/control-plane
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok)
# Those that run, in the order they start in: the first two make the API, the others need it.
api_programs=(etcd kube-apiserver)
other_programs=(kube-controller-manager kube-scheduler kwok)
# Who may knock at the API. Only the administrator may do anything; tests bind roles to the others.
users=(admin slipway-api slipway-scaler slipway-worker)

status_unavailable=3
start_seconds_max=180
# Longest first build; what is done by then is kept for the next.
build_max_s=${CONTROL_PLANE_BUILD_MAX_S:-1200}

cache_root() {
  mkdir -p "${CARGO_TARGET_DIR:-target}/control-plane"
  realpath "${CARGO_TARGET_DIR:-target}/control-plane"
}

# --- the programs ---------------------------------------------------------------------------------------------------

# unavailable REASON...: says it so that nobody overlooks it.
unavailable() {
  note "SKIPPED: the tests on a Kubernetes control plane do not run here."
  note "SKIPPED: $*"
  exit "$status_unavailable"
}

package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    kwok) echo sigs.k8s.io/kwok/cmd/kwok ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

kubernetes_version() { awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$module/go.mod"; }

has_all() {
  local name
  for name in "${programs[@]}"; do [ -x "$1/$name" ] || return 1; done
}

# usable PROGRAM: whether it is there. A part of Kubernetes has to be of the release that the others are built from.
usable() {
  [ -x "$1" ] || return 1
  local version; version=$(kubernetes_version)
  case $1 in
    */kube-*) case $("$1" --version 2>/dev/null) in "Kubernetes ${version%.*}."*) ;; *) return 1 ;; esac ;;
  esac
}

in_module() {
  # Settings of the machine's Go, such as a vendor folder, are not meant for this module.
  (cd "$module" && GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go "$@")
}

check_go() {
  command -v go >/dev/null 2>&1 || unavailable "some programs have to be built, and Go is not installed"
  local why
  why=$(in_module list -m 2>&1 >/dev/null) || unavailable "this Go cannot build them ($(go version 2>&1)): $why"
}

# Takes minutes of waiting and seconds of work. That something is missing, the build says.
fetch() {
  ensure_is_done || in_module list -deps tool >/dev/null 2>&1 || true
}

ensure_is_done() { has_all "$(program_folder)"; }

program_folder() { echo "$(cache_root)/$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c 1-16)/bin"; }

build() {
  local name=$1 bin=$2 package version
  package=$(package_of "$name")
  version=$(kubernetes_version)
  local minor=${version#v*.}
  local component=k8s.io/component-base/version
  note "control-plane: building $name"
  local why
  why=$(in_module list -deps "$package" 2>&1 >/dev/null) ||
    unavailable "the modules of $name cannot be had: $(tail -n 3 <<<"$why")"
  local started=$SECONDS status=0 left=$((build_max_s - SECONDS))
  [ "$left" -gt 0 ] || unavailable "the programs were not built within $build_max_s s (CONTROL_PLANE_BUILD_MAX_S)"
  (cd "$module" && GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 timeout "$left" \
    go build -trimpath -o "$bin/.$name.new" -ldflags "-s -w -X $component.gitVersion=$version \
    -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*} -X $component.gitTreeState=clean" "$package" >&2) ||
    status=$?
  # What was compiled is kept by Go: the next build goes on from there.
  [ "$status" -ne 124 ] ||
    unavailable "the programs were not built within $build_max_s s (CONTROL_PLANE_BUILD_MAX_S)"
  [ "$status" -eq 0 ] || die "$name could not be built: see above"
  mv "$bin/.$name.new" "$bin/$name"
  note "control-plane: built $name in $((SECONDS - started)) s"
}

# Fills the folder: what the machine has is linked, the rest is built. One at a time, whoever asks.
fill() {
  local bin=$1 name folder
  flock -n 9 || { note "control-plane: somebody else is building; waiting"; flock 9; }
  local go_checked=false
  for name in "${programs[@]}"; do
    [ ! -x "$bin/$name" ] || continue
    rm -f "$bin/$name"
    for folder in "${KUBEBUILDER_ASSETS:-}" /usr/local/kubebuilder/bin; do
      if [ -n "$folder" ] && usable "$folder/$name"; then
        ln -s "$(realpath "$folder/$name")" "$bin/$name"
        continue 2
      fi
    done
    if ! $go_checked; then
      check_go
      go_checked=true
      note "control-plane: some programs have to be built, once; all six may take ten minutes or more"
    fi
    build "$name" "$bin"
  done
}

ensure() {
  local folder bin
  for folder in "${KUBEBUILDER_ASSETS:-}" /usr/local/kubebuilder/bin; do
    if [ -n "$folder" ] && has_all "$folder"; then realpath "$folder"; return; fi
  done
  bin=$(program_folder)
  if ! has_all "$bin"; then
    mkdir -p "$bin"
    (fill "$bin") 9>"$bin/../lock" || return
  fi
  printf '%s\n' "$bin"
}

# --- what they need -------------------------------------------------------------------------------------------------

make_certificates() {
  local folder=$1 key=(-newkey ec -pkeyopt 'ec_paramgen_curve:P-256' -nodes)
  local names=DNS:localhost,IP:127.0.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:10.0.0.1
  (
    cd "$folder" &&
      openssl req -x509 "${key[@]}" -days 30 -keyout ca-key.pem -out ca.pem -subj "/CN=slipway-test-authority" &&
      openssl req "${key[@]}" -keyout key.pem -out request.pem -subj "/CN=kube-apiserver" &&
      printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$names" >extensions &&
      openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 30 -extfile extensions \
        -out cert.pem &&
      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out service-accounts.pem &&
      openssl pkey -in service-accounts.pem -pubout -out service-accounts.pub
  ) >"$folder/openssl.log" 2>&1 || die "openssl: $(tail -n 3 "$folder/openssl.log")"
}

make_tokens() {
  local folder=$1 user token groups
  mkdir "$folder/tokens"
  for user in "${users[@]}"; do
    token=$(openssl rand -hex 20)
    groups=''
    if [ "$user" = admin ]; then groups=system:masters; fi
    printf '%s' "$token" >"$folder/tokens/$user"
    printf '%s,%s,%s,"%s"\n' "$token" "$user" "$user" "$groups" >>"$folder/tokens.csv"
  done
}

make_kubeconfig() {
  local folder=$1 server=$2 user
  printf 'apiVersion: v1\nkind: Config\ncurrent-context: admin\nclusters:\n- name: test\n  cluster:\n'
  printf '    server: %s\n    certificate-authority-data: %s\nusers:\n' "$server" "$(base64 -w 0 "$folder/ca.pem")"
  for user in "${users[@]}"; do printf -- '- name: %s\n  user: {token: %s}\n' "$user" "$(<"$folder/tokens/$user")"; done
  printf 'contexts:\n'
  for user in "${users[@]}"; do printf -- '- name: %s\n  context: {cluster: test, user: %s}\n' "$user" "$user"; done
}

# What `kubectl logs` shows of every container.
make_container_log() {
  local folder=$1 line
  for line in 'listening on port 8080' 'ready'; do
    printf '%s stdout F %s\n' "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" "$line"
  done >"$folder/container.log"
  cat >"$folder/logs.yaml" <<YAML
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {name: every-container}
spec:
  logs:
  - {logsFile: $folder/container.log, previousLogsFile: $folder/container.log, follow: false}
YAML
}

# command_line FOLDER PROGRAM ARGUMENT...: one word a line, the program first.
command_line() {
  local file=$1/commands/$2; shift 2
  printf '%s\n' "$@" >"$file"
}

# In a shell of its own, since what it writes is for this user only and what the script's caller writes is not.
prepare() (
  [ $# -eq 6 ] || die "usage: control-plane.sh prepare FOLDER PROGRAMS ETCD-PORT PEER-PORT API-PORT KUBELET-PORT"
  local folder bin etcd=http://127.0.0.1:$3 peer=http://127.0.0.1:$4 api_port=$5 kubelet_port=$6 stage
  folder=$(realpath "$1")
  bin=$(realpath "$2")
  umask 077
  mkdir "$folder/commands" "$folder/logs"
  ln -s "$bin" "$folder/programs"
  make_certificates "$folder"
  make_tokens "$folder"
  make_container_log "$folder"
  printf 'https://127.0.0.1:%s' "$api_port" >"$folder/server"
  make_kubeconfig "$folder" "$(<"$folder/server")" >"$folder/kubeconfig"

  # Nothing here has to survive a loss of power.
  command_line "$folder" etcd "$bin/etcd" --name=test --data-dir="$folder/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls="$etcd" --advertise-client-urls="$etcd" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="test=$peer"
  # No endpoints for the service `kubernetes`: they may not be on loopback, and no pod is there to use them.
  command_line "$folder" kube-apiserver "$bin/kube-apiserver" --etcd-servers="$etcd" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$api_port" --endpoint-reconciler-type=none \
    --tls-cert-file="$folder/cert.pem" --tls-private-key-file="$folder/key.pem" --cert-dir="$folder/certificates" \
    --token-auth-file="$folder/tokens.csv" --authorization-mode=RBAC --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$folder/service-accounts.pub" \
    --service-account-signing-key-file="$folder/service-accounts.pem" --service-cluster-ip-range=10.0.0.0/16 \
    --kubelet-preferred-address-types=InternalIP --profiling=false
  # A machine that is too busy to renew the nodes' leases must not evict every pod.
  command_line "$folder" kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$folder/kubeconfig" \
    --secure-port=0 --leader-elect=false --service-account-private-key-file="$folder/service-accounts.pem" \
    --root-ca-file="$folder/ca.pem" --node-monitor-grace-period=10m --kube-api-qps=500 --kube-api-burst=1000
  command_line "$folder" kube-scheduler "$bin/kube-scheduler" --kubeconfig="$folder/kubeconfig" --secure-port=0 \
    --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000
  local configs=(--config="$folder/logs.yaml")
  for stage in "$module"/stages/*.yaml; do configs+=(--config="$stage"); done
  command_line "$folder" kwok "$bin/kwok" --kubeconfig="$folder/kubeconfig" "${configs[@]}" \
    --manage-nodes-with-label-selector=type=simulated --node-ip=127.0.0.1 --node-port="$kubelet_port" \
    --server-address="127.0.0.1:$kubelet_port" --tls-cert-file="$folder/cert.pem" \
    --tls-private-key-file="$folder/key.pem" --cidr=10.64.0.1/16 --node-lease-duration-seconds=40
)

admin_kubectl() {
  local folder=$1; shift
  HOME=$folder "$folder/programs/kubectl" --kubeconfig "$folder/kubeconfig" "$@"
}

settle() {
  local folder=$1
  admin_kubectl "$folder" create --validate=false -f "$module/nodes.yaml" >/dev/null &&
    admin_kubectl "$folder" wait --for=condition=Ready --timeout="${start_seconds_max}s" nodes --all >/dev/null
}

# --- one that this script runs --------------------------------------------------------------------------------------

folder='' keep=false pids=()

# Ports below the range that the kernel gives to outgoing connections; one that takes connections is not free.
free_ports() {
  local count=$1 port taken=' '
  while [ "$count" -gt 0 ]; do
    port=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
    case $taken in *" $port "*) continue ;; esac
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    taken+="$port "
    printf '%s\n' "$port"
    count=$((count - 1))
  done
}

# birth PID: when a process began, in the kernel's ticks: with its id, a name that no later process shares. Nothing for
# one that has ended, even if nobody has asked for its status yet.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# lives PID BIRTH
lives() { [ -n "$2" ] && [ "$(birth "$1")" = "$2" ]; }
dead() { ! lives "$@"; }

launch() {
  local name=$1 words
  mapfile -t words <"$folder/commands/$name"
  # Ctrl-C must reach the command first, so each is in a session of its own. It ends with this script all the same.
  local with=(setsid setpriv --pdeathsig KILL --)
  if $keep; then with=(setsid); fi
  env -i HOME="$folder" PATH="$PATH" "${with[@]}" "${words[@]}" </dev/null >"$folder/logs/$name" 2>&1 &
  pids+=("$!")
  printf '%s %s\n' "$!" "$(birth "$!")" >>"$folder/pids"
  disown "$!"
}

api_answers_or_gone() {
  local pid
  for pid in "${pids[@]}"; do if gone "$pid"; then return 0; fi; done
  api_answers
}

api_answers() {
  [ "$(curl --silent --noproxy '*' --max-time 5 --cacert "$folder/ca.pem" "$(<"$folder/server")/readyz")" = ok ]
}

# start PROGRAMS: starts one in $folder, which may exist; fails when it does not come up.
start() {
  local try
  for try in 1 2 3; do
    rm -rf "$folder"
    mkdir -m 700 "$folder"
    if try_start "$1"; then return 0; fi
    end_all "$folder"
    # Another process may have taken a port in between.
    note "control-plane: try $try did not come up"
  done
  return 1
}

try_start() {
  local bin=$1 ports name
  pids=()
  mapfile -t ports < <(free_ports 4)
  prepare "$folder" "$bin" "${ports[@]}" || return 1
  for name in "${api_programs[@]}"; do launch "$name"; done
  if ! wait_until "$start_seconds_max" api_answers_or_gone || ! api_answers; then
    note "control-plane: the API does not come up: $(tail -q -n 5 "$folder"/logs/kube-apiserver "$folder"/logs/etcd)"
    return 1
  fi
  for name in "${other_programs[@]}"; do launch "$name"; done
  settle "$folder"
}

# The data are not wanted any more, so nothing has to be stopped with care. What is not ours any more is left alone.
end_all() {
  local pid began
  [ -e "$1/pids" ] || return 0
  while read -r pid began; do
    if lives "$pid" "$began"; then
      kill -KILL "$pid" 2>/dev/null || true
      wait_until 10 dead "$pid" "$began" || note "control-plane: process $pid does not end"
    fi
  done < <(tac "$1/pids")
}

clean_up() {
  [ -n "$folder" ] || return 0
  end_all "$folder"
  rm -rf "$folder"
}

run() {
  if [ "${1:-}" = -- ]; then shift; fi
  [ $# -gt 0 ] || die "usage: control-plane.sh run -- COMMAND..."
  local bin status=0 skipped='' counter='' started
  if [ -n "${SLIPWAY_NO_TEST_CLUSTER:-}" ]; then
    status=$status_unavailable
  else
    bin=$(ensure) || status=$?
  fi
  unset SLIPWAY_TEST_CLUSTER
  if [ "$status" -eq 0 ]; then
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    folder=$(mktemp -d "${TMPDIR:-/tmp}/slipway-control-plane.XXXXXX")
    started=$(now_ms)
    start "$bin" || die "the control plane could not be started"
    note "control-plane: started in $(($(now_ms) - started)) ms; it ends with this command"
    export SLIPWAY_TEST_CLUSTER=$folder
    exec 3>&2
  elif [ "$status" -eq "$status_unavailable" ]; then
    local why='the programs of the control plane cannot be had, see above'
    export SLIPWAY_NO_TEST_CLUSTER=${SLIPWAY_NO_TEST_CLUSTER:-$why}
    skipped=$(mktemp)
    # Tests that need a control plane say so in a line each on standard error; those are counted.
    exec 3> >(trap '' INT TERM; tee "$skipped" >&2)
    counter=$!
  else
    exit "$status"
  fi
  # The command runs in a process group of its own and gets the signals that reach this script.
  set -m
  "$@" 2>&3 3>&- &
  child=$!
  set +m
  exec 3>&-
  trap 'kill -INT -- -"$child" 2>/dev/null || true' INT
  trap 'kill -TERM -- -"$child" 2>/dev/null || true' TERM HUP
  while :; do
    wait "$child" && status=0 || status=$?
    gone "$child" && break
  done
  if [ -n "$skipped" ]; then
    wait "$counter" || true
    note "control-plane: $(grep -c '^SKIP cluster:' "$skipped" || true) tests were skipped for want of a control plane"
    rm -f "$skipped"
  fi
  exit "$status"
}

running() {
  local pid began
  [ -e "$1/pids" ] || return 1
  while read -r pid began; do lives "$pid" "$began" || return 1; done <"$1/pids"
}

up() {
  local place bin
  place=$(cache_root)/up
  if running "$place"; then
    say "control-plane: runs already"
  else
    bin=$(ensure)
    end_all "$place"
    folder=$place keep=true
    trap clean_up EXIT
    start "$bin" || die "the control plane could not be started"
    trap - EXIT
  fi
  say "A control plane answers at $(<"$place/server"); its nodes and pods are simulated."
  say "  export KUBECONFIG=$place/kubeconfig"
  say "  $place/programs/kubectl get nodes"
  say "What its images do is said in integration-tests/control-plane/README.md. To end it: make cluster-down"
}

down() {
  local place; place=$(cache_root)/up
  if [ ! -e "$place" ]; then say "control-plane: none runs"; return; fi
  end_all "$place"
  rm -rf "$place"
  say "control-plane: ended"
}

main() {
  local command=${1:-}
  [ $# -eq 0 ] || shift
  case $command in
    ensure) ensure ;;
    run) run "$@" ;;
    fetch) fetch ;;
  up) up ;;
    down) down ;;
    prepare) prepare "$@" ;;
    settle) settle "$@" ;;
    *) die "usage: control-plane.sh ensure | fetch | run -- COMMAND... | up | down" ;;
  esac
}

# A build takes long enough for somebody to edit this file meanwhile; nothing after this line is read.
main "$@"
exit
