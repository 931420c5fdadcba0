//! Somebody else's objects under our names are never written to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject};
use serde_json::{Value, json};

use super::fixture::{get, group, instance, instances, is_ready, is_soon_true, is_true, something_else};
use crate::harness;
use crate::harness::Test;
use crate::harness::objects::Keep;

/// The kinds of which we make objects, and the name that the first one has in a group.
const KINDS: [(&str, &str); 5] = [
    ("ConfigMap", "-tiproxy-0"),
    ("Pod", "-tiproxy-0"),
    ("Service", "-tiproxy"),
    ("Service", "-tiproxy-peer"),
    ("PodDisruptionBudget", "-tiproxy"),
];

/// By what an object can be known to be somebody else's.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// It has nothing of ours: no watch of the operator ever sees it.
    Plain,
    /// It says that we manage it, and has another owner.
    OwnedByOther,
}

impl Mark {
    fn belongs_to(self) -> &'static str {
        match self {
            Self::Plain => "it has neither an owner nor our labels",
            Self::OwnedByOther => "it belongs to ConfigMap somebody",
        }
    }
}

fn object(kind: &str, name: &str, group: &str, mark: Mark, owner: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    match kind {
        // Never scheduled, so that nobody else writes to it either.
        "Pod" => {
            object["spec"] = json!({
                "schedulingGates": [{"name": "example.com/never"}],
                "containers": [{"name": "other", "image": "other"}],
            });
        }
        "Service" => object["spec"] = json!({"ports": [{"port": 1}]}),
        "PodDisruptionBudget" => {
            object["apiVersion"] = json!("policy/v1");
            object["spec"] = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"not": "ours"}}});
        }
        _ => object["data"] = json!({"config.toml": "theirs"}),
    }
    if let Mark::OwnedByOther = mark {
        object["metadata"]["labels"] = json!({
            "pingcap.com/managed-by": "tiproxy-operator",
            "pingcap.com/component": "tiproxy",
            "pingcap.com/cluster": "basic",
            "pingcap.com/group": group,
            "pingcap.com/instance": format!("{group}-0"),
        });
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    object
}

/// An object that owns others.
async fn owner(test: &Test) -> Value {
    let somebody = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody"}});
    let created = test
        .create(&somebody, Keep::Yes)
        .await
        .expect("it can be created");
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "somebody",
        "uid": created.uid().expect("it has a UID"), "controller": true})
}

/// What changes with each write. Kubernetes itself writes the status of a `PodDisruptionBudget`.
fn version(object: &DynamicObject) -> Option<String> {
    let kind = object.types.as_ref().map(|types| types.kind.as_str());
    if kind != Some("PodDisruptionBudget") {
        return object.resource_version();
    }
    let metadata = &object.metadata;
    Some(format!(
        "{:?} {:?} {:?} {:?}",
        metadata.generation, metadata.labels, metadata.annotations, metadata.owner_references
    ))
}

struct Case {
    group: Value,
    object: Value,
    mark: Mark,
}

fn cases(owner: &Value) -> Vec<Case> {
    let marks = [Mark::Plain, Mark::OwnedByOther];
    let all = marks
        .iter()
        .flat_map(|mark| KINDS.iter().map(move |kind| (mark, kind)));
    all.enumerate()
        .map(|(number, (mark, (kind, suffix)))| {
            let name = format!("web-{number}");
            Case {
                object: object(kind, &format!("{name}{suffix}"), &name, *mark, owner),
                group: group(&name, 1),
                mark: *mark,
            }
        })
        .collect()
}

/// UIDs and resourceVersions of the foreign objects.
async fn versions(test: &Test, cases: &[Case]) -> Vec<(Option<String>, Option<String>)> {
    let mut versions = Vec::new();
    for case in cases {
        let object = get(test, &case.object).await;
        versions.push((object.uid(), version(&object)));
    }
    versions
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_name_that_is_taken_is_told_and_waited_for() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let owner = owner(test).await;
        let cases = cases(&owner);
        for case in &cases {
            test.create(&case.object, Keep::Yes)
                .await
                .expect("the name is free");
        }
        let before = versions(test, &cases).await;
        for case in &cases {
            test.apply(&case.group).await;
        }
        for case in &cases {
            let message = is_true(test, &case.group, "Stalled", "NameConflict").await;
            let name = case.object["metadata"]["name"].as_str().unwrap_or_default();
            let kind = case.object["kind"].as_str().unwrap_or_default();
            for part in [
                &format!("{kind} {name} exists"),
                case.mark.belongs_to(),
                "delete it, or create the TiProxyGroup under another name",
            ] {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
        // Edits, deletions and further passes do not change that.
        for case in &cases {
            test.kubectl
                .succeed(&[
                    "scale",
                    "tpg",
                    case.group["metadata"]["name"].as_str().unwrap_or_default(),
                    "--replicas=2",
                ])
                .await;
        }
        for case in &cases {
            is_true(test, &case.group, "Stalled", "NameConflict").await;
        }
        something_else(test).await;
        assert_eq!(versions(test, &cases).await, before);

        for case in &cases {
            let name = case.object["metadata"]["name"].as_str().unwrap_or_default();
            let parameters = DeleteParams::default().grace_period(0);
            test.dynamic(&case.object)
                .delete(name, &parameters)
                .await
                .expect("it is there");
        }
        for case in &cases {
            is_ready(test, &case.group).await;
        }
    });
}

