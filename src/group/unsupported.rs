//! Fields that are accepted and have no effect: nothing is ignored silently.

use super::drain;
use crate::api::TiProxyGroup;
use crate::instance::volume;
use crate::template_metadata::is_reserved_label;

/// The fields of a group that have no effect, with what happens instead.
#[must_use]
pub fn fields(group: &TiProxyGroup) -> Vec<String> {
    let template = &group.spec.template.spec;
    let names_pod = template
        .overlay
        .as_ref()
        .and_then(|overlay| overlay.pod.as_ref()?.metadata.as_ref())
        .is_some_and(|metadata| metadata.name.is_some());
    let pod_name = names_pod.then(|| {
        "spec.template.spec.overlay.pod.metadata.name (a Pod is named after its TiProxy)".to_owned()
    });
    pod_name
        .into_iter()
        .chain(volume::without_effect(template))
        .chain(metadata_fields(group))
        .collect()
}

/// Labels that belong to the operator, and a request for a drain that cannot be read.
fn metadata_fields(group: &TiProxyGroup) -> Vec<String> {
    let metadata = group.spec.template.metadata.as_ref();
    let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
    let of_service = group
        .spec
        .service
        .as_ref()
        .and_then(|service| service.labels.as_ref());
    let of_overlay = group
        .spec
        .template
        .spec
        .overlay
        .as_ref()
        .and_then(|overlay| overlay.pod.as_ref()?.metadata.as_ref()?.labels.as_ref());
    let reserved = [
        ("spec.template.metadata.labels", labels),
        ("spec.template.spec.overlay.pod.metadata.labels", of_overlay),
        ("spec.service.labels", of_service),
    ];
    reserved
        .into_iter()
        .flat_map(|(path, labels)| {
            let keys = labels.into_iter().flat_map(|labels| labels.keys());
            keys.filter(|key| is_reserved_label(key)).map(move |key| {
                format!("{path}[{key}] (the label belongs to the operator, which sets it itself)")
            })
        })
        .chain(drain::without_effect(&group.spec.template))
        .collect()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "JSON literals read better without a borrow"
)]
mod tests {
    use super::*;
    use crate::api::name::ANNOTATION_DRAIN_SECONDS;
    use serde_json::{Value, json};

    fn of(spec: Value, template: Value) -> Vec<String> {
        let mut template = template;
        template["version"] = json!("v1.3.2");
        let mut group = json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
            "metadata": {"name": "web"}, "spec": spec});
        group["spec"]["cluster"] = json!({"name": "basic"});
        group["spec"]["replicas"] = json!(1);
        group["spec"]["template"] = json!({"spec": template});
        fields(&serde_json::from_value(group).unwrap())
    }

    #[test]
    fn a_plain_group_has_none() {
        assert_eq!(
            of(
                json!({"schedulePolicies": [], "podDisruptionBudget": {"enabled": true}, "networkPolicy": {"enabled": true}}),
                json!({"volumes": []})
            ),
            Vec::<String>::new()
        );
        let volumes = json!({"volumes": [{"name": "a", "mounts": [], "storage": "1Gi"}], "overlay": {"volumeClaims": [
            {"name": "a", "volumeClaim": {"metadata": {"labels": {"team": "a"}}, "spec": {"accessModes": []}}}]}});
        assert_eq!(
            of(json!({"volumeRetention": "Retain"}), volumes),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_field_is_named_by_its_path() {
        for (spec, template, path) in [
            (
                json!({}),
                json!({"overlay": {"volumeClaims": [{"name": "a", "volumeClaim": {"spec": {"volumeMode": "Block"}}}]}}),
                "spec.template.spec.overlay.volumeClaims[a].volumeClaim.spec.volumeMode",
            ),
            (
                json!({}),
                json!({"overlay": {"pod": {"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"x": 1}}}}),
                "spec.template.spec.overlay.pod.metadata.name",
            ),
            (
                json!({}),
                json!({"overlay": {"pod": {"metadata": {"labels": {"a": "b", "app.kubernetes.io/name": "x"}}}}}),
                "spec.template.spec.overlay.pod.metadata.labels[app.kubernetes.io/name]",
            ),
        ] {
            let found = of(spec, template);
            assert_eq!(found.len(), 1, "{path}: {found:?}");
            assert!(found[0].starts_with(path), "{path}: {found:?}");
        }
    }

    #[test]
    fn labels_of_ours_and_a_drain_that_cannot_be_read_are_named_too() {
        let group: TiProxyGroup = serde_json::from_value(json!({
            "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup", "metadata": {"name": "web"},
            "spec": {"cluster": {"name": "basic"}, "replicas": 1,
                "service": {"labels": {"app.kubernetes.io/name": "mine", "team": "a"}},
                "template": {"spec": {"version": "v1.3.2"}, "metadata": {
                    "labels": {"pingcap.com/group": "other", "team": "a"},
                    "annotations": {ANNOTATION_DRAIN_SECONDS: "60s"}}}},
        }))
        .unwrap();
        let paths: Vec<String> = fields(&group)
            .iter()
            .map(|text| text.split(" (").next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            paths,
            [
                "spec.template.metadata.labels[pingcap.com/group]",
                "spec.service.labels[app.kubernetes.io/name]",
                &format!("spec.template.metadata.annotations[{ANNOTATION_DRAIN_SECONDS}]"),
            ]
        );
    }
}
