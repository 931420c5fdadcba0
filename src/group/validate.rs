//! From a `TiProxyGroup` as stored to one that can be carried out: nothing is optional after this step.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::drain::resolved_drain;
use super::plan::{Limits, LimitsError, Share};
use crate::api::group::{DEFAULT_MIN_READY_SECONDS, SchedulePolicyType, TiProxyGroupSpec};
use crate::api::name::ANNOTATION_RESTARTED_AT;
use crate::api::service::ServiceOptions;
use crate::api::template::TiProxyTemplateSpec;
use crate::api::{Discovery, TiProxyGroup, TiProxySpec, name};
use crate::instance::volume::{self, InvalidVolume};
use crate::problem::sentences;
use crate::proxy_config::{self, Diagnosis, UserConfig};
use crate::template_metadata::TemplateMetadata;

/// A group that can be carried out.
#[derive(Clone, Debug)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The TiDB cluster's name.
    pub cluster: String,
    /// How many TiProxies to run.
    pub replicas: u32,
    /// How far a rollout may go above and below `replicas`.
    pub limits: Limits,
    /// How long a TiProxy must be Ready to count as available.
    pub min_ready: Duration,
    /// How long a rollout may make no progress before it is called stalled.
    pub progress_deadline: Duration,
    /// Whether rollouts stop.
    pub paused: bool,
    /// Where TiProxies go, by weight; empty when the scheduler chooses.
    pub topologies: Vec<Share>,
    /// How clients reach the group.
    pub service: ServiceOptions,
    /// Whether a `PodDisruptionBudget` limits evictions.
    pub has_disruption_budget: bool,
    /// Whether a `NetworkPolicy` says who may connect.
    pub has_network_policy: bool,
    /// The user's configuration.
    pub config: UserConfig,
    /// Labels and annotations for TiProxies and Pods.
    pub template_metadata: TemplateMetadata,
    /// What each TiProxy is to run, but for what discovery finds.
    spec: TiProxySpec,
}

impl Group {
    /// What each TiProxy is to run.
    #[must_use]
    pub fn instance_spec(&self, discovery: &Discovery) -> TiProxySpec {
        TiProxySpec {
            discovery: Some(discovery.clone()),
            ..self.spec.clone()
        }
    }

    /// The SQL port and the API port.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        (self.spec.template.sql_port(), self.spec.template.api_port())
    }
}

/// Why a group cannot be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The configuration cannot be carried out.
    #[error("spec.template.spec.config: {}", sentences(.0))]
    Config(Vec<Diagnosis>),
    /// A volume cannot be carried out.
    #[error(transparent)]
    Volume(#[from] InvalidVolume),
    /// `maxSurge` or `maxUnavailable` cannot be read.
    #[error("spec.{0}")]
    Limits(#[from] LimitsError),
}

/// Validates a group.
pub fn validate(group: &TiProxyGroup) -> Result<Group, Invalid> {
    let spec = &group.spec;
    let replicas = u32::try_from(spec.replicas).unwrap_or_default();
    let one = IntOrString::Int(1);
    let none = IntOrString::Int(0);
    let limits = Limits::resolve(
        spec.max_surge.as_ref().unwrap_or(&one),
        spec.max_unavailable.as_ref().unwrap_or(&none),
        replicas,
    )?;
    let template = &spec.template;
    let config =
        proxy_config::parse(template.spec.config.as_deref().unwrap_or_default()).map_err(Invalid::Config)?;
    volume::volumes(&template.spec, "")?;
    let name = group.name_any();
    let annotations = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.annotations.as_ref());
    Ok(Group {
        namespace: group.namespace().unwrap_or_default(),
        uid: group.uid().unwrap_or_default(),
        cluster: spec.cluster.name.clone(),
        replicas,
        limits,
        min_ready: min_ready(group),
        progress_deadline: progress_deadline(group),
        paused: spec.paused.unwrap_or(false),
        topologies: topologies(spec),
        service: spec.service.clone().unwrap_or_default(),
        has_disruption_budget: spec
            .pod_disruption_budget
            .as_ref()
            .and_then(|budget| budget.enabled)
            .unwrap_or(true),
        has_network_policy: spec
            .network_policy
            .as_ref()
            .and_then(|policy| policy.enabled)
            .unwrap_or(false),
        config,
        template_metadata: TemplateMetadata::of_template(template),
        spec: TiProxySpec {
            cluster: spec.cluster.clone(),
            features: spec.features.clone(),
            subdomain: name::peer_service(&name),
            restarted_at: annotations
                .and_then(|annotations| annotations.get(ANNOTATION_RESTARTED_AT).cloned()),
            replicas: Some(1),
            volume_retention: spec.volume_retention,
            template: TiProxyTemplateSpec {
                drain: resolved_drain(template),
                ..template.spec.clone()
            },
            ..TiProxySpec::default()
        },
        name,
    })
}

