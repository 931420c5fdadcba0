//! Names, labels and annotations that users, dashboards and scripts rely on.

use std::collections::BTreeMap;

/// The finalizer of groups and instances.
pub const FINALIZER: &str = "core.pingcap.com/tiproxy-operator";
/// The finalizer of TiDB Operator v2; a group that carries it belongs to that operator.
pub const TIDB_OPERATOR_FINALIZER: &str = "pingcap.com/finalizer";
/// Who manages an object.
pub const LABEL_MANAGED_BY: &str = "pingcap.com/managed-by";
/// The value of [`LABEL_MANAGED_BY`] on everything that this operator makes.
pub const MANAGED_BY: &str = "tiproxy-operator";
/// The value of [`LABEL_MANAGED_BY`] on what TiDB Operator v2 makes.
pub const MANAGED_BY_TIDB_OPERATOR: &str = "tidb-operator";
/// The name under which the API server records what the group controller writes.
pub const MANAGER_GROUP: &str = "tiproxygroup-controller";
/// The name under which the API server records what the instance controller writes.
pub const MANAGER_INSTANCE: &str = "tiproxy-controller";
/// The Cluster's name.
pub const LABEL_CLUSTER: &str = "pingcap.com/cluster";
/// The component; see [`COMPONENT`].
pub const LABEL_COMPONENT: &str = "pingcap.com/component";
/// The value of [`LABEL_COMPONENT`].
pub const COMPONENT: &str = "tiproxy";
/// The value of [`LABEL_COMPONENT`] on PD's Services.
pub const COMPONENT_PD: &str = "pd";
/// The value of [`LABEL_COMPONENT`] on TiDB's Pods.
pub const COMPONENT_TIDB: &str = "tidb";
/// The group's name.
pub const LABEL_GROUP: &str = "pingcap.com/group";
/// The TiProxy's name.
pub const LABEL_INSTANCE: &str = "pingcap.com/instance";
/// The revision that an object was made from.
pub const LABEL_REVISION: &str = "pingcap.com/instance-revision-hash";
/// On a `PersistentVolumeClaim`: the volume's name in the spec.
pub const LABEL_VOLUME: &str = "pingcap.com/volume-name";
/// Marks Pods that take new clients. Only the client Service, `status.selector` and the disruption budget select it.
pub const LABEL_SERVING: &str = "core.pingcap.com/serving";
/// A template annotation whose change restarts.
pub const ANNOTATION_RESTARTED_AT: &str = "pingcap.com/restartedAt";
/// On a TiProxy: the smaller, the sooner it leaves.
pub const ANNOTATION_PRIORITY: &str = "core.pingcap.com/priority";
/// On TiProxies, Pods and Services: which labels and annotations a user gave, so that they can be taken back.
pub const ANNOTATION_TEMPLATE_KEYS: &str = "core.pingcap.com/template-keys";
/// On a `PersistentVolumeClaim`: the topology, as JSON, of the TiProxy that it was created for. Whoever uses it again has to
/// be placed there.
pub const ANNOTATION_TOPOLOGY: &str = "core.pingcap.com/topology";
/// Seconds of drain in TiDB Operator v2's spelling.
pub const ANNOTATION_DRAIN_SECONDS: &str = "core.pingcap.com/tiproxy-graceful-shutdown-delete-delay-seconds";
/// On a Pod that leaves: since when, as in RFC 3339. It is written together with the loss of [`LABEL_SERVING`].
pub const ANNOTATION_DRAIN_BEGIN: &str = "core.pingcap.com/tiproxy-graceful-shutdown-begin-time";
/// On a `ConfigMap` that was changed while its Pod ran: the hash of the configuration. Its Pod is given the same, since
/// the kubelet looks at the files of a Pod that changes at once, and at those of others after a minute or two.
pub const ANNOTATION_CONFIG_HASH: &str = "core.pingcap.com/config-hash";
/// On a `ConfigMap`: what the node of its Pod said of the place, as JSON.
pub const ANNOTATION_NODE_LABELS: &str = "core.pingcap.com/node-labels";
/// Prefixes of labels and annotations that belong to the operator.
pub const RESERVED_PREFIXES: [&str; 2] = ["pingcap.com/", "core.pingcap.com/"];
/// The port of PD.
pub const PD_PORT: i32 = 2379;
/// The name of the SQL port in Pods and Services.
pub const PORT_SQL: &str = "mysql-client";
/// The name of the API port in Pods and Services.
pub const PORT_API: &str = "api";
/// The name of the container that runs TiProxy.
pub const CONTAINER: &str = "tiproxy";

/// The client Service, which is also the stem of Pod names.
#[must_use]
pub fn client_service(group: &str) -> String {
    format!("{group}-tiproxy")
}

