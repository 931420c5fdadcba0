#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Shows the operator at work: a TiProxyGroup is created, scaled, changed and deleted on a real API server.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=lib/localkube.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/localkube.sh"
# shellcheck source=lib/target-cluster.sh
source "$root/hack/lib/target-cluster.sh"

usage() {
  cat <<'END'
Usage: hack/demo.sh [--keep] [--use-current-context]

  --keep                 leave everything running at the end and say how to use it
  --use-current-context  use the cluster that kubectl points at instead of a local one; its nodes must be able to run
                         the image of config/samples/rfc.yaml, and a TiDB must be there for TiProxy to become ready
END
}

keep='' current_context=''
while (($#)); do
  case $1 in
    --keep) keep=yes ;;
    --use-current-context) current_context=yes ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

namespace=tiproxy-demo-$$
operator_pid=''

step() { printf '\n== %s\n' "$*"; }

show() { kubectl get tpg,tp,pods; }

clean_up() {
  local code=$?
  if [[ -n $keep && $code -eq 0 ]]; then
    how_to_use
    return
  fi
  ((code == 0)) || {
    echo "demo: FAILED" >&2
    kubectl get tpg,tp,pods,events >&2 || true
    [[ ! -s $log ]] || { echo "the last lines of the operator's log, $log:" && tail -n 20 "$log"; } >&2
  }
  # The operator goes last: without it, what has its finalizer would stay.
  cluster_leave
  stop_operator
  ((code != 0)) || report
}

report() {
  printf '\n%s s of it building\n' "$((building + cluster_building))"
  echo "demo: ok in $((SECONDS - started)) s"
}

stop_operator() {
  [[ -n $operator_pid ]] || return 0
  kill "$operator_pid" 2>/dev/null || true
  wait "$operator_pid" 2>/dev/null || true
  operator_pid=''
}

how_to_use() {
  trap - EXIT
  cat <<END

The operator and the cluster are still running. Use them:
  export KUBECONFIG=$KUBECONFIG
  kubectl --namespace $namespace get tpg,tp,pods
  kubectl --namespace $namespace apply --filename config/samples/rfc.yaml
Stop them:
  kill $operator_pid; $(cluster_stop_command)
END
  report
}

# expect WHAT EXPRESSION VALUE: waits until the group shows the value at the JSON path.
expect() {
  kubectl wait tpg/tiproxy --for="jsonpath=$2=$3" --timeout=60s >/dev/null || {
    echo "demo: $1 did not come true within 60 s" >&2
    return 1
  }
  echo "$1: yes"
}

started=$SECONDS
step "Build the operator"
require_tool cargo "see https://rustup.rs"
(cd "$root" && cargo build --locked)
building=$((SECONDS - started))
log=$root/target/demo/operator.log
mkdir -p "${log%/*}"

step "A Kubernetes API server"
trap clean_up EXIT
cluster_join "$current_context" demo "$namespace"
kubectl() { "$cluster_kubectl" --namespace "$namespace" "$@"; }

step "The operator, a Cluster named basic and a Service of PD"
# Only what this demo made is looked at, also on a cluster of the user's.
KUBECONFIG=$cluster_operator_kubeconfig "$root/target/debug/tiproxy-operator" run \
  --watch-namespace "$namespace" --bind-address 127.0.0.1:0 >"$log" 2>&1 &
operator_pid=$!
kubectl apply --filename "$root/config/samples/cluster.yaml"

step "The RFC's manifest: 3 TiProxies"
kubectl apply --filename "$root/config/samples/rfc.yaml"
kubectl wait tpg/tiproxy --for=condition=Ready --timeout=60s
expect "3 TiProxies are available" '{.status.availableReplicas}' 3
show

step "kubectl scale tiproxygroup tiproxy --replicas=5"
kubectl scale tiproxygroup tiproxy --replicas=5
kubectl wait tpg/tiproxy --for=condition=Ready --timeout=60s
expect "5 TiProxies are available" '{.status.availableReplicas}' 5
show

step "kubectl scale tiproxygroup tiproxy --replicas=1: the clients of the others are given time to leave"
kubectl scale tiproxygroup tiproxy --replicas=1
kubectl wait tpg/tiproxy --for=condition=Ready --timeout=60s
expect "1 TiProxy stays" '{.status.replicas}' 1
expect "4 TiProxies are leaving" '{.status.drainingReplicas}' 4
show

step "A shorter time ends what goes on: spec.template.spec.drain.timeoutSeconds is 5 now"
kubectl patch tpg tiproxy --type merge --patch '{"spec":{"template":{"spec":{"drain":{"timeoutSeconds":5}}}}}'
kubectl wait tpg/tiproxy --for=jsonpath='{.status.drainingReplicas}'=0 --timeout=60s
show

step "Another version: one more TiProxy comes before the old one goes"
kubectl patch tpg tiproxy --type merge --patch '{"spec":{"template":{"spec":{"version":"v1.3.1"}}}}'
kubectl wait tpg/tiproxy --for=condition=Ready --timeout=60s
expect "the group runs v1.3.1" '{.status.version}' v1.3.1
image=$(kubectl get pods --selector pingcap.com/group=tiproxy --output 'jsonpath={.items[*].spec.containers[0].image}')
[[ $image == *:v1.3.1 && $image != *' '* ]] || { echo "demo: the Pods run $image" >&2 && exit 1; }
show

if [[ -z $keep ]]; then
  step "kubectl delete tiproxygroup tiproxy"
  kubectl delete tiproxygroup tiproxy --timeout=60s
  show
  left=$(kubectl get tpg,tp,pods --output name)
  [[ -z $left ]] || { echo "demo: left behind: $left" >&2 && exit 1; }
fi
