//! What every test of the lifecycle needs: an operator, a recorded history, groups, and the verdict at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::invariants::{Delete, delete_violations, is_only_counted, unrest, violations};
use crate::harness::Test;
use crate::harness::audit::Audit;
use crate::harness::history::{Entry, History};
use crate::harness::operator::Operator;
use crate::harness::wait::{eventually, expect};

/// Long enough for a starved machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// How long nothing may be written before a group counts as being at rest.
const SILENCE: Duration = Duration::from_secs(3);

/// The name of the group in most tests.
pub(crate) const GROUP: &str = "web";

/// A namespace with an operator in which everything is recorded.
pub(crate) struct Scenario<'a> {
    pub(crate) test: &'a Test,
    history: History,
    audit: Option<Audit>,
    /// The UIDs of what the test itself deleted.
    outside: Mutex<BTreeSet<String>>,
    /// What the operator is started with.
    arguments: &'static [&'static str],
    operator: tokio::sync::Mutex<Operator>,
}

impl<'a> Scenario<'a> {
    pub(crate) async fn start(test: &'a Test) -> Self {
        Self::start_with(test, &[]).await
    }

    /// As [`Self::start`], with more arguments for the operator.
    pub(crate) async fn start_with(test: &'a Test, arguments: &'static [&'static str]) -> Self {
        Self {
            test,
            history: test.record_history().await,
            audit: test.audit_if_recorded(),
            outside: Mutex::default(),
            arguments,
            operator: tokio::sync::Mutex::new(test.start_operator_with(arguments).await),
        }
    }

    /// Stops the operator as Kubernetes does, or kills it, and starts it again.
    pub(crate) async fn restart_operator(&self, kill: bool) {
        let mut operator = self.operator.lock().await;
        if kill {
            operator.kill();
        } else {
            operator.stop().await;
        }
        *operator = self.test.start_operator_with(self.arguments).await;
    }

    /// The sum of a metric of the operator.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self
            .operator
            .lock()
            .await
            .get("/metrics")
            .expect("the operator answers");
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let values = page.lines().filter(of_name).map(|line| {
            let value = line.rsplit(' ').next().and_then(|value| value.parse().ok());
            value.unwrap_or(0.0)
        });
        values.sum()
    }

