#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR disable=SC1091,SC2154 # Clean without -x, too.
# A real Kubernetes control plane with simulated nodes, as ordinary processes of an ordinary user.
set -euo pipefail
shopt -s inherit_errexit
umask 077 # Tokens and keys are for nobody else.

usage() {
  cat <<'END'
Usage: hack/local-cluster.sh COMMAND [--name NAME] [--dir DIR]

  up       start etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok
             --nodes N   simulated nodes, in the zones zone-a, zone-b and zone-c (default 3)
             --crds PATH CustomResourceDefinitions that the garbage collector knows from the start
                         (it takes up to 30 s to notice those that come later)
  down     stop them and drop the cluster's data; the logs stay
  status   say of each process whether it runs; succeeds only when all do
  env      print KUBECONFIG, OPERATOR_KUBECONFIG, AUDIT_LOG, ETCD_ENDPOINT and KUBECTL for eval

  --name NAME  which cluster (default "default"); several can run side by side
  --dir DIR    where it keeps everything (default target/local-cluster/NAME)
END
}

# shellcheck source=lib/localkube.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/localkube.sh"

# In the order of their start.
components=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok)

fail() {
  echo "error: $*" >&2
  exit 1
}

pid_of() { cat "$dir/run/$1.pid" 2>/dev/null; }

# Whether COMPONENT of this cluster runs: a number may by now belong to somebody else's process.
is_running() {
  local pid arguments
  pid=$(pid_of "$1") || return 1
  mapfile -d '' -t arguments 2>/dev/null <"/proc/$pid/cmdline" || return 1
  [[ ${arguments[0]-} == */$1 && ${arguments[*]} == *"$dir/"* ]]
}

all_running() {
  local component
  for component in "${components[@]}"; do
    is_running "$component" || return 1
  done
}

# start COMPONENT ARGUMENT...: detached from the terminal, so that Ctrl-C there does not end it.
start() {
  local component=$1 attempt
  shift
  (
    cd "$dir"
    export HOME=$dir # kwok reads a configuration there that is not ours.
    exec setsid "$bin/$component" "$@" </dev/null >"$dir/logs/$component.log" 2>&1 9>&-
  ) &
  echo "$!" >"$dir/run/$component.pid"
  for ((attempt = 0; attempt < 100; attempt++)); do
    ! is_running "$component" || return 0
    sleep 0.02
  done
  fail_with_log "$component"
}

fail_with_log() {
  tail -n 20 "$dir/logs/$1.log" | cut -c -400 >&2 || true
  fail "$1 does not run; the whole log is $dir/logs/$1.log"
}

# Waits until the command succeeds; gives up when a component that was started is gone.
wait_until() {
  local what=$1 deadline=$((SECONDS + 60)) component
  shift
  until "$@" >"$dir/logs/wait.log" 2>&1; do
    for component in "${components[@]}"; do
      [[ ! -e $dir/run/$component.pid ]] || is_running "$component" || fail_with_log "$component"
    done
    if ((SECONDS >= deadline)); then
      cat "$dir/logs/wait.log" >&2
      fail "$what did not come true within 60 s; the logs are in $dir/logs"
    fi
    sleep 0.1
  done
}

# kubectl as the cluster's administrator, in the version of the cluster.
administrate() {
  HOME=$dir "$bin/kubectl" --kubeconfig "$dir/kubeconfig" "$@"
}

# A process that is dead but not yet reaped by its parent has ended too.
has_ended() {
  local state
  state=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  [[ $state == *') Z '* ]]
}

# stop COMPONENT: returns when it has ended, so that its port and files are free.
stop() {
  local pid signal attempt
  is_running "$1" || return 0
  pid=$(pid_of "$1")
  for signal in TERM KILL; do
    kill "-$signal" "$pid" 2>/dev/null || true
    for ((attempt = 0; attempt < 500; attempt++)); do
      ! has_ended "$pid" || return 0
      sleep 0.02
    done
  done
  fail "$1, process $pid, does not end"
}

