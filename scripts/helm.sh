#!/usr/bin/env bash
# helm.sh ensure | fetch: `ensure` prints the path of a helm (3.18 or later, or 4): the one $HELM names, the one on the path, or one built
# from the Go module that integration-tests/helm/go.mod pins, which is kept below the build folder.
#
# Exit status 3: none is to be had on this machine, and standard error says why; what needs it is to be skipped, loudly.
# Any other failure is one.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

readonly MODULE=integration-tests/helm
readonly PACKAGE=helm.sh/helm/v4/cmd/helm
readonly UNAVAILABLE=3
# Longest build.
readonly BUILD_MAX_S=300

# unavailable REASON...: says it so that nobody overlooks it.
unavailable() {
  note "SKIPPED: the tests of the chart do not run here; HELM=/path/to/helm names a helm, or Go builds one."
  note "SKIPPED: $*"
  exit "$UNAVAILABLE"
}

# fits PROGRAM: whether it is a helm that knows what the tests use.
fits() {
  local version major minor
  version=$("$1" version --template '{{.Version}}' 2>/dev/null) || return 1
  IFS=. read -r major minor _ <<<"${version#v}"
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] || return 1
  [ "$major" -gt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -ge 18 ]; }
}

# go_here ARGUMENT...: go in the module, with nothing of this machine's settings that could change what is built, and
# without looking for another toolchain.
go_here() { GOWORK=off GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 go -C "$MODULE" "$@"; }

# fingerprint: what the program is built from.
fingerprint() { { go version; cat "$MODULE/go.mod" "$MODULE/go.sum"; } | sha256sum | cut -c1-16; }

# build PROGRAM: builds it in one step, so that nobody finds half of it.
build() {
  local new
  new=$(mktemp -d "${1%/*}/.new.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$new'" EXIT
  note "helm: building $PACKAGE once; this takes some minutes"
  go_here list -deps "$PACKAGE" 2>"$new/log" >/dev/null ||
    unavailable "the Go modules cannot be had: $(tail -n 1 "$new/log")"
  local status=0
  GOWORK=off GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 timeout "$BUILD_MAX_S" \
    go -C "$MODULE" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$new/helm" "$PACKAGE" >"$new/log" 2>&1 ||
    status=$?
  [ "$status" -ne 124 ] || unavailable "helm was not built within $BUILD_MAX_S s; the next time goes on from there"
  [ "$status" -eq 0 ] || die "helm cannot be built: $(tail -n 5 "$new/log")"
  fits "$new/helm" || die "the helm that was built does not say its version"
  mv "$new/helm" "$1"
}

ensure() {
  local program
  if [ -n "${HELM:-}" ]; then
    fits "$HELM" || die "HELM=$HELM is no helm, or an older one than 3.18"
    command -v "$HELM"
    return
  fi
  if program=$(command -v helm) && fits "$program"; then
    printf '%s\n' "$program"
    return
  fi
  command -v go >/dev/null 2>&1 || unavailable "there is neither helm nor Go on this machine"
  go_here list -m >/dev/null 2>&1 || unavailable "this Go is older than $MODULE/go.mod asks for: $(go version)"
  local folder
  folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/helm/$(fingerprint)")
  mkdir -p "$folder"
  # Several test programs may ask at once; one builds and the others wait.
  exec 9>"$folder/lock"
  flock 9
  [ -x "$folder/helm" ] || build "$folder/helm"
  printf '%s\n' "$folder/helm"
}

# fetch: gets the modules that a build needs, so that it can be done while something else is built.
fetch() {
  [ -n "${HELM:-}" ] || go_here list -deps "$PACKAGE" >/dev/null 2>&1 || true
}

case ${1:-} in
  ensure) ensure ;;
  fetch) fetch ;;
  *) die "usage: helm.sh ensure | fetch" ;;
esac
