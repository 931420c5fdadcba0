//! TiDB Operator v2's validation rules, by their numbers in the notes on it.

use serde_json::{Value, json};

use super::manifest::{Kind, causes, set};
use crate::harness::{self, Test, objects::Keep};

/// One rule. What is refused names the field and a part of the text.
struct Rule {
    number: &'static str,
    kind: Kind,
    at: &'static str,
    accepted: Vec<Value>,
    refused: Vec<(Value, &'static str, &'static str)>,
}

fn rule(number: &'static str, kind: Kind, at: &'static str) -> Rule {
    Rule {
        number,
        kind,
        at,
        accepted: Vec::new(),
        refused: Vec::new(),
    }
}

impl Rule {
    fn accepts(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.accepted.extend(values);
        self
    }

    fn refuses(
        mut self,
        values: impl IntoIterator<Item = Value>,
        field: &'static str,
        text: &'static str,
    ) -> Self {
        self.refused
            .extend(values.into_iter().map(|value| (value, field, text)));
        self
    }
}

/// V4, V12 to V14, V16 and V22 are about changes: see `super::change`.
fn rules() -> Vec<Rule> {
    let mut rules = group_rules();
    rules.extend(instance_rules());
    rules.extend(template_rules());
    rules.extend(volume_rules());
    rules
}

fn group_rules() -> Vec<Rule> {
    let rule = |number, at| rule(number, Kind::Group, at);
    let policies = |topology: Value, weight: i64| {
        let topologies = json!([{"topology": topology, "weight": weight}]);
        json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": topologies}}])
    };
    vec![
        rule("V1", "metadata.name")
            .accepts([json!("a".repeat(40))])
            .refuses(
                [json!("a".repeat(41))],
                "<nil>",
                "name must not exceed 40 characters",
            ),
        rule("V3", "spec.cluster.name")
            .accepts([json!("a"), json!("a.b"), json!("1-a")])
            .refuses(
                ["A", "a_b", "-a", "a-", ".a", "a."].map(Value::from),
                "spec.cluster.name",
                "is not a DNS name",
            )
            .refuses([json!("")], "spec.cluster.name", "at least 1 chars"),
        rule("V5", "spec.replicas")
            .accepts([json!(0), json!(1)])
            .refuses([json!(-1)], "spec.replicas", "greater than or equal to 0")
            .refuses([Value::Null], "spec.replicas", "Required value"),
        rule("V6", "spec.minReadySeconds")
            .accepts([Value::Null, json!(0), json!(10), json!(3600)])
            .refuses([json!(-1)], "spec.minReadySeconds", "greater than or equal to 0"),
        // 0 is allowed here: a TiProxy is then replaced in place.
        rule("V7", "spec.maxSurge")
            .accepts([Value::Null, json!(1), json!(3)])
            .refuses([json!(-1)], "spec.maxSurge", "must be a number from 0"),
        rule("V20", "spec.schedulePolicies")
            .accepts([policies(json!({"zone": "a"}), 1)])
            .refuses(
                [policies(json!({}), 1)],
                "spec.schedulePolicies[0].evenlySpread.topologies[0].topology",
                "should have at least 1 properties",
            )
            .refuses(
                [policies(json!({"zone": "a"}), 0)],
                "spec.schedulePolicies[0].evenlySpread.topologies[0].weight",
                "greater than or equal to 1",
            ),
    ]
}

fn instance_rules() -> Vec<Rule> {
    let rule = |number, at| rule(number, Kind::Instance, at);
    vec![
        rule("V2", "metadata.name")
            .accepts([json!("a".repeat(47))])
            .refuses(
                [json!("a".repeat(48))],
                "<nil>",
                "name must not exceed 47 characters",
            ),
        rule("V15", "spec.topology")
            .accepts([json!({"zone": "a"})])
            .refuses([json!({})], "spec.topology", "should have at least 1 properties"),
        rule("V16", "spec.subdomain").accepts([json!("a")]).refuses(
            [Value::Null],
            "spec.subdomain",
            "Required value",
        ),
        rule("V17", "spec.replicas")
            .accepts([Value::Null, json!(1)])
            .refuses([json!(0), json!(2)], "spec.replicas", "than or equal to 1"),
    ]
}

