//! What both controllers work with.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};

use crate::api::{Cluster, TiProxy, TiProxyGroup};
use crate::group::pace::Pace;
use crate::instance::failures::Failures;
use crate::report::Reporter;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Clock;
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
    /// Services that lead to PD.
    pub pd_services: Cache<Service>,
    /// Clusters.
    pub clusters: Cache<Cluster>,
    /// The only way to write.
    pub writer: Writer,
    /// Events for users.
    pub reporter: Reporter,
    /// The time.
    pub clock: Clock,
    /// How many Pods in a row have ended, by TiProxy.
    pub failures: Failures,
    /// When the status of each group was written last.
    pub pace: Pace,
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
            ("PersistentVolumeClaim", self.volume_claims.is_warm()),
            ("Service", self.services.is_warm()),
            ("PD Service", self.pd_services.is_warm()),
            ("Cluster", self.clusters.is_warm()),
        ]
        .into_iter()
        .filter_map(|(kind, warm)| (!warm).then_some(kind))
        .collect()
    }
}
