//! The edges of the schema: bounds, enums, types, required and unknown fields.

use serde_json::{Value, json};
use tiproxy_operator::api::rule::Base;

use super::manifest::{Kind, join, set};
use super::rule::assert_readable;
use crate::harness::{self, Test, objects::Keep};

/// What the schema makes of values at one place.
struct Edge {
    base: Base,
    at: &'static str,
    accepted: Vec<Value>,
    /// The field that is wrong, below the base; where the value is put, unless said otherwise.
    field: &'static str,
    /// Values with the reason of the API server.
    refused: Vec<(Value, &'static str)>,
}

const INVALID: &str = "FieldValueInvalid";
const REQUIRED: &str = "FieldValueRequired";
const TOO_LONG: &str = "FieldValueTooLong";
const TOO_MANY: &str = "FieldValueTooMany";
const UNSUPPORTED: &str = "FieldValueNotSupported";
const WRONG_TYPE: &str = "FieldValueTypeInvalid";
const DUPLICATE: &str = "FieldValueDuplicate";

impl Edge {
    fn new(base: Base, at: &'static str) -> Self {
        Self {
            base,
            at,
            accepted: Vec::new(),
            field: at,
            refused: Vec::new(),
        }
    }

    /// A whole number with both its ends.
    fn range(base: Base, at: &'static str, first: i64, last: i64) -> Self {
        Self::new(base, at)
            .accepts([json!(first), json!(last)])
            .refuses(INVALID, [json!(first - 1), json!(last + 1)])
            .refuses(WRONG_TYPE, [json!("1"), json!(1.5)])
    }

    /// One of several texts.
    fn one_of(base: Base, at: &'static str, texts: &[&str]) -> Self {
        Self::new(base, at)
            .accepts(texts.iter().map(|text| json!(text)))
            .refuses(UNSUPPORTED, [json!("Other"), json!("")])
    }

    fn accepts(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.accepted.extend(values);
        self
    }

    fn refuses(mut self, reason: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        self.refused
            .extend(values.into_iter().map(|value| (value, reason)));
        self
    }

    fn field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }
}

fn edges() -> Vec<Edge> {
    let mut edges = group_edges();
    edges.extend(instance_edges());
    edges.extend(template_edges());
    edges.extend(probe_edges());
    edges.extend(list_edges());
    edges
}

fn group_edges() -> Vec<Edge> {
    use Base::{Group, Spec};
    vec![
        Edge::range(Group, "spec.replicas", 0, 100_000),
        Edge::new(Group, "spec.replicas").refuses(REQUIRED, [Value::Null]),
        Edge::range(Group, "spec.minReadySeconds", 0, 86_400),
        Edge::new(Group, "spec.progressDeadlineSeconds")
            .accepts([json!(11), json!(604_800)])
            .refuses(INVALID, [json!(0), json!(604_801)]),
        Edge::new(Group, "spec.maxSurge").refuses(WRONG_TYPE, [json!(1.5), json!(true)]),
        Edge::one_of(Group, "spec.volumeRetention", &["Delete", "Retain"]),
        Edge::new(Group, "spec.template.spec").refuses(REQUIRED, [Value::Null]),
        Edge::new(Group, "spec.template").refuses(REQUIRED, [Value::Null]),
        Edge::new(Group, "spec.paused")
            .accepts([json!(true), json!(false)])
            .refuses(WRONG_TYPE, [json!("true")]),
        Edge::new(Spec, "cluster").refuses(REQUIRED, [Value::Null]),
        Edge::new(Spec, "cluster.name")
            .refuses(REQUIRED, [Value::Null])
            .refuses(TOO_LONG, [json!("a".repeat(64))])
            .refuses(INVALID, [json!("")]),
        Edge::one_of(
            Group,
            "spec.service.type",
            &["ClusterIP", "NodePort", "LoadBalancer"],
        ),
        Edge::one_of(Group, "spec.service.internalTrafficPolicy", &["Cluster", "Local"]),
        Edge::one_of(Group, "spec.service.sessionAffinity", &["None", "ClientIP"]),
        Edge::one_of(
            Group,
            "spec.service.ipFamilyPolicy",
            &["SingleStack", "PreferDualStack", "RequireDualStack"],
        ),
        Edge::new(Group, "spec.service")
            .field("spec.service.externalTrafficPolicy")
            .refuses(
                UNSUPPORTED,
                [json!({"type": "NodePort", "externalTrafficPolicy": "Other"})],
            ),
        Edge::new(Group, "spec.service")
            .field("spec.service.nodePorts.sql")
            .accepts([1, 65_535].map(|port| json!({"type": "NodePort", "nodePorts": {"sql": port}})))
            .refuses(
                INVALID,
                [0, 65_536].map(|port| json!({"type": "NodePort", "nodePorts": {"sql": port}})),
            ),
    ]
}

