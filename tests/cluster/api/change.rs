//! Rules about a change: what may follow what.

use serde_json::{Value, json};

use super::manifest::{Kind, causes, field, join, set};
use super::rule::rule;
use crate::harness::{self, Test, objects::Keep};

/// What one rule makes of a change; `null` stands for an absent field.
pub(super) struct Transition {
    pub(super) rule: &'static str,
    /// Where the values are put, below the rule's base.
    at: &'static str,
    pub(super) accepted: Vec<(Value, Value)>,
    pub(super) refused: Vec<(Value, Value, String)>,
}

impl Transition {
    fn new(rule: &'static str, at: &'static str) -> Self {
        Self {
            rule,
            at,
            accepted: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn accepts(mut self, before: &Value, after: &Value) -> Self {
        self.accepted.push((before.clone(), after.clone()));
        self
    }

    fn refuses(mut self, before: &Value, after: &Value, message: &str) -> Self {
        self.refused
            .push((before.clone(), after.clone(), message.to_owned()));
        self
    }
}

pub(super) fn transitions() -> Vec<Transition> {
    let mut transitions = vec![
        Transition::new("cluster-name-immutable", "cluster.name")
            .accepts(&json!("basic"), &json!("basic"))
            .refuses(&json!("basic"), &json!("other"), "cluster name is immutable"),
        Transition::new("topology-immutable", "spec.topology")
            .accepts(&json!({"zone": "a"}), &json!({"zone": "a"}))
            .refuses(
                &json!({"zone": "a"}),
                &json!({"zone": "b"}),
                "topology is immutable",
            )
            .refuses(
                &json!({"zone": "a"}),
                &json!({"disk": "a"}),
                "topology is immutable",
            )
            .refuses(
                &json!({"zone": "a"}),
                &json!({"zone": "a", "disk": "b"}),
                "topology is immutable",
            ),
        Transition::new("topology-at-creation", "spec.topology")
            .accepts(&Value::Null, &Value::Null)
            .refuses(
                &Value::Null,
                &json!({"zone": "a"}),
                "topology can only be set when creating",
            )
            .refuses(
                &json!({"zone": "a"}),
                &Value::Null,
                "topology can only be set when creating",
            ),
        Transition::new("subdomain-immutable", "spec.subdomain")
            .accepts(&json!("a"), &json!("a"))
            .refuses(&json!("a"), &json!("b"), "subdomain is immutable"),
    ];
    transitions.extend(volumes());
    transitions
}

fn volumes() -> [Transition; 2] {
    let sized =
        |storage: Value| json!([{"name": "log", "storage": storage, "mounts": [{"mountPath": "/log"}]}]);
    let class = |class: Option<&str>| {
        let mut volumes = sized(json!("1Gi"));
        if let Some(class) = class {
            volumes[0]["volumeAttributesClassName"] = json!(class);
        }
        volumes
    };
    let other = json!([{"name": "data", "storage": "1Mi", "mounts": [{"mountPath": "/data"}]}]);
    let shrinks = |before: &str, after: &str| {
        format!("storage: a volume can only grow, from {before} to {after} it would shrink")
    };
    [
        Transition::new("volume-shrink", "volumes")
            .accepts(&Value::Null, &sized(json!("1Gi")))
            .accepts(&sized(json!("1Gi")), &Value::Null)
            .accepts(&sized(json!("1Gi")), &sized(json!("2Gi")))
            .accepts(&sized(json!("1Gi")), &sized(json!("1024Mi")))
            .accepts(&sized(json!("1")), &sized(json!(1)))
            .accepts(&sized(json!(1)), &sized(json!("1k")))
            .accepts(&sized(json!("1Gi")), &other)
            .refuses(&sized(json!("2Gi")), &sized(json!("1Gi")), &shrinks("2Gi", "1Gi"))
            .refuses(&sized(json!("1Gi")), &sized(json!("1G")), &shrinks("1Gi", "1G"))
            .refuses(&sized(json!("1Gi")), &sized(json!(1)), &shrinks("1Gi", "1"))
            .refuses(&sized(json!(2)), &sized(json!(1)), &shrinks("2", "1")),
        Transition::new("volume-attributes-class", "volumes")
            .accepts(&class(None), &class(Some("gold")))
            .accepts(&class(Some("gold")), &class(Some("silver")))
            .accepts(&class(Some("gold")), &other)
            .refuses(
                &class(Some("gold")),
                &class(None),
                "VolumeAttributesClassName cannot be changed from non-nil to nil",
            ),
    ]
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn changes_are_accepted_and_refused_with_their_message() {
    harness::run(async |test| {
        let mut number = 0;
        for transition in transitions() {
            for kind in Kind::BOTH {
                let accepted = transition
                    .accepted
                    .iter()
                    .map(|(before, after)| (before, after, None));
                let refused = transition
                    .refused
                    .iter()
                    .map(|(before, after, message)| (before, after, Some(message.as_str())));
                for (before, after, message) in accepted.chain(refused) {
                    number += 1;
                    check(
                        test,
                        kind,
                        &transition,
                        &format!("web-{number}"),
                        before,
                        after,
                        message,
                    )
                    .await;
                }
            }
        }
    });
}

async fn check(
    test: &Test,
    kind: Kind,
    transition: &Transition,
    name: &str,
    before: &Value,
    after: &Value,
    message: Option<&str>,
) {
    let rule = rule(transition.rule);
    let Some(place) = kind.place(rule.base) else {
        return;
    };
    let what = format!("{}: {kind:?} from {before} to {after}", rule.name);
    let path = join(place, transition.at);
    let mut manifest = kind.smallest(name);
    set(&mut manifest, &path, before.clone());
    let created = test
        .create(&manifest, Keep::Yes)
        .await
        .unwrap_or_else(|status| panic!("{what}: the first is refused: {}", status.message));
    set(&mut manifest, &path, Value::Null);
    set(&mut manifest, &path, after.clone());
    manifest["metadata"]["resourceVersion"] = json!(created.metadata.resource_version);
    match (test.replace(&manifest, Keep::No).await, message) {
        (Ok(_), None) => {}
        (Err(status), Some(message)) => {
            assert_eq!(
                causes(&status),
                [(field(kind, rule), message.to_owned())],
                "{what}"
            );
        }
        (Ok(_), Some(_)) => panic!("{what}: accepted"),
        (Err(status), None) => panic!("{what}: {}", status.message),
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn everything_else_may_change() {
    harness::run(async |test| {
        let mut group = Kind::Group.smallest("web");
        test.create(&group, Keep::Yes).await.unwrap();
        for (path, value) in [
            ("spec.replicas", json!(0)),
            ("spec.cluster.pdAddrs", json!(["pd.example:2379"])),
            ("spec.template.spec.version", json!("v1.4.0")),
            ("spec.template.spec.image", json!("example.com/tiproxy")),
            (
                "spec.template.spec.server",
                json!({"ports": {"client": {"port": 4000}}}),
            ),
            ("spec.template.spec.config", json!("[log]\nlevel = \"warn\"\n")),
            ("spec.schedulePolicies", json!([])),
        ] {
            set(&mut group, path, value);
            test.apply(&group).await;
        }
    });
}
