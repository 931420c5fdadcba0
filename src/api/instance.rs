//! The kind `TiProxy`.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printed column has the same attributes"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::ClusterReference;
use super::group::VolumeRetention;
use super::template::TiProxyTemplateSpec;

/// One TiProxy of a group: one Pod, its `ConfigMap` and its volumes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.pingcap.com",
    version = "v1alpha1",
    kind = "TiProxy",
    plural = "tiproxies",
    singular = "tiproxy",
    shortname = "tp",
    category = "instance",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    status = "TiProxyStatus",
    doc = "One TiProxy of a TiProxyGroup, which writes it. Change the group, not this object.",
    selectable = ".spec.cluster.name",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster.name",
        description = "The TiDB cluster that the TiProxy belongs to."
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".spec.version",
        description = "TiProxy's version."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the TiProxy serves clients."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "The reason of the condition Ready."
    ),
    printcolumn(
        name = "Offline",
        type_ = "boolean",
        json_path = ".spec.offline",
        description = "Whether the TiProxy is leaving.",
        priority = 1
    ),
    printcolumn(
        name = "Connections",
        type_ = "integer",
        json_path = ".status.connections",
        description = "How many clients are connected, as of at most 30 seconds ago.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TiProxySpec {
    /// The TiDB cluster that the TiProxy belongs to, as in the group.
    pub cluster: ClusterReference,
    /// What the group controller found out about the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// Copied from the group; without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub features: Option<Vec<String>>,
    /// Labels that the Pod's node must have; set at creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<BTreeMap<String, String>>,
    /// The headless Service that gives the Pod its DNS name; immutable.
    #[schemars(length(min = 1, max = 63))]
    pub subdomain: String,
    /// Whether the TiProxy is leaving: it takes no new clients and goes when the present ones have left.
    /// Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline: Option<bool>,
    /// Always 1. It exists so that a `PodDisruptionBudget` can count TiProxies through the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub replicas: Option<i32>,
    /// Copied from the annotation `pingcap.com/restartedAt` of the group's template; a new value restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub restarted_at: Option<String>,
    /// What becomes of the volumes when the TiProxy goes, as in the group. Default: `Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_retention: Option<VolumeRetention>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub template: TiProxyTemplateSpec,
}

/// What the group controller found out about the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// Addresses of PD as `host:port`.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub pd_addrs: Vec<String>,
    /// Whether PD and TiDB speak TLS to TiProxy. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The domain of the Kubernetes cluster, when members are named with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cluster_domain: Option<String>,
}

impl TiProxy {
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
pub struct TiProxyStatus {
    /// What is true of the TiProxy: `Ready`, `Reconciling`, `Stalled`, and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status speaks of; -1 until the operator has seen the TiProxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// 1 while the TiProxy has a Pod that is not leaving, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The revision that the running Pod was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The revision that the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<String>,
    /// How many clients are connected, as of at most 30 seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// How far the TiProxy has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// The `metadata.generation` of the Cluster that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_cluster_generation: Option<i64>,
    /// Accepted for compatibility with TiDB Operator; not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
}

/// How far a TiProxy has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin_time: Option<Time>,
    /// When the TiProxy goes whoever is still connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// How many clients are still connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_connections: Option<i64>,
    /// What is being waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