/// The headless Service that gives Pods their DNS names.
#[must_use]
pub fn peer_service(group: &str) -> String {
    format!("{group}-tiproxy-peer")
}

/// The `PodDisruptionBudget`.
#[must_use]
pub fn disruption_budget(group: &str) -> String {
    format!("{group}-tiproxy")
}

/// The `NetworkPolicy`.
#[must_use]
pub fn network_policy(group: &str) -> String {
    format!("{group}-tiproxy")
}

/// The TiProxy of an ordinal.
#[must_use]
pub fn instance(group: &str, ordinal: u32) -> String {
    format!("{group}-{ordinal}")
}

/// The ordinal in the name of a group's TiProxy; `None` for a name that we would not give.
#[must_use]
pub fn ordinal(group: &str, instance: &str) -> Option<u32> {
    let digits = instance.strip_prefix(group)?.strip_prefix('-')?;
    let ordinal = digits.parse().ok()?;
    (self::instance(group, ordinal) == instance).then_some(ordinal)
}

/// The Pod, and the `ConfigMap`, of a TiProxy: `<group>-tiproxy-<suffix>`.
///
/// A TiProxy whose name does not begin with its group's (adopted, or made by hand) keeps its whole name as suffix.
#[must_use]
pub fn pod(group: &str, instance: &str) -> String {
    let suffix = instance
        .strip_prefix(group)
        .and_then(|rest| rest.strip_prefix('-'))
        .unwrap_or(instance);
    format!("{group}-tiproxy-{suffix}")
}

/// The `PersistentVolumeClaim` of a volume.
#[must_use]
pub fn volume_claim(volume: &str, pod: &str) -> String {
    format!("{volume}-{pod}")
}

/// The Secret names used when the spec names none.
#[must_use]
pub fn default_secret(group: &str, purpose: SecretPurpose) -> String {
    let purpose = match purpose {
        SecretPurpose::Server => "server",
        SecretPurpose::Cluster => "cluster",
        SecretPurpose::Backend => "tidb",
    };
    format!("{group}-tiproxy-{purpose}-secret")
}

/// What a Secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPurpose {
    /// The SQL port.
    Server,
    /// PD, TiDB's status port and the HTTP API.
    Cluster,
    /// TiDB's SQL port.
    Backend,
}

/// The labels that select everything of a group, whatever its state.
#[must_use]
pub fn group_selector(cluster: &str, group: &str) -> BTreeMap<String, String> {
    [
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_COMPONENT, COMPONENT),
        (LABEL_CLUSTER, cluster),
        (LABEL_GROUP, group),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels that select the group's Pods that take new clients.
#[must_use]
pub fn serving_selector(cluster: &str, group: &str) -> BTreeMap<String, String> {
    let mut selector = group_selector(cluster, group);
    selector.insert(LABEL_SERVING.to_owned(), "true".to_owned());
    selector
}

/// The labels of every object of a group.
#[must_use]
pub fn group_labels(cluster: &str, group: &str) -> BTreeMap<String, String> {
    let mut labels = group_selector(cluster, group);
    for (key, value) in [
        ("app.kubernetes.io/name", COMPONENT),
        ("app.kubernetes.io/instance", group),
        ("app.kubernetes.io/component", "proxy"),
        ("app.kubernetes.io/part-of", cluster),
        ("app.kubernetes.io/managed-by", MANAGED_BY),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// A label selector as text, as the scale subresource takes it.
#[must_use]
pub fn selector_text(selector: &BTreeMap<String, String>) -> String {
    selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_from_our_names_only() {
        assert_eq!(ordinal("web", "web-0"), Some(0));
        assert_eq!(ordinal("web", "web-12"), Some(12));
        for foreign in [
            "web",
            "web-",
            "web-01",
            "web-x1",
            "other-1",
            "web-+1",
            "web--1",
            "web-99999999999",
        ] {
            assert_eq!(ordinal("web", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn pods_are_named_as_tidb_operator_names_them() {
        assert_eq!(pod("web", "web-3"), "web-tiproxy-3");
        assert_eq!(pod("web", "web-a1b2c3"), "web-tiproxy-a1b2c3");
        assert_eq!(pod("web", "stray"), "web-tiproxy-stray");
    }

    #[test]
    fn the_serving_label_is_in_one_selector_only() {
        assert!(!group_labels("basic", "web").contains_key(LABEL_SERVING));
        assert!(!group_selector("basic", "web").contains_key(LABEL_SERVING));
        assert_eq!(
            selector_text(&serving_selector("basic", "web")),
            "core.pingcap.com/serving=true,pingcap.com/cluster=basic,pingcap.com/component=tiproxy,\
             pingcap.com/group=web,pingcap.com/managed-by=tiproxy-operator"
        );
    }
}
