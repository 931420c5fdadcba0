//! The objects that a group has once: Services, `PodDisruptionBudget` and `NetworkPolicy`.

mod budget;
mod policy;
mod service;
mod service_refused;

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tiproxy_operator::api::TiProxyGroup;

use crate::harness::Test;
use crate::harness::group::{NAME, PATIENCE};
use crate::harness::wait::{eventually, expect};

/// The name of the client Service, the budget and the policy.
const OBJECT: &str = "proxy-tiproxy";

/// Waits until an object of this name is as it should be.
async fn becomes<K>(test: &Test, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let found = eventually(PATIENCE, what, async || {
        let found = test
            .api::<K>()
            .get_opt(name)
            .await
            .map_err(|error| error.to_string())?;
        expect(found.as_ref().is_some_and(&holds), found)
    });
    found.await.expect("it was just seen")
}

/// Waits until there is no object of this name.
async fn goes<K>(test: &Test, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    eventually(PATIENCE, &format!("{name} is gone"), async || {
        let found = test
            .api::<K>()
            .get_opt(name)
            .await
            .map_err(|error| error.to_string())?;
        expect(found.is_none(), found)
    })
    .await;
}

/// Waits until a condition of the group's present generation is true; its message.
async fn is_true(test: &Test, condition: &str, reason: &str) -> String {
    let what = format!("{condition} is true because of {reason}");
    eventually(PATIENCE, &what, async || {
        let group = test
            .api::<TiProxyGroup>()
            .get(NAME)
            .await
            .map_err(|error| error.to_string())?;
        let conditions: &[Condition] = group.status.as_ref().map_or(&[], |status| &status.conditions);
        let found = conditions.iter().find(|found| {
            found.type_ == condition
                && found.status == "True"
                && found.reason == reason
                && found.observed_generation == group.meta().generation
        });
        found
            .map(|found| found.message.clone())
            .ok_or_else(|| format!("{} {conditions:?}", group.name_any()))
    })
    .await
}