fn instance_edges() -> Vec<Edge> {
    use Base::Instance;
    vec![
        Edge::range(Instance, "spec.replicas", 1, 1),
        Edge::new(Instance, "spec.subdomain")
            .refuses(REQUIRED, [Value::Null])
            .refuses(INVALID, [json!("")]),
        Edge::new(Instance, "spec.topology")
            .accepts([json!({"zone": "a"})])
            .refuses(INVALID, [json!({})]),
        Edge::new(Instance, "spec.offline")
            .accepts([json!(true), json!(false)])
            .refuses(WRONG_TYPE, [json!(0)]),
        Edge::new(Instance, "spec.discovery").accepts([
            json!({}),
            json!({"pdAddrs": ["pd:2379"], "tls": true, "clusterDomain": "cluster.local"}),
        ]),
    ]
}

fn template_edges() -> Vec<Edge> {
    use Base::Template;
    let tls = |fields: Value| json!({"tls": {"mysql": fields}});
    vec![
        Edge::new(Template, "version")
            .refuses(REQUIRED, [Value::Null])
            .refuses(TOO_LONG, [json!(format!("1.2.3-{}", "a".repeat(128)))]),
        Edge::new(Template, "image").refuses(INVALID, [json!("")]),
        Edge::range(Template, "server.port.sql", 1, 65_535),
        Edge::range(Template, "server.port.api", 1, 65_535),
        Edge::range(Template, "server.ports.client.port", 1, 65_535),
        Edge::range(Template, "server.ports.api.port", 1, 65_535),
        Edge::range(Template, "server.ports.peer.port", 1, 65_535),
        Edge::new(Template, "server")
            .field("server.ports.api.port")
            .refuses(REQUIRED, [json!({"ports": {"api": {}}})]),
        Edge::range(Template, "preStop.sleepSeconds", 0, 86_400),
        Edge::range(Template, "drain.timeoutSeconds", 0, 604_800),
        Edge::range(Template, "drain.quietSeconds", 0, 3600),
        Edge::one_of(Template, "updateStrategy.config", &["HotReload", "Restart"]),
        Edge::new(Template, "config")
            .accepts([json!(""), json!("a".repeat(65_536))])
            .refuses(TOO_LONG, [json!("a".repeat(65_537))]),
        Edge::new(Template, "resources.cpu")
            .accepts([
                json!(1),
                json!("1"),
                json!("0.5"),
                json!("500m"),
                json!("1e3"),
                json!(i64::MAX),
            ])
            .refuses(INVALID, [json!("one"), json!("1 Gi"), json!("")])
            .refuses(WRONG_TYPE, [json!(1.5), json!(true)]),
        Edge::new(Template, "resources")
            .field("resources.limits.memory")
            .accepts([
                json!({"limits": {"memory": 1}}),
                json!({"limits": {"memory": "2Gi"}}),
            ])
            .refuses(INVALID, [json!({"limits": {"memory": "2GB"}})]),
        Edge::new(Template, "security")
            .field("security.tls.mysql.enabled")
            .accepts([tls(json!({"enabled": false})), tls(json!({"enabled": true}))])
            .refuses(REQUIRED, [tls(json!({}))]),
        Edge::new(Template, "security")
            .field("security.tls.mysql.clientAuth")
            .accepts(
                ["NoClientCert", "VerifyClientCertIfNeed", "RequireClientCert"]
                    .map(|mode| tls(json!({"enabled": true, "clientAuth": mode}))),
            )
            .refuses(
                UNSUPPORTED,
                [tls(json!({"enabled": true, "clientAuth": "Other"}))],
            ),
        Edge::new(Template, "security")
            .field("security.tls.mysql.ca.name")
            .refuses(REQUIRED, [tls(json!({"enabled": true, "ca": {}}))]),
        Edge::new(Template, "overlay.pod.spec")
            .accepts([json!({}), json!({"anything": [{"goes": null, "here": 1.5}]})])
            .refuses(WRONG_TYPE, [json!([]), json!("x")]),
    ]
}