fn template_rules() -> Vec<Rule> {
    let rule = |number, at| rule(number, Kind::Group, at);
    let overlaid = |key: &str| json!({"pod": {"metadata": {"labels": {key: "x"}}}});
    vec![
        // Build metadata, which no image tag can hold, is refused here at once.
        rule("V8", "spec.template.spec.version")
            .accepts(["v1.3.1", "8.5.0-alpha.1"].map(Value::from))
            .refuses(
                ["1", "1.2", "01.2.3", "v1.2.3.4", "latest"].map(Value::from),
                "spec.template.spec.version",
                "must be a semantic version",
            ),
        rule("V9", "spec.template.spec.server")
            .accepts([json!({"labels": {"a": "b"}})])
            .refuses(
                ["host", "region", "zone"].map(|key| json!({"labels": {key: "x"}})),
                "spec.template.spec.server.labels",
                "labels cannot contain 'host', 'region', or 'zone' keys",
            ),
        rule("V11", "spec.template.spec.overlay")
            .accepts([overlaid("foo/bar")])
            .refuses(
                [overlaid("pingcap.com/x")],
                "spec.template.spec.overlay.pod.metadata.labels",
                "cannot overlay pod labels starting with 'pingcap.com/'",
            ),
        // `http` comes in addition.
        rule("V18", "spec.template.spec.probes.readiness.type")
            .accepts([json!("tcp"), json!("command")])
            .refuses(
                [json!("exec")],
                "spec.template.spec.probes.readiness.type",
                "supported values: \"http\", \"tcp\", \"command\"",
            ),
        rule("V19", "spec.template.spec.updateStrategy.config")
            .accepts([json!("Restart"), json!("HotReload")])
            .refuses(
                [json!("Recreate")],
                "spec.template.spec.updateStrategy.config",
                "supported values: \"HotReload\", \"Restart\"",
            ),
    ]
}

fn volume_rules() -> Vec<Rule> {
    let rule = |number, at| rule(number, Kind::Group, at);
    let volume = |name: &str, storage: Value| json!({"name": name, "storage": storage, "mounts": [{"mountPath": "/a"}]});
    let claims = |volumes: &[&str], claims: &[&str]| {
        let volumes = volumes.iter().map(|name| volume(name, json!("1Gi")));
        let claims = claims.iter().map(|name| json!({"name": name, "volumeClaim": {}}));
        json!({
            "volumes": volumes.collect::<Vec<_>>(),
            "overlay": {"volumeClaims": claims.collect::<Vec<_>>()},
        })
    };
    vec![
        rule("V10", "spec.template.spec")
            .accepts([
                claims(&[], &[]),
                claims(&["a"], &["a"]),
                claims(&["a", "b"], &["a", "b"]),
            ])
            .refuses(
                [
                    claims(&["a"], &["b"]),
                    claims(&["a"], &["a", "b"]),
                    claims(&[], &["a"]),
                ],
                "spec.template.spec",
                "overlay volumeClaims names must exist in volumes",
            ),
        // The text here names the size.
        rule("V21", "spec.template.spec.volumes")
            .accepts([json!([volume("log", json!("1Gi"))])])
            .refuses(
                [
                    json!([volume("log", json!("0"))]),
                    json!([volume("log", json!(0))]),
                ],
                "spec.template.spec.volumes[0].storage",
                "storage: 0 must be more than 0",
            ),
    ]
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_rules_of_tidb_operator_hold() {
    harness::run(async |test| {
        for rule in rules() {
            check(test, &rule).await;
        }
    });
}

async fn check(test: &Test, rule: &Rule) {
    let manifest = |value: &Value| {
        let mut manifest = rule.kind.smallest("web");
        set(&mut manifest, rule.at, value.clone());
        manifest
    };
    for value in &rule.accepted {
        let result = test.create(&manifest(value), Keep::No).await;
        assert!(result.is_ok(), "{}: {value}: {result:?}", rule.number);
    }
    for (value, field, text) in &rule.refused {
        let status = test.create(&manifest(value), Keep::No).await.map_or_else(
            |status| status,
            |_| panic!("{}: {value} is accepted", rule.number),
        );
        let causes = causes(&status);
        let found = causes
            .iter()
            .any(|(at, message)| at == field && message.contains(text));
        assert!(found, "{}: {value}: {causes:?}", rule.number);
    }
}
