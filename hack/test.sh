#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Checks everything: format, lints, dependencies, generated files, scripts, unit, property and integration tests.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=lib/localkube.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/localkube.sh"
# shellcheck source=lib/target-cluster.sh
source "$root/hack/lib/target-cluster.sh"
# shellcheck source=lib/tools.sh
source "$root/hack/lib/tools.sh"

usage() {
  cat <<'END'
Usage: hack/test.sh [--fast] [--use-current-context]

  --fast                 leave out the tests that need an API server
  --use-current-context  run those against the cluster that kubectl points at instead of a local one, in namespaces
                         of their own; tests that need the API server's audit log, or more than a namespace,
                         are left out
END
}

fast='' current_context=''
while (($#)); do
  case $1 in
    --fast) fast=yes ;;
    --use-current-context) current_context=yes ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

cd "$root"
step() { printf '\n== %s (after %s s)\n' "$*" "$SECONDS"; }

# Long, and needed last: it is built while the rest runs on the other core.
cluster_build=''
if [[ -z $fast && -z $current_context ]]; then
  mkdir -p target
  (build_localkube) >target/localkube-build.log 2>&1 &
  cluster_build=$!
fi
# shellcheck disable=SC2064 # The process of now is meant.
trap "[[ -z '$cluster_build' ]] || kill $cluster_build 2>/dev/null || true" EXIT

step "Tools"
install_shellcheck
install_mysql_client
install_cargo_deny

step "Format"
cargo fmt --all --check

step "Scripts"
git ls-files '*.sh' .ci | xargs shellcheck --external-sources

step "Lints"
cargo clippy --locked --workspace --all-targets -- --deny warnings

step "Dependencies"
cargo fetch --locked --quiet # It reads the sources of all platforms.
"$cargo_deny" --offline --locked check bans licenses sources

step "Generated files"
generated=target/generated
rm -rf "$generated"
cargo run --quiet --locked -- crd --directory "$generated"
diff --recursive config/crd "$generated" || {
  echo "error: config/crd is not what the code generates; run ./hack/generate.sh" >&2
  exit 1
}

step "Documentation of the code"
RUSTDOCFLAGS='--deny warnings' cargo doc --locked --workspace --no-deps --quiet

# What a failed test says is above its backtrace, and is what is needed.
export RUST_BACKTRACE=0

step "Unit and property tests"
INSTA_UPDATE=no cargo test --locked --workspace --no-fail-fast
[[ -z $fast ]] || exit 0

step "Integration tests against a real API server"
if [[ -n $cluster_build ]]; then
  wait "$cluster_build" || { cat target/localkube-build.log >&2 && exit 1; }
fi
trap cluster_leave EXIT
cluster_join "$current_context" test
export TIPROXY_OPERATOR_TEST_KUBECONFIG=$KUBECONFIG
export TIPROXY_OPERATOR_TEST_OPERATOR_KUBECONFIG=$cluster_operator_kubeconfig
export TIPROXY_OPERATOR_TEST_KUBECTL=$cluster_kubectl
skip=()
if [[ -n $cluster_audit_log ]]; then
  export TIPROXY_OPERATOR_TEST_AUDIT_LOG=$cluster_audit_log
else
  skip=(--skip budget --skip crash --skip behaviour::definition --skip follows_the_load)
fi
cargo test --locked --workspace --test cluster -- --include-ignored --skip clients:: --skip budget:: "${skip[@]}"

# What takes longer on a busy machine is told by more writes of a status.
step "What clients see and what is written, with nothing beside it"
cargo test --locked --workspace --test cluster -- --include-ignored --test-threads 1 "${skip[@]}" clients:: budget::