fn probe_edges() -> Vec<Edge> {
    use Base::Template;
    vec![
        Edge::one_of(Template, "probes.readiness.type", &["http", "tcp", "command"]),
        Edge::range(Template, "probes.readiness.initialDelaySeconds", 0, 86_400),
        Edge::range(Template, "probes.readiness.timeoutSeconds", 1, 3600),
        Edge::range(Template, "probes.readiness.periodSeconds", 1, 3600),
        Edge::range(Template, "probes.readiness.successThreshold", 1, 1000),
        Edge::range(Template, "probes.readiness.failureThreshold", 1, 1000),
    ]
}

fn list_edges() -> Vec<Edge> {
    use Base::{Group, Spec, Template};
    let volumes = |count: usize| {
        (0..count)
            .map(|index| json!({"name": format!("v{index}"), "storage": 1, "mounts": [{"mountPath": "/a"}]}))
            .collect::<Value>()
    };
    let mounts = |count: usize| {
        let mounts: Vec<_> = (0..count)
            .map(|index| json!({"mountPath": format!("/{index}")}))
            .collect();
        json!([{"name": "log", "storage": 1, "mounts": mounts}])
    };
    let spread =
        |topologies: Value| json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": topologies}}]);
    let weight = |weight: i64| spread(json!([{"topology": {"zone": "a"}, "weight": weight}]));
    let map = |count: usize| {
        (0..count)
            .map(|index| (format!("k{index}"), json!("x")))
            .collect::<Value>()
    };
    vec![
        Edge::new(Spec, "cluster.pdAddrs")
            .accepts([(0..32).map(|index| format!("pd-{index}:1")).collect()])
            .refuses(TOO_MANY, [(0..33).map(|index| format!("pd-{index}:1")).collect()])
            .refuses(INVALID, [json!([])]),
        Edge::new(Spec, "cluster.pdAddrs")
            .field("cluster.pdAddrs[1]")
            .refuses(DUPLICATE, [json!(["a:1", "a:1"])]),
        Edge::new(Spec, "features")
            .accepts([json!([]), (0..64).map(|index| format!("f{index}")).collect()])
            .refuses(TOO_MANY, [(0..65).map(|index| format!("f{index}")).collect()]),
        Edge::new(Group, "spec.schedulePolicies")
            .field("spec.schedulePolicies[0].type")
            .refuses(UNSUPPORTED, [json!([{"type": "Other"}])]),
        Edge::new(Group, "spec.schedulePolicies")
            .field("spec.schedulePolicies[0].evenlySpread.topologies")
            .refuses(INVALID, [spread(json!([]))])
            .refuses(REQUIRED, [json!([{"type": "EvenlySpread", "evenlySpread": {}}])]),
        Edge::new(Group, "spec.schedulePolicies")
            .field("spec.schedulePolicies[0].evenlySpread.topologies[0].topology")
            .refuses(INVALID, [spread(json!([{"topology": {}}]))])
            .refuses(REQUIRED, [spread(json!([{"weight": 1}]))]),
        Edge::new(Group, "spec.schedulePolicies")
            .field("spec.schedulePolicies[0].evenlySpread.topologies[0].weight")
            .accepts([weight(1), weight(1000)])
            .refuses(INVALID, [weight(0), weight(1001)]),
        Edge::new(Group, "spec.template.metadata")
            .field("spec.template.metadata.labels")
            .accepts([json!({"labels": map(512)})])
            .refuses(TOO_MANY, [json!({"labels": map(513)})]),
        Edge::new(Template, "volumes")
            .accepts([json!([]), volumes(256)])
            .refuses(TOO_MANY, [volumes(257)]),
        Edge::new(Template, "volumes")
            .field("volumes[1]")
            .refuses(DUPLICATE, [json!([volumes(1)[0], volumes(1)[0]])]),
        Edge::new(Template, "volumes")
            .field("volumes[0].mounts")
            .accepts([mounts(1), mounts(64)])
            .refuses(TOO_MANY, [mounts(65)])
            .refuses(INVALID, [mounts(0)])
            .refuses(REQUIRED, [json!([{"name": "log", "storage": 1}])]),
        Edge::new(Template, "volumes")
            .field("volumes[0].storage")
            .refuses(
                REQUIRED,
                [json!([{"name": "log", "mounts": [{"mountPath": "/a"}]}])],
            )
            .refuses(
                INVALID,
                [json!([{"name": "log", "storage": "big", "mounts": [{"mountPath": "/a"}]}])],
            ),
        Edge::new(Template, "volumes")
            .field("volumes[0].name")
            .refuses(
                REQUIRED,
                [json!([{"storage": 1, "mounts": [{"mountPath": "/a"}]}])],
            )
            .refuses(
                TOO_LONG,
                [json!([{"name": "a".repeat(57), "storage": 1, "mounts": [{"mountPath": "/a"}]}])],
            ),
        Edge::new(Template, "overlay.volumeClaims")
            .field("overlay.volumeClaims[0].volumeClaim")
            .refuses(REQUIRED, [json!([{"name": "log"}])]),
    ]
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_schema_accepts_and_refuses_at_its_edges() {
    harness::run(async |test| {
        for edge in edges() {
            for kind in Kind::BOTH {
                check(test, kind, &edge).await;
            }
        }
    });
}

async fn check(test: &Test, kind: Kind, edge: &Edge) {
    let Some(place) = kind.place(edge.base) else {
        return;
    };
    let manifest = |value: &Value| {
        let mut manifest = kind.smallest("web");
        set(&mut manifest, &join(place, edge.at), value.clone());
        manifest
    };
    for value in &edge.accepted {
        let object = test
            .create(&manifest(value), Keep::No)
            .await
            .unwrap_or_else(|status| panic!("{kind:?} {} {value}: {}", edge.at, status.message));
        assert_readable(kind, &serde_json::to_value(object).unwrap());
    }
    for (value, reason) in &edge.refused {
        let what = format!("{kind:?} {} {value}", edge.at);
        let status = test
            .create(&manifest(value), Keep::No)
            .await
            .map_or_else(|status| status, |_| panic!("{what} is accepted"));
        let field = join(place, edge.field);
        let causes = &status
            .details
            .as_ref()
            .unwrap_or_else(|| panic!("{what}: {status:?}"))
            .causes;
        let found = causes
            .iter()
            .any(|cause| cause.field == field && cause.reason == *reason);
        assert!(found, "{what}: no {reason} at {field}, but {causes:#?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_unknown_field_is_named() {
    harness::run(async |test| {
        let volumes = json!([{"name": "a", "storage": 1, "mounts": [{"mountPath": "/a"}]}]);
        for (base, at) in [
            (Base::Group, "metadata"),
            (Base::Group, ""),
            (Base::Spec, ""),
            (Base::Spec, "cluster"),
            (Base::Template, ""),
            (Base::Template, "server"),
            (Base::Template, "server.port"),
            (Base::Template, "server.ports"),
            (Base::Template, "probes.readiness"),
            (Base::Template, "resources"),
            (Base::Template, "security.tls"),
            (Base::Template, "security.tls.cluster"),
            (Base::Template, "overlay.pod"),
            (Base::Template, "volumes[0]"),
            (Base::Template, "volumes[0].mounts[0]"),
        ] {
            for kind in Kind::BOTH {
                let Some(place) = kind.place(base) else { continue };
                let mut manifest = kind.smallest("web");
                set(
                    &mut manifest,
                    &join(kind.place(Base::Template).unwrap(), "volumes"),
                    volumes.clone(),
                );
                let path = join(&join(place, at), "typo");
                let pointer = format!("/{}", path.replace('.', "/").replace("[0]", "/0"));
                match pointer.rsplit_once('/') {
                    Some((parent, _)) if manifest.pointer(parent).is_some() => {
                        manifest.pointer_mut(parent).unwrap()["typo"] = json!(1);
                    }
                    _ => set(&mut manifest, &path, json!(1)),
                }
                let status = test.create(&manifest, Keep::No).await.unwrap_err();
                let expected = format!("strict decoding error: unknown field \"{path}\"");
                assert!(
                    status.message.ends_with(&expected),
                    "{kind:?} {path}: {}",
                    status.message
                );
            }
        }
    });
}
