//! On which nodes a Pod may run, and how it stays away from its siblings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, PodSpec, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::validate::Instance;
use crate::api::name;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What the scheduler is asked for. Only the topology is a demand; the rest may go unfulfilled.
pub(super) fn placement(instance: &Instance, spec: &mut PodSpec) {
    spec.node_selector.clone_from(&instance.spec.topology);
    if spec.node_selector.is_some() {
        spec.topology_spread_constraints = Some(vec![softly_over(HOST, instance)]);
    } else {
        spec.topology_spread_constraints =
            Some(vec![softly_over(HOST, instance), softly_over(ZONE, instance)]);
        // A node that lacks one of the labels is left out of both constraints: without zones, this remains.
        spec.affinity = Some(away_from_siblings(instance));
    }
}

fn softly_over(topology_key: &str, instance: &Instance) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(siblings(instance)),
        ..TopologySpreadConstraint::default()
    }
}

fn away_from_siblings(instance: &Instance) -> Affinity {
    let term = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: PodAffinityTerm {
            topology_key: HOST.to_owned(),
            label_selector: Some(siblings(instance)),
            ..PodAffinityTerm::default()
        },
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// The group's Pods of the same revision: those of an older one leave, and must not push the new ones together. The
/// revision is written out, which `matchLabelKeys` would do too, where that feature is on.
fn siblings(instance: &Instance) -> LabelSelector {
    let mut labels: BTreeMap<String, String> = name::group_selector(&instance.cluster, &instance.group);
    labels.insert(name::LABEL_REVISION.to_owned(), instance.revision.clone());
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}
