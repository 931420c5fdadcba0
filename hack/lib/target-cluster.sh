# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its variables are for the scripts that source it, and $root comes from localkube.sh.
# The cluster that a script works on: a local one of its own, or the user's, which is left as it was found.
# Sourced after localkube.sh by scripts with `set -e`; sets $cluster_kubectl, $cluster_operator_kubeconfig,
# $cluster_audit_log (local only) and KUBECONFIG.

cluster_name='' cluster_made='' cluster_kubectl='' cluster_operator_kubeconfig='' cluster_audit_log='' cluster_building=0

# cluster_join CURRENT_CONTEXT NAME NAMESPACE: with CURRENT_CONTEXT the user's cluster, else a local one called NAME;
# installs the definitions and creates NAMESPACE, if one is given.
cluster_join() {
  cluster_name=$2
  if [[ -n $1 ]]; then join_current_context; else start_local_cluster; fi
  export KUBECONFIG
  install_definitions
  [[ -z ${3-} ]] || make namespace "$3"
}

start_local_cluster() {
  local before=$SECONDS variables
  (build_localkube) # In a shell of its own, since it may replace the EXIT trap.
  cluster_building=$((SECONDS - before))
  "$root/hack/local-cluster.sh" up --name "$cluster_name"
  variables=$("$root/hack/local-cluster.sh" env --name "$cluster_name")
  local AUDIT_LOG OPERATOR_KUBECONFIG KUBECTL
  eval "$variables"
  cluster_kubectl=$KUBECTL cluster_operator_kubeconfig=$OPERATOR_KUBECONFIG
  cluster_audit_log=$AUDIT_LOG
}

join_current_context() {
  require_tool kubectl "see https://kubernetes.io/docs/tasks/tools"
  cluster_kubectl=$(command -v kubectl)
  echo "using the current context, $(kubectl config current-context)"
  local copy=$root/target/current-context/kubeconfig
  mkdir -p "${copy%/*}"
  # A copy, so that a context switched meanwhile changes nothing here.
  (umask 077 && kubectl config view --raw --minify --flatten >"$copy")
  KUBECONFIG=$copy cluster_operator_kubeconfig=$copy
  cluster_name=''
}

install_definitions() {
  local file kind_name
  for file in "$root"/config/crd/*.yaml "$root"/config/crd/optional/*.yaml; do
    kind_name=$(basename "$file" .yaml)
    kind_name=${kind_name#*_}.core.pingcap.com
    if [[ -z $cluster_name ]] && "$cluster_kubectl" get crd "$kind_name" >/dev/null 2>&1; then
      echo "the definition $kind_name is there and is used as it is"
      continue
    fi
    "$cluster_kubectl" apply --server-side --filename "$file"
    cluster_made+="crd/$kind_name "
    wait_for_definition "$kind_name"
  done
  if [[ -n $cluster_name ]]; then
    "$cluster_kubectl" apply --server-side --filename "$root/config/rbac/role.yaml"
    "$cluster_kubectl" create clusterrolebinding tiproxy-operator-local --clusterrole tiproxy-operator \
      --user tiproxy-operator --dry-run=client --output yaml | "$cluster_kubectl" apply --filename - >/dev/null
  fi
}

# A definition without any condition yet makes `kubectl wait` fail at once instead of waiting.
wait_for_definition() {
  local attempt
  for ((attempt = 0; attempt < 20; attempt++)); do
    ! "$cluster_kubectl" wait --for=condition=Established --timeout=30s "crd/$1" >/dev/null 2>&1 || return 0
    sleep 0.2
  done
  echo "error: the definition $1 is not established" >&2
  return 1
}

make() {
  "$cluster_kubectl" create "$1" "$2"
  cluster_made="$1/$2 $cluster_made"
}

# cluster_leave: stops the local cluster, or takes from the user's what was put there. An operator must be running
# still, or have no TiProxyGroup left to care for.
cluster_leave() {
  local object
  if [[ -n $cluster_name ]]; then
    "$root/hack/local-cluster.sh" down --name "$cluster_name"
    return
  fi
  for object in $cluster_made; do
    "$cluster_kubectl" delete "$object" --timeout=120s || true
  done
}

# cluster_stop_command: what a user types to get the same.
cluster_stop_command() {
  if [[ -n $cluster_name ]]; then
    echo "hack/local-cluster.sh down --name $cluster_name"
  else
    echo "kubectl delete $cluster_made"
  fi
}