    /// The object, which must be there.
    pub(crate) async fn get<K>(&self, name: &str) -> K
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let found = self.test.api::<K>().get(name).await;
        found.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The objects of a kind with the label `pingcap.com/group`, by name.
    pub(crate) async fn of_group<K>(&self, group: &str) -> BTreeMap<String, K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let labels = ListParams::default().labels(&format!("pingcap.com/group={group}"));
        let list = self
            .test
            .api::<K>()
            .list(&labels)
            .await
            .expect("objects can be listed");
        list.into_iter()
            .map(|object| (object.name_any(), object))
            .collect()
    }

    /// The UIDs of the group's Pods, by name.
    pub(crate) async fn pod_uids(&self, group: &str) -> BTreeMap<String, String> {
        let pods = self.of_group::<Pod>(group).await;
        let uid = |pod: &Pod| pod.uid().expect("a stored object has one");
        pods.iter().map(|(name, pod)| (name.clone(), uid(pod))).collect()
    }

    /// Merges into the spec of a group.
    pub(crate) async fn change(&self, group: &str, spec: Value) {
        self.test
            .api::<TiProxyGroup>()
            .patch(
                group,
                &PatchParams::default(),
                &Patch::Merge(json!({ "spec": spec })),
            )
            .await
            .unwrap_or_else(|error| panic!("{group} cannot be changed to {spec}: {error}"));
    }

    /// Merges into the template's spec of a group.
    pub(crate) async fn change_template(&self, group: &str, spec: Value) {
        self.change(group, json!({"template": {"spec": spec}})).await;
    }

    /// Deletes as a user does; not held against the operator.
    pub(crate) async fn delete<K>(&self, name: &str, propagation: PropagationPolicy)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let uid = self.get::<K>(name).await.uid().expect("a stored object has one");
        self.outside
            .lock()
            .expect("nobody panicked with the lock")
            .insert(uid);
        let parameters = DeleteParams {
            propagation_policy: Some(propagation),
            ..DeleteParams::default()
        };
        let deleted = self.test.api::<K>().delete(name, &parameters).await;
        deleted.unwrap_or_else(|error| panic!("{name} cannot be deleted: {error}"));
    }

    /// What was deleted since is not held against the operator.
    pub(crate) fn excuse(&self, uid: &str) {
        let mut outside = self.outside.lock().expect("nobody panicked with the lock");
        outside.insert(uid.to_owned());
    }

    /// As [`Self::delete`], for a Pod that may go by itself in the meantime.
    pub(crate) async fn delete_if_there<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let found = self.test.api::<K>().get_opt(name).await.expect("the API answers");
        let Some(uid) = found.and_then(|object| object.uid()) else {
            return;
        };
        self.outside
            .lock()
            .expect("nobody panicked with the lock")
            .insert(uid.clone());
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        // It may be gone, or another one.
        let _ = self.test.api::<K>().delete(name, &parameters).await;
    }

    /// Waits until the group is Ready for its present generation, with exact counters and nobody leaving.
    pub(crate) async fn ready(&self, group: &str) -> TiProxyGroup {
        let what = format!("{group} is Ready");
        let first = eventually(PATIENCE, &what, async || {
            let object = self.get::<TiProxyGroup>(group).await;
            expect(is_current(&object, "Ready", "True"), object.status)
        })
        .await
        .expect("a Ready group has a status");
        let replicas = Some(self.get::<TiProxyGroup>(group).await.spec.replicas);
        let counters = [
            first.replicas,
            first.ready_replicas,
            first.updated_replicas,
            first.available_replicas,
            first.current_replicas,
        ];
        assert_eq!(counters, [replicas; 5], "{first:?}");
        assert_eq!(first.current_revision, first.update_revision);
        let what = format!("nobody of {group} leaves any more");
        eventually(PATIENCE, &what, async || {
            let object = self.get::<TiProxyGroup>(group).await;
            let status = object.status.clone().unwrap_or_default();
            let instances = self.of_group::<TiProxy>(group).await.len();
            let pods = self.of_group::<Pod>(group).await.len();
            let all = usize::try_from(object.spec.replicas).ok();
            let settled = status.draining_replicas == Some(0) && is_current(&object, "Ready", "True");
            let seen = (settled, Some(instances), Some(pods));
            expect(seen == (true, all, all), seen).map(|_| object)
        })
        .await
    }

    /// Waits until a condition of the group has this status and reason; its message.
    pub(crate) async fn condition(&self, group: &str, condition: &str, status: &str, reason: &str) -> String {
        eventually(
            PATIENCE,
            &format!("{condition} of {group} is {status}: {reason}"),
            async || {
                let object = self.get::<TiProxyGroup>(group).await;
                let found = find(&object, condition).filter(|found| {
                    found.status == status
                        && found.reason == reason
                        && found.observed_generation == object.metadata.generation
                });
                found
                    .map(|found| found.message.clone())
                    .ok_or_else(|| format!("{:?}", object.status))
            },
        )
        .await
    }

    /// Waits until no object of a kind carries the group's label.
    pub(crate) async fn gone<K>(&self, group: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        eventually(PATIENCE, &format!("what {group} had is gone"), async || {
            let left: Vec<_> = self.of_group::<K>(group).await.into_keys().collect();
            expect(left.is_empty(), left)
        })
        .await;
    }

    /// Waits until the group is gone.
    pub(crate) async fn group_gone(&self, group: &str) {
        eventually(PATIENCE, &format!("{group} is gone"), async || {
            let found = self
                .test
                .api::<TiProxyGroup>()
                .get_opt(group)
                .await
                .expect("the API answers");
            expect(found.is_none(), found)
        })
        .await;
    }

    /// Waits until the group and all that it had are gone.
    pub(crate) async fn all_gone(&self, group: &str) {
        self.group_gone(group).await;
        self.gone::<TiProxy>(group).await;
        self.gone::<Pod>(group).await;
        self.gone::<ConfigMap>(group).await;
        self.gone::<Service>(group).await;
        self.gone::<PodDisruptionBudget>(group).await;
        self.gone::<NetworkPolicy>(group).await;
    }

    /// What happened so far.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        self.history.entries().await
    }

    /// Waits until a second passes without a change: after a disturbance the group may be Ready because nobody has
    /// noticed yet. It never comes where something is written again and again.
    pub(crate) async fn calm(&self) {
        let mut last = 0;
        eventually(PATIENCE, "a second passes without a change", async || {
            let entries = self.entries().await;
            let changes = entries.iter().filter(|entry| !is_only_counted(entry)).count();
            let before = std::mem::replace(&mut last, changes);
            if before == last {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(format!("{last} changes"))
        })
        .await;
    }

    /// (f): nothing is written for a while.
    pub(crate) async fn rest(&self) {
        let entries = self.entries().await;
        tokio::time::sleep(SILENCE).await;
        assert_eq!(unrest(&entries, &self.entries().await), [""; 0]);
    }

    /// The operator leaves alone what somebody just changed.
    pub(crate) async fn rest_after_foreign_changes(&self) {
        let audit = self.test.audit_if_recorded();
        tokio::time::sleep(SILENCE).await;
        assert_eq!(audit.map(|audit| audit.writes()).unwrap_or_default(), []);
    }

    /// At rest nothing is written, and the whole history keeps the invariants.
    pub(crate) async fn finish(self) {
        self.rest().await;
        self.verdict().await;
    }

    /// The whole history keeps the invariants.
    pub(crate) async fn verdict(&self) {
        let entries = self.entries().await;
        let outside = self
            .outside
            .lock()
            .expect("nobody panicked with the lock")
            .clone();
        let found = violations(&entries, &outside);
        if !found.is_empty() {
            let lines: Vec<_> = entries.iter().map(Entry::to_string).collect();
            let path = self.test.directory.join("history.log");
            std::fs::write(path, lines.join("\n")).expect("the history can be written");
        }
        assert_eq!(found, [""; 0]);
        if self.audit.is_some() {
            assert_eq!(delete_violations(&entries, &self.deletes()), [""; 0]);
        }
    }

    /// The deletes that the operator asked for and got; none are known where the API server records no requests.
    pub(crate) fn deletes(&self) -> Vec<Delete> {
        let requests = self.audit.as_ref().map(Audit::requests).unwrap_or_default();
        let deletes = requests
            .into_iter()
            .filter(|request| request.verb == "delete" && request.code == 200);
        deletes
            .map(|request| {
                let preconditions = request.preconditions.unwrap_or_default();
                Delete {
                    resource: request.resource,
                    name: request.name,
                    uid: preconditions.uid,
                    resource_version: preconditions.resource_version,
                }
            })
            .collect()
    }
}

