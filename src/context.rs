//! What both controllers work with.

use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;

use crate::api::{Cluster, TiProxy, TiProxyGroup};
use crate::group::pace::Pace;
use crate::group::verdict::Verdicts;
use crate::instance::failed_mount::FailedMount;
use crate::instance::failures::Failures;
use crate::metrics::DrainMetrics;
use crate::operator_pods::OperatorPods;
use crate::proxy_api::Proxies;
use crate::report::Reporter;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Clock;
use crate::runtime::notes::Notes;
use crate::runtime::write::Writer;

/// What both controllers work with; every field is a shared handle.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "handles of caches and clients say nothing"
)]
pub struct Context {
    /// All groups.
    pub groups: Cache<TiProxyGroup>,
    /// All TiProxies.
    pub instances: Cache<TiProxy>,
    /// Pods of ours.
    pub pods: Cache<Pod>,
    /// `ConfigMaps` of ours.
    pub config_maps: Cache<ConfigMap>,
    /// `PersistentVolumeClaims` of ours.
    pub volume_claims: Cache<PersistentVolumeClaim>,
    /// Services of ours.
    pub services: Cache<Service>,
    /// `PodDisruptionBudgets` of ours.
    pub disruption_budgets: Cache<PodDisruptionBudget>,
    /// `NetworkPolicies` of ours.
    pub network_policies: Cache<NetworkPolicy>,
    /// Services that lead to PD.
    pub pd_services: Cache<Service>,
    /// What kubelets say of volumes that they cannot mount into Pods of ours.
    pub failed_mounts: Cache<FailedMount>,
    /// Clusters.
    pub clusters: Cache<Cluster>,
    /// Nodes, by what [`forget_the_rest`](crate::instance::location::forget_the_rest) leaves of them. Empty where they
    /// may not be read.
    pub nodes: Cache<PartialObjectMeta<Node>>,
    /// What the running TiProxies said when they were asked last.
    pub proxies: Proxies,
    /// The only way to write; each controller writes under its own name.
    pub writer: Writer,
    /// Where it is counted how Pods left.
    pub drains: DrainMetrics,
    /// Events for users.
    pub reporter: Reporter,
    /// The time.
    pub clock: Clock,
    /// How many Pods in a row have ended, by TiProxy.
    pub failures: Failures,
    /// When the operator deleted a Pod of each TiProxy last: a Pod that is gone does not tell. Without a note, what follows
    /// from the deletion is told a few seconds sooner.
    pub deletions: Notes<Timestamp>,
    /// When the status of each group was written last.
    pub pace: Pace,
    /// The operator's own Pods, when it runs in the cluster.
    pub operator_pods: Option<OperatorPods>,
    /// Whether the API server would take the Pods of a group with an overlay.
    pub verdicts: Verdicts,
}

impl Context {
    /// Whether every cache has been filled once; before that nothing may be concluded from what is missing.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.cold().is_empty()
    }

    /// The kinds whose cache has not been filled yet.
    #[must_use]
    pub fn cold(&self) -> Vec<&'static str> {
        [
            ("TiProxyGroup", self.groups.is_warm()),
            ("TiProxy", self.instances.is_warm()),
            ("Pod", self.pods.is_warm()),
            ("ConfigMap", self.config_maps.is_warm()),
            ("Event", self.failed_mounts.is_warm()),
            ("PersistentVolumeClaim", self.volume_claims.is_warm()),
            ("Service", self.services.is_warm()),
            ("PodDisruptionBudget", self.disruption_budgets.is_warm()),
            ("NetworkPolicy", self.network_policies.is_warm()),
            ("PD Service", self.pd_services.is_warm()),
            ("Cluster", self.clusters.is_warm()),
            ("Node", self.nodes.is_warm()),
        ]
        .into_iter()
        .filter_map(|(kind, warm)| (!warm).then_some(kind))
        .collect()
    }
}
