//! Groups with volumes, and looking at their claims.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxy;

use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario, group_with};

/// A volume of this class.
pub(super) fn volume(name: &str, class: &str) -> Value {
    json!({"name": name, "storage": "1Gi", "storageClassName": class, "mounts": [{"mountPath": format!("/{name}")}]})
}

/// A group with these volumes.
pub(super) fn group(replicas: i32, volumes: &Value, fields: Value) -> Value {
    let mut group = group_with(GROUP, replicas, fields);
    group["spec"]["template"]["spec"]["volumes"] = volumes.clone();
    group["spec"]["template"]["spec"]["preStop"] = json!({"sleepSeconds": 0});
    group
}

/// The claims of the group by name.
pub(super) async fn claims(scenario: &Scenario<'_>) -> BTreeMap<String, PersistentVolumeClaim> {
    scenario.of_group(GROUP).await
}

/// The UIDs of the claims that are not going, by name.
pub(super) async fn uids(scenario: &Scenario<'_>) -> BTreeMap<String, String> {
    let claims = claims(scenario).await.into_iter();
    claims
        .filter(|(_, claim)| claim.metadata.deletion_timestamp.is_none())
        .map(|(name, claim)| (name, claim.uid().expect("a stored claim has one")))
        .collect()
}

/// Waits until the group has exactly these claims.
pub(super) async fn claims_are(scenario: &Scenario<'_>, names: &[&str]) {
    eventually(PATIENCE, &format!("the claims are {names:?}"), async || {
        let found: Vec<_> = claims(scenario).await.into_keys().collect();
        expect(found == names, found)
    })
    .await;
}

/// The claims that a Pod mounts.
pub(super) fn mounted(pod: &Pod) -> Vec<&str> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
    volumes
        .unwrap_or_default()
        .iter()
        .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
        .collect()
}

/// The names of the group's TiProxies.
pub(super) async fn instances(scenario: &Scenario<'_>) -> Vec<String> {
    scenario.of_group::<TiProxy>(GROUP).await.into_keys().collect()
}

/// Waits for a condition of a TiProxy at its present generation; its message.
pub(super) async fn condition(
    scenario: &Scenario<'_>,
    name: &str,
    condition: &str,
    status: &str,
    reason: &str,
) -> String {
    let what = format!("{condition} of {name} is {status}: {reason}");
    eventually(PATIENCE, &what, async || {
        let found = scenario.test.api::<TiProxy>().get_opt(name).await;
        let object = found
            .expect("the API answers")
            .ok_or_else(|| "not there yet".to_owned())?;
        let conditions = object.status.clone().unwrap_or_default().conditions;
        let found = conditions.iter().find(|found| {
            found.type_ == condition
                && found.status == status
                && found.reason == reason
                && found.observed_generation == object.metadata.generation
        });
        found
            .map(|found| found.message.clone())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await
}