stop_all() {
  local index
  # Against the order of their start: without etcd the API server does not end by itself.
  for ((index = ${#components[@]} - 1; index >= 0; index--)); do
    stop "${components[index]}"
  done
  rm -rf -- "$dir/run" "$dir/etcd" "$dir/pki" "$dir/.kube" "$dir/flexvolume" "$dir"/kubeconfig*
}

# Takes the directory for this command alone; the lock ends with the script.
lock() {
  require_tool flock "apt-get install -y util-linux"
  exec 9>"$dir/.local-cluster"
  flock -w 120 9 || fail "another local-cluster.sh is busy with $dir"
}

node() {
  local number=$1 zones=(a b c)
  local zone=${zones[(number - 1) % 3]}
  cat <<END
---
apiVersion: v1
kind: Node
metadata:
  name: node-$number
  annotations:
    kwok.x-k8s.io/node: fake
  labels:
    kubernetes.io/hostname: node-$number
    kubernetes.io/os: linux
    topology.kubernetes.io/region: region
    topology.kubernetes.io/zone: zone-$zone
status:
  addresses:
    - {type: InternalIP, address: 10.0.$((number / 250)).$((number % 250 + 1))}
    - {type: Hostname, address: node-$number}
  allocatable: &plenty {cpu: "64", memory: 256Gi, ephemeral-storage: 1Ti, pods: "1000"}
  capacity: *plenty
END
}

create_nodes() {
  local number
  ((nodes)) || return 0
  for ((number = 1; number <= nodes; number++)); do
    node "$number"
  done | administrate create -f - >/dev/null
}

nodes_are_ready() {
  local states
  # Until the taint is gone, no Pod is scheduled on the node.
  states=$(administrate get nodes --no-headers -o custom-columns='READY:.status.conditions[?(@.type=="Ready")].status,TAINTS:.spec.taints[*].key')
  [[ $(grep -cE '^True +<none>' <<<"$states") -eq $nodes ]]
}

# Pods have loopback addresses: the operator's questions to TiProxy stay on this machine, and a test can answer them.
# Each cluster has a range of its own, 127.64 to 127.127.
pod_cidr() {
  local number
  number=$(cksum <<<"$dir")
  echo "127.$((64 + ${number%% *} % 64)).0.1/16"
}

start_control_plane() {
  local ports
  mapfile -t ports < <("$bin/localkube" ports 3)
  "$bin/localkube" credentials "$dir" "${ports[2]}"
  echo "http://127.0.0.1:${ports[0]}" >"$dir/run/etcd-endpoint"

  # Nothing here outlives `down`, so nothing waits for the disk.
  start etcd --name local --data-dir "$dir/etcd" --unsafe-no-fsync --snapshot-count 10000 \
    --log-level warn \
    --listen-client-urls "http://127.0.0.1:${ports[0]}" --advertise-client-urls "http://127.0.0.1:${ports[0]}" \
    --listen-peer-urls "http://127.0.0.1:${ports[1]}" --initial-advertise-peer-urls "http://127.0.0.1:${ports[1]}" \
    --initial-cluster "local=http://127.0.0.1:${ports[1]}"

  # Blocking: when a request is answered, it is in the audit log, so tests can count.
  start kube-apiserver --etcd-servers "http://127.0.0.1:${ports[0]}" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "${ports[2]}" \
    --tls-cert-file "$dir/pki/apiserver.crt" --tls-private-key-file "$dir/pki/apiserver.key" \
    --token-auth-file "$dir/pki/tokens.csv" --authorization-mode Node,RBAC \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$dir/pki/service-account.key" \
    --service-account-signing-key-file "$dir/pki/service-account.key" \
    --service-cluster-ip-range 10.96.0.0/16 --endpoint-reconciler-type none \
    --audit-policy-file "$root/hack/localkube/audit-policy.yaml" \
    --audit-log-path "$dir/audit.log" --audit-log-mode blocking --audit-log-maxsize 2000
  wait_until "the API server's readiness" administrate get --raw /readyz
  [[ -z $crds ]] || administrate create -f "$crds" >/dev/null

  # Without service account credentials the controllers are forbidden their work. On a starved machine
  # kwok is late with its heartbeats; the long grace period keeps that from making Pods unready. Autoscalers look
  # often, and believe a Pod at once.
  start kube-controller-manager --kubeconfig "$dir/pki/kubeconfig-kube-controller-manager" \
    --use-service-account-credentials=true --leader-elect=false --secure-port 0 \
    --service-account-private-key-file "$dir/pki/service-account.key" --root-ca-file "$dir/pki/ca.crt" \
    --kube-api-qps 1000 --kube-api-burst 2000 --concurrent-gc-syncs 50 \
    --node-monitor-grace-period 1h \
    --horizontal-pod-autoscaler-sync-period 2s --horizontal-pod-autoscaler-initial-readiness-delay 1s \
    --horizontal-pod-autoscaler-cpu-initialization-period 1s \
    --flex-volume-plugin-dir "$dir/flexvolume" # Created at start; its default is outside of our directory.
  start kube-scheduler --kubeconfig "$dir/pki/kubeconfig-kube-scheduler" --leader-elect=false --secure-port 0 \
    --kube-api-qps 1000 --kube-api-burst 2000
  # A node without the annotation is left to a kubelet of a test's own.
  start kwok --kubeconfig "$dir/pki/kubeconfig-kwok" --manage-all-nodes=false \
    --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake --cidr "$(pod_cidr)" \
    --config "$root/hack/localkube/pod-stages.yaml"
  create_nodes
  wait_until "the nodes' readiness" nodes_are_ready
  wait_until "the default service account" administrate get --namespace default serviceaccount default
}

command_up() {
  require_tool setsid "apt-get install -y util-linux"
  build_localkube
  bin=$localkube_bin
  if [[ -d $dir && ! -e $dir/.local-cluster && -n $(ls -A "$dir") ]]; then
    fail "$dir is not empty and not the directory of a local cluster"
  fi
  mkdir -p "$dir"
  lock
  if [[ -e $dir/run/ready ]] && all_running; then
    echo "the cluster is already running" >&2
  else
    stop_all # What a crash or an interruption has left.
    rm -rf -- "$dir/logs" "$dir"/audit*.log
    mkdir -p "$dir/run" "$dir/logs"
    ln -s "$bin" "$dir/run/bin"
    local started=$SECONDS # Without the build.
    trap stop_all EXIT
    start_control_plane
    touch "$dir/run/ready"
    trap - EXIT
    echo "the cluster is up after $((SECONDS - started)) s" >&2
  fi
  echo "kubeconfig: $dir/kubeconfig"
}

command_down() {
  if [[ ! -e $dir/.local-cluster ]]; then
    echo "there is no cluster in $dir" >&2
    return
  fi
  lock
  stop_all
  echo "the cluster is down; its logs are in $dir/logs" >&2
}

command_status() {
  local component state=0
  for component in "${components[@]}"; do
    if is_running "$component"; then
      printf '%-24s running, process %s\n' "$component" "$(pid_of "$component")"
    else
      printf '%-24s not running\n' "$component"
      state=1
    fi
  done
  return "$state"
}

command_env() {
  [[ -e $dir/run/ready ]] || fail "no cluster is up in $dir; start it: hack/local-cluster.sh up"
  printf '%s=%q\n' \
    KUBECONFIG "$dir/kubeconfig" \
    OPERATOR_KUBECONFIG "$dir/kubeconfig-operator" \
    AUDIT_LOG "$dir/audit.log" \
    ETCD_ENDPOINT "$(<"$dir/run/etcd-endpoint")" \
    KUBECTL "$(command -v kubectl || echo "$dir/run/bin/kubectl")"
}

command=${1-}
[[ $# -eq 0 ]] || shift
name=default dir='' nodes=3 crds=''
while (($#)); do
  [[ $1 != --* || $# -gt 1 ]] || fail "$1 needs a value"
  case $1 in
    --name) name=$2 ;;
    --dir) dir=$2 ;;
    --nodes) nodes=$2 ;;
    --crds) crds=$(realpath -e -- "$2") ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift 2
done
[[ $name =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ ]] || fail "a name is lower-case letters, digits and dashes, not \"$name\""
[[ $nodes =~ ^[0-9]{1,4}$ ]] || fail "--nodes is a number, not \"$nodes\""
dir=$(realpath -m -- "${dir:-$root/target/local-cluster/$name}")

case $command in
  up | down | status | env) "command_$command" ;;
  help | -h | --help) usage ;;
  *) usage >&2 && exit 2 ;;
esac