fn topologies(spec: &TiProxyGroupSpec) -> Vec<Share> {
    let spreads = spec
        .schedule_policies
        .iter()
        .flatten()
        .filter_map(|policy| match policy.policy_type {
            SchedulePolicyType::EvenlySpread => policy.evenly_spread.as_ref(),
        });
    spreads
        .flat_map(|spread| &spread.topologies)
        .map(|weighted| Share {
            topology: weighted.topology.clone(),
            weight: weighted
                .weight
                .and_then(|weight| u32::try_from(weight).ok())
                .map_or(1, |weight| weight.max(1)),
        })
        .collect()
}

/// How long a TiProxy of this group must be Ready to count as available.
#[must_use]
pub fn min_ready(group: &TiProxyGroup) -> Duration {
    let seconds = group.spec.min_ready_seconds.unwrap_or(DEFAULT_MIN_READY_SECONDS);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// How long a rollout may make no progress: longer than a TiProxy needs to become available.
fn progress_deadline(group: &TiProxyGroup) -> Duration {
    const USUAL: Duration = Duration::from_mins(10);
    let seconds = group.spec.progress_deadline_seconds;
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) => Duration::from_secs(seconds),
        None => USUAL.max(min_ready(group).saturating_mul(2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::testing::{discovery, group, object};
    use serde_json::json;

    #[test]
    fn what_the_spec_leaves_out_has_its_default() {
        let group = group(&json!({}));
        assert_eq!((group.replicas, group.limits), (3, Limits::new(1, 0)));
        assert_eq!((group.min_ready, group.paused), (Duration::from_secs(10), false));
        assert_eq!(group.ports(), (6000, 3080));
        assert_eq!(group.service, ServiceOptions::default());
        let spec = group.instance_spec(&discovery());
        assert_eq!(spec.subdomain, "web-tiproxy-peer");
        assert_eq!((spec.replicas, spec.offline), (Some(1), None));
        assert_eq!(spec.discovery, Some(discovery()));
    }

    #[test]
    fn what_it_says_is_taken() {
        let group = group(&json!({
            "replicas": 10, "maxSurge": "25%", "maxUnavailable": "25%", "minReadySeconds": 0, "paused": true,
            "template": {"metadata": {"annotations": {"pingcap.com/restartedAt": "now"}}, "spec": {
                "server": {"port": {"sql": 4000}},
            }},
        }));
        assert_eq!(group.limits, Limits::new(3, 2));
        assert_eq!((group.min_ready, group.paused), (Duration::ZERO, true));
        assert_eq!(group.ports(), (4000, 3080));
        assert_eq!(
            group.instance_spec(&discovery()).restarted_at.as_deref(),
            Some("now")
        );
    }

    #[test]
    fn what_cannot_be_carried_out_is_said_with_field_value_and_what_to_do() {
        let message = |spec| validate(&object(&spec)).unwrap_err().to_string();
        assert_eq!(
            message(json!({"maxSurge": "many"})),
            "spec.maxSurge is \"many\": it must be an integer of at least 0 or a percentage such as \"25%\""
        );
        let config = message(json!({"template": {"spec": {"config": "\nlabels={\"group\":\"oltp\"}"}}}));
        assert!(config.starts_with("spec.template.spec.config: "), "{config}");
        for part in ["line 2", "labels = { group = \"oltp\" }"] {
            assert!(config.contains(part), "{config}");
        }
    }
}
