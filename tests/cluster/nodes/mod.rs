//! Trouble with nodes: Pods that end without being asked, and Pods that do not end. Never are there two Pods of one
//! TiProxy.

mod dead;
mod ended;
mod gone;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::harness::wait::eventually;
use crate::lifecycle::scenario::{PATIENCE, Scenario};

/// Waits until a TiProxy has another Pod than this one, which is not ending; its UID.
async fn another(scenario: &Scenario<'_>, name: &str, uid: &str) -> String {
    eventually(PATIENCE, &format!("there is another Pod {name}"), async || {
        let pod = scenario.test.api::<Pod>().get_opt(name).await;
        let pod = pod.expect("the API answers").ok_or("there is none")?;
        let found = pod.uid().expect("a stored object has one");
        if found != uid && pod.metadata.deletion_timestamp.is_none() {
            Ok(found)
        } else {
            Err(format!("{:?}", pod.metadata))
        }
    })
    .await
}
