//! The kind `TiProxyGroup`.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printed column has the same attributes"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::ClusterReference;
use super::service::ServiceOptions;
use super::template::TiProxyTemplate;

/// Seconds that an instance must be Ready before it counts as available, when the spec names none.
pub const DEFAULT_MIN_READY_SECONDS: i64 = 10;
/// Seconds without progress after which a rollout is reported as stalled, when the spec names none.
pub const DEFAULT_PROGRESS_DEADLINE_SECONDS: i32 = 600;

/// A group of equal TiProxies in front of one TiDB cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.pingcap.com",
    version = "v1alpha1",
    kind = "TiProxyGroup",
    plural = "tiproxygroups",
    singular = "tiproxygroup",
    shortname = "tpg",
    category = "group",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    status = "TiProxyGroupStatus",
    doc = "A group of equal TiProxies, the MySQL proxies of TiDB, in front of one TiDB cluster.",
    selectable = ".spec.cluster.name",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster.name",
        description = "The TiDB cluster that the group belongs to."
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "How many TiProxies are asked for."
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "How many TiProxies are Ready."
    ),
    printcolumn(
        name = "Updated",
        type_ = "integer",
        json_path = ".status.updatedReplicas",
        description = "How many TiProxies follow the current template."
    ),
    printcolumn(
        name = "Draining",
        type_ = "integer",
        json_path = ".status.drainingReplicas",
        description = "How many TiProxies are leaving."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "The reason of the condition Ready."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TiProxyGroupSpec {
    /// The TiDB cluster that the group belongs to.
    pub cluster: ClusterReference,
    /// Accepted for manifests of TiDB Operator, which writes it; without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub features: Option<Vec<String>>,
    /// How many TiProxies to run.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// Stops rollouts and reloads; scaling, healing and deletion go on. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Seconds that a TiProxy must be Ready before it counts as available. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub min_ready_seconds: Option<i64>,
    /// Seconds without progress after which a rollout is reported as stalled; time spent draining does not count.
    /// Must be more than `minReadySeconds`. Default: 600, or twice `minReadySeconds` when that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub progress_deadline_seconds: Option<i32>,
    /// How many TiProxies, or percent of `replicas` (rounded up), a rollout may add. With 0 a TiProxy is replaced
    /// in place, under its name and with its volumes. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
    /// How many TiProxies, or percent of `replicas` (rounded down), may be unavailable during a rollout. When this
    /// and `maxSurge` both come to 0, 1 is used. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Where TiProxies are placed. Default: softly spread over nodes and zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub schedule_policies: Option<Vec<SchedulePolicy>>,
    /// How clients reach the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceOptions>,
    /// The `PodDisruptionBudget` of the group: at most one TiProxy is evicted at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<PodDisruptionBudgetOptions>,
    /// The `NetworkPolicy` of the group; it admits SQL clients, the kubelet, the operator, Prometheus, TiDB and
    /// the other TiProxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicyOptions>,
    /// What becomes of the volumes of a TiProxy that goes. Default: `Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_retention: Option<VolumeRetention>,
    /// What every TiProxy of the group is made from.
    pub template: TiProxyTemplate,
}

/// One rule of placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulePolicy {
    /// The kind of rule.
    #[serde(rename = "type")]
    pub policy_type: SchedulePolicyType,
    /// The parameters of `EvenlySpread`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evenly_spread: Option<EvenlySpread>,
}

/// The kind of a rule of placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchedulePolicyType {
    /// TiProxies are spread over topologies by weight.
    EvenlySpread,
}

/// TiProxies are spread over topologies by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvenlySpread {
    /// The topologies.
    #[schemars(length(min = 1, max = 32))]
    pub topologies: Vec<WeightedTopology>,
}

/// A topology and its weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedTopology {
    /// Labels of the nodes that make up the topology.
    pub topology: BTreeMap<String, String>,
    /// The share of TiProxies that the topology gets. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
}

/// The `PodDisruptionBudget` of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodDisruptionBudgetOptions {
    /// Whether there is one. Default: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The `NetworkPolicy` of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicyOptions {
    /// Whether there is one. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What becomes of the volumes of a TiProxy that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumeRetention {
    /// They are deleted.
    Delete,
    /// They are kept, and used again by the next TiProxy of the same ordinal.
    Retain,
}

impl TiProxyGroup {
    /// The conditions of its status; none before it has one.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| status.conditions.as_slice())
    }
}

/// What the operator found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TiProxyGroupStatus {
    /// What is true of the group: `Ready`, `Available`, `Reconciling`, `Stalled`, and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status speaks of; -1 until the operator has seen the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The label selector of the group's serving Pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The version that every TiProxy runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The revision that every TiProxy followed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The revision of the present template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<String>,
    /// TiProxies that are neither leaving nor being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// TiProxies that are Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// TiProxies that follow `currentRevision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<i32>,
    /// TiProxies that follow `updateRevision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<i32>,
    /// TiProxies that were Ready for `minReadySeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_replicas: Option<i32>,
    /// TiProxies that are leaving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining_replicas: Option<i32>,
    /// The `metadata.generation` of the Cluster that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_cluster_generation: Option<i64>,
    /// Accepted for compatibility with TiDB Operator; not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
}
