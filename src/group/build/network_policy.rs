//! The `NetworkPolicy` of a group: who may connect to its Pods.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::name;
use crate::group::validate::Group;
use crate::operator_pods::OperatorPods;

/// The label of the namespace's own name, which the API server sets.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const APP_NAME: &str = "app.kubernetes.io/name";

/// The `NetworkPolicy`: the SQL port is open to everybody, since who may log in is TiDB's decision; the API port, which
/// asks for no password, only to those that need it. The kubelet is among them without a rule: a node always reaches
/// its own Pods, and no selector could name it.
///
/// `operator` are this operator's own Pods; absent when it runs elsewhere.
#[must_use]
pub fn network_policy(group: &Group, operator: Option<&OperatorPods>) -> NetworkPolicy {
    let of_cluster = |component: &str| {
        let labels = [
            (name::LABEL_CLUSTER, group.cluster.as_str()),
            (name::LABEL_COMPONENT, component),
        ];
        NetworkPolicyPeer {
            pod_selector: Some(selector(labels)),
            ..NetworkPolicyPeer::default()
        }
    };
    let prometheus = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(selector([(APP_NAME, "prometheus")])),
        ip_block: None,
    };
    let operator = operator.map(|operator| NetworkPolicyPeer {
        namespace_selector: Some(selector([(NAMESPACE_NAME, operator.namespace.as_str())])),
        pod_selector: Some(LabelSelector {
            match_labels: Some(operator.labels.clone()),
            match_expressions: None,
        }),
        ip_block: None,
    });
    let of_api = [
        of_cluster(name::COMPONENT),
        of_cluster(name::COMPONENT_TIDB),
        prometheus,
    ];
    NetworkPolicy {
        metadata: super::metadata(group, name::network_policy(&group.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(name::group_selector(&group.cluster, &group.name)),
                match_expressions: None,
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(name::PORT_SQL, None),
                rule(name::PORT_API, Some(of_api.into_iter().chain(operator).collect())),
            ]),
            egress: None,
        }),
    }
}

fn rule(port: &str, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        ports: Some(vec![NetworkPolicyPort {
            // By name, so that Pods of two templates may use different numbers.
            port: Some(IntOrString::String(port.to_owned())),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }]),
        from,
    }
}

fn selector<const N: usize>(labels: [(&str, &str); N]) -> LabelSelector {
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    LabelSelector {
        match_labels: Some(BTreeMap::from(labels)),
        match_expressions: None,
    }
}

/// The `NetworkPolicy` as it should be, if it is not.
#[must_use]
pub fn replacement(found: &NetworkPolicy, desired: &NetworkPolicy) -> Option<NetworkPolicy> {
    let mut policy = found.clone();
    super::keep_labels(&mut policy.metadata, &desired.metadata);
    policy.spec.clone_from(&desired.spec);
    (policy != *found).then_some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::testing::group;
    use serde_json::json;

    fn operator() -> OperatorPods {
        OperatorPods {
            namespace: "operators".to_owned(),
            labels: [(APP_NAME.to_owned(), "tiproxy-operator".to_owned())].into(),
        }
    }

    #[test]
    fn clients_come_from_anywhere_and_to_the_api_only_who_needs_it() {
        let policy = network_policy(&group(&json!({})), Some(&operator()));
        let policy = serde_json::to_value(policy).unwrap();
        assert_eq!(policy["metadata"]["name"], "web-tiproxy");
        let api = |from| json!({"ports": [{"port": "api", "protocol": "TCP"}], "from": from});
        assert_eq!(
            policy["spec"],
            json!({
                "podSelector": {"matchLabels": {
                    "pingcap.com/cluster": "basic", "pingcap.com/component": "tiproxy", "pingcap.com/group": "web",
                    "pingcap.com/managed-by": "tiproxy-operator",
                }},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": [{"port": "mysql-client", "protocol": "TCP"}]},
                    api(json!([
                        {"podSelector": {"matchLabels":
                            {"pingcap.com/cluster": "basic", "pingcap.com/component": "tiproxy"}}},
                        {"podSelector": {"matchLabels":
                            {"pingcap.com/cluster": "basic", "pingcap.com/component": "tidb"}}},
                        {"namespaceSelector": {}, "podSelector": {"matchLabels": {APP_NAME: "prometheus"}}},
                        {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "operators"}},
                            "podSelector": {"matchLabels": {APP_NAME: "tiproxy-operator"}}},
                    ])),
                ],
            })
        );
    }

    #[test]
    fn an_operator_outside_of_the_cluster_cannot_be_named() {
        let policy = network_policy(&group(&json!({})), None);
        let rules = policy.spec.unwrap().ingress.unwrap();
        let peers: Vec<_> = rules
            .iter()
            .map(|rule| rule.from.as_ref().map(Vec::len))
            .collect();
        assert_eq!(peers, [None, Some(3)]);
    }

    #[test]
    fn what_somebody_changed_is_put_right() {
        let desired = network_policy(&group(&json!({})), None);
        assert_eq!(replacement(&desired, &desired), None);
        let mut found = desired.clone();
        found.spec.as_mut().unwrap().ingress = None;
        assert_eq!(replacement(&found, &desired), Some(desired));
    }
}