fn find<'a>(object: &'a TiProxyGroup, condition: &str) -> Option<&'a Condition> {
    let conditions = &object.status.as_ref()?.conditions;
    conditions.iter().find(|found| found.type_ == condition)
}

/// Whether a condition speaks of the present generation and has this status.
fn is_current(object: &TiProxyGroup, condition: &str, status: &str) -> bool {
    find(object, condition).is_some_and(|found| {
        found.status == status && found.observed_generation == object.metadata.generation
    })
}

/// A group that needs no Cluster and waits for nothing, not even for clients.
pub(crate) fn group(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "core.pingcap.com/v1alpha1",
        "kind": "TiProxyGroup",
        "metadata": {"name": name},
        "spec": {
            "cluster": {"name": "basic", "pdAddrs": ["pd.example:2379"]},
            "replicas": replicas,
            "minReadySeconds": 0,
            "template": {"spec": {"version": "v1.3.1", "drain": {"timeoutSeconds": 0}}},
        },
    })
}

/// As [`group`], with other fields in its spec.
pub(crate) fn group_with(name: &str, replicas: i32, fields: Value) -> Value {
    let mut manifest = group(name, replicas);
    let Value::Object(fields) = fields else {
        panic!("fields are an object");
    };
    let spec = manifest["spec"].as_object_mut().expect("a group has a spec");
    spec.extend(fields);
    manifest
}

/// The names `<stem>-<ordinal>` of the first ordinals.
pub(crate) fn names(stem: &str, count: usize) -> Vec<String> {
    (0..count).map(|ordinal| format!("{stem}-{ordinal}")).collect()
}

/// Whether two sets of UIDs have none in common.
pub(crate) fn all_differ(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> bool {
    let before: BTreeSet<_> = before.values().collect();
    !after.values().any(|uid| before.contains(uid))
}
