//! The part of TiDB Operator's `Cluster` that is read here, and the reference to it.
//!
//! All fields are optional: the kind belongs to TiDB Operator, and what it adds is none of our business.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The TiDB cluster that a group belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReference {
    /// The name of a Cluster in the same namespace; immutable. It is also the value of the label
    /// `pingcap.com/cluster`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Addresses of PD as `host:port`. When they are given no Cluster is needed, and one that exists is ignored.
    /// Default: found through the Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 259)))]
    pub pd_addrs: Option<Vec<String>>,
}

/// A TiDB cluster, as far as TiProxy needs it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.pingcap.com",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    status = "ClusterStatus",
    doc = "A TiDB cluster: where PD is, and whether its members speak TLS.",
    printcolumn(
        name = "PD",
        type_ = "string",
        json_path = ".status.pd",
        description = "The address of PD."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Stops everything but deletion for all groups of the cluster. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend_action: Option<SuspendAction>,
    /// TLS between the members of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cluster: Option<TlsCluster>,
    /// How members are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// A Service of PD, by name, with PD on port 2379. Default: found by labels.
    #[serde(rename = "customizedPDServiceName", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub customized_pd_service_name: Option<String>,
}

/// What is suspended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspendAction {
    /// Whether Pods are taken away while everything else stays. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend_compute: Option<bool>,
}

/// TLS between the members of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsCluster {
    /// Whether it is on. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How members are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// `InCluster` names members without the cluster's domain, `FQDN` with it. Default: `InCluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub mode: Option<String>,
    /// The cluster's domain; used with mode `FQDN`. Default: `cluster.local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cluster_domain: Option<String>,
}

/// What TiDB Operator found out about a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The URL of PD.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub pd: Option<String>,
    /// PD's cluster id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub id: Option<String>,
}