/// A cache that has not seen an object yet must not be believed.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_object_that_appears_at_the_same_moment_is_left_alone() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let owner = owner(test).await;
        let cases = cases(&owner);
        let mut theirs = BTreeMap::new();
        for case in &cases {
            let (_, created) = futures::join!(test.apply(&case.group), test.create(&case.object, Keep::Yes));
            // Else the operator was there first.
            if let Ok(created) = created {
                theirs.insert(case.object.to_string(), (created.uid(), version(&created)));
            }
        }
        for case in &cases {
            match theirs.get(&case.object.to_string()) {
                Some(_) => is_true(test, &case.group, "Stalled", "NameConflict").await,
                None => is_ready(test, &case.group).await,
            };
        }
        something_else(test).await;
        for case in &cases {
            if let Some(created) = theirs.get(&case.object.to_string()) {
                let found = get(test, &case.object).await;
                assert_eq!(&(found.uid(), version(&found)), created, "{}", case.object);
            }
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_foreign_tiproxy_takes_only_its_ordinal_away() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let owner = owner(test).await;
        let mut foreign = [instance("web-0"), instance("web-2")];
        for object in &mut foreign {
            object["spec"] = json!({"cluster": {"name": "basic"}, "subdomain": "web-tiproxy-peer", "version": "v1.3.2",
                "discovery": {"pdAddrs": ["pd.example:2379"]}});
        }
        foreign[1]["metadata"]["labels"] = json!({"pingcap.com/managed-by": "tiproxy-operator",
            "pingcap.com/group": "web", "pingcap.com/instance": "web-2"});
        foreign[1]["metadata"]["ownerReferences"] = json!([owner]);
        let mut before = Vec::new();
        for object in &foreign {
            before.push(test.create(object, Keep::Yes).await.expect("the name is free"));
        }
        let web = group("web", 3);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let names: Vec<_> = instances(test).await.into_keys().collect();
        assert_eq!(names, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
        something_else(test).await;
        for (object, before) in foreign.iter().zip(&before) {
            assert_eq!(
                get(test, object).await.resource_version(),
                before.resource_version(),
                "{object}"
            );
            // Nor is anything made for it.
            let name = object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .replace("web-", "web-tiproxy-");
            assert_eq!(
                test.api::<ConfigMap>()
                    .get_opt(&name)
                    .await
                    .expect("it can be read"),
                None
            );
        }
        for object in &foreign {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            test.dynamic(object)
                .delete(name, &DeleteParams::default())
                .await
                .expect("it is there");
        }
        test.kubectl
            .succeed(&["scale", "tpg", "web", "--replicas=5"])
            .await;
        is_ready(test, &web).await;
        let names: Vec<_> = instances(test).await.into_keys().collect();
        assert_eq!(names, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
    });
}

/// The conflict of one group is told soon, also for one that runs.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_name_that_is_taken_in_the_middle_is_told_soon() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 1);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let theirs = object("Pod", "web-tiproxy-1", "web", Mark::Plain, &Value::Null);
        let created = test.create(&theirs, Keep::Yes).await.expect("the name is free");
        test.kubectl
            .succeed(&["scale", "tpg", "web", "--replicas=2"])
            .await;
        let message = is_soon_true(test, &web, "Stalled", "NameConflict").await;
        assert!(
            message.contains("TiProxy web-1: Pod web-tiproxy-1 exists and is not ours"),
            "{message}"
        );
        // It does not keep the group from shrinking.
        test.kubectl
            .succeed(&["scale", "tpg", "web", "--replicas=1"])
            .await;
        is_ready(test, &web).await;
        assert_eq!(
            get(test, &theirs).await.resource_version(),
            created.resource_version()
        );
        let names: Vec<_> = instances(test).await.into_keys().collect();
        assert_eq!(names, ["web-0"]);
    });
}
