# shellcheck shell=bash
# Builds the binaries of the local control plane once; sourced by scripts with `set -e`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# require_tool NAME HOW: stops with HOW, the command that installs it, if NAME is missing.
require_tool() {
  if ! command -v "$1" >/dev/null; then
    echo "error: $1 is missing; install it: $2" >&2
    return 1
  fi
}

localkube_source="$root/hack/localkube"
localkube_kubernetes_version=1.34.4

# build_localkube: builds what is missing and sets $localkube_bin to the directory of the binaries.
# It may replace the EXIT trap of the script.
build_localkube() {
  local key
  require_tool flock "apt-get install -y util-linux"
  # Named by all that goes into the binaries, so that a change is a new build.
  key=$(cd "$localkube_source" && { uname -m && cat -- *.go go.mod go.sum kwok/go.mod kwok/go.sum ../lib/localkube.sh; } | sha256sum)
  localkube_bin=$root/target/localkube/bin/${key:0:16}
  mkdir -p "${localkube_bin%/*}"
  exec 8>"${localkube_bin%/*}/lock"
  flock 8 # Two clusters may come up at the same time; the second waits for the build of the first.
  [[ -d $localkube_bin ]] || build_localkube_into "$localkube_bin" >&2
  exec 8>&-
}

build_localkube_into() {
  local bin=$1 unfinished=$1.unfinished component
  local install_go="apt-get install -y golang-go (Debian 13 or newer), or see https://go.dev/doc/install"
  require_tool go "$install_go"
  if ! (cd "$localkube_source" && go list -m >/dev/null); then
    echo "error: this go cannot read hack/localkube/go.mod; install a newer one: $install_go" >&2
    return 1
  fi
  rm -rf "$unfinished"
  mkdir -p "$unfinished"
  go_build etcd+kubernetes "$localkube_source" "$unfinished/localkube" .
  go_build kwok "$localkube_source/kwok" "$unfinished/kwok" sigs.k8s.io/kwok/cmd/kwok
  for component in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    ln -s localkube "$unfinished/$component"
  done
  mv "$unfinished" "$bin" # Only at the end, so that an interrupted build is not taken for a finished one.
}

# go_build TITLE MODULE OUTPUT PACKAGE
go_build() {
  local title=$1 module=$2 output=$3 package=$4 variables='' variable build started=$SECONDS
  # Without its version a component calls itself v0.0.0 and the checks of compatibility misbehave.
  for variable in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    variables+=" -X $variable.gitVersion=v$localkube_kubernetes_version"
    variables+=" -X $variable.gitMajor=1 -X $variable.gitMinor=34"
  done
  echo "building $title (minutes the first time, seconds from Go's cache)"
  (
    cd "$module" || exit
    # Without cgo no C compiler is needed; without workspace and VCS the build depends on the module alone.
    export CGO_ENABLED=0 GOWORK=off
    exec nice -n 5 go build -trimpath -buildvcs=false -ldflags "-s -w$variables" -o "$output" "$package"
  ) 8>&- &
  build=$!
  # shellcheck disable=SC2064 # The process of now is meant.
  trap "kill $build 2>/dev/null || true" EXIT
  while kill -0 "$build" 2>/dev/null; do
    sleep 1
    ((SECONDS % 15)) || echo "building $title: $((SECONDS - started)) s"
  done
  trap - EXIT
  wait "$build" || {
    echo "error: the build of $title failed" >&2
    return 1
  }
  echo "built $title in $((SECONDS - started)) s"
}
