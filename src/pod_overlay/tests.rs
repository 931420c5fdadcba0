//! What the merge makes of each kind of field; the rules of Kubernetes' strategic merge unless said otherwise.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{OverlayError, Problem, pod_spec};

fn laid(base: &Value, overlay: &Value) -> Result<Option<Value>, OverlayError> {
    pod_spec(base.clone(), overlay.as_object().unwrap())
}

#[track_caller]
fn check(name: &str, base: &Value, overlay: &Value, expected: &Value) {
    assert_eq!(laid(base, overlay).unwrap().as_ref(), Some(expected), "{name}");
}

/// A spec with one container `a` of these fields.
fn container(fields: &Value) -> Value {
    let mut container = json!({"name": "a"});
    container
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    json!({"containers": [container]})
}

#[track_caller]
fn check_container(name: &str, base: &Value, overlay: &Value, expected: &Value) {
    check(name, &container(base), &container(overlay), &container(expected));
}

#[test]
fn objects_are_merged_and_explicit_zeros_count() {
    check(
        "scalars",
        &json!({"hostNetwork": true, "priority": 5, "schedulerName": "x", "dnsPolicy": "Default"}),
        &json!({"hostNetwork": false, "priority": 0, "schedulerName": ""}),
        &json!({"hostNetwork": false, "priority": 0, "schedulerName": "", "dnsPolicy": "Default"}),
    );
    check(
        "maps",
        &json!({"securityContext": {"runAsUser": 1, "sysctls": [{"name": "a"}]}, "nodeSelector": {"a": "1"}}),
        &json!({"securityContext": {"runAsGroup": 2, "sysctls": []}, "nodeSelector": {"b": "2"}}),
        &json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2, "sysctls": []}, "nodeSelector": {"a": "1", "b": "2"}}),
    );
    check(
        "null removes, also in what is new",
        &json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2}, "hostname": "x"}),
        &json!({"securityContext": {"runAsUser": null}, "hostname": null, "affinity": {"nodeAffinity": null, "x": 1}}),
        &json!({"securityContext": {"runAsGroup": 2}, "affinity": {"x": 1}}),
    );
    check(
        "an unknown field is kept for the API server to judge",
        &json!({}),
        &json!({"colour": {"of": ["sky"]}}),
        &json!({"colour": {"of": ["sky"]}}),
    );
}

#[test]
fn lists_are_merged_by_the_keys_of_kubernetes() {
    for (list, one, other, change) in [
        (
            "containers",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({"image": "x"}),
        ),
        (
            "initContainers",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({"image": "x"}),
        ),
        (
            "ephemeralContainers",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({"image": "x"}),
        ),
        ("volumes", json!({"name": "a"}), json!({"name": "b"}), json!({})),
        (
            "imagePullSecrets",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({}),
        ),
        (
            "hostAliases",
            json!({"ip": "1"}),
            json!({"ip": "2"}),
            json!({"hostnames": ["x"]}),
        ),
        (
            "schedulingGates",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({}),
        ),
        (
            "resourceClaims",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({"resourceClaimName": "x"}),
        ),
        (
            "topologySpreadConstraints",
            json!({"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}),
            json!({"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}),
            json!({"maxSkew": 2}),
        ),
    ] {
        by_keys(list, &one, &other, &change, &|list| list);
    }
    for (list, one, other, change) in [
        (
            "env",
            json!({"name": "a"}),
            json!({"name": "b"}),
            json!({"value": "x"}),
        ),
        (
            "ports",
            json!({"containerPort": 1}),
            json!({"containerPort": 2}),
            json!({"name": "x"}),
        ),
        (
            "ports",
            json!({"containerPort": 1}),
            json!({"containerPort": 1, "protocol": "UDP"}),
            json!({"protocol": "TCP", "name": "x"}),
        ),
        (
            "volumeMounts",
            json!({"mountPath": "/a"}),
            json!({"mountPath": "/b"}),
            json!({"name": "x"}),
        ),
        (
            "volumeDevices",
            json!({"devicePath": "/a"}),
            json!({"devicePath": "/b"}),
            json!({"name": "x"}),
        ),
    ] {
        by_keys(list, &one, &other, &change, &|list| container(&list));
    }
    by_keys(
        "claims",
        &json!({"name": "a"}),
        &json!({"name": "b"}),
        &json!({"request": "x"}),
        &|list| container(&json!({"resources": list})),
    );
}

/// `one` is changed, `other` is added behind it, and `$patch` takes away.
fn by_keys(list: &str, one: &Value, other: &Value, change: &Value, within: &dyn Fn(Value) -> Value) {
    let extended = |item: &Value, more: &Value| {
        let mut item = item.clone();
        item.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        item
    };
    let of = |items: Vec<Value>| within(json!({ list: items }));
    let changed = extended(one, change);
    let old = extended(one, &json!({"kept": 1}));
    check(
        list,
        &of(vec![old.clone()]),
        &of(vec![other.clone(), changed.clone()]),
        &of(vec![extended(&old, change), other.clone()]),
    );
    let delete = extended(one, &json!({"$patch": "delete"}));
    let both = of(vec![old.clone(), other.clone()]);
    check(list, &both, &of(vec![delete]), &of(vec![other.clone()]));
    let replace = extended(&changed, &json!({"$patch": "replace"}));
    check(
        list,
        &both,
        &of(vec![replace]),
        &of(vec![changed.clone(), other.clone()]),
    );
    let clear = json!({"$patch": "replace"});
    check(
        list,
        &both,
        &of(vec![changed.clone(), clear]),
        &of(vec![changed.clone()]),
    );
    let twice = laid(&both, &of(vec![changed.clone(), changed.clone()])).unwrap_err();
    assert!(matches!(twice.problem, Problem::Twice(_)), "{twice}");
    let keyless = laid(&both, &of(vec![json!({"kept": 1})])).unwrap_err();
    assert!(matches!(keyless.problem, Problem::NoKey(_)), "{keyless}");
}

#[test]
fn lists_without_keys_are_replaced() {
    for list in ["tolerations", "readinessGates", "colours"] {
        check(
            list,
            &json!({list: [{"key": "a"}]}),
            &json!({list: [{"key": "b", "gone": null}]}),
            &json!({list: [{"key": "b"}]}),
        );
    }
    for list in ["args", "command", "envFrom"] {
        check_container(
            list,
            &json!({list: ["a"]}),
            &json!({list: []}),
            &json!({ list: [] }),
        );
    }
}

#[test]
fn of_handlers_sources_and_values_an_object_has_one() {
    let http = json!({"readinessProbe": {"httpGet": {"port": "api", "path": "/x"}, "periodSeconds": 5}});
    check_container(
        "another handler, and the times stay",
        &http,
        &json!({"readinessProbe": {"exec": {"command": ["true"]}}}),
        &json!({"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5}}),
    );
    check_container(
        "the same handler is replaced whole",
        &http,
        &json!({"readinessProbe": {"httpGet": {"port": 1}, "periodSeconds": 0}}),
        &json!({"readinessProbe": {"httpGet": {"port": 1}, "periodSeconds": 0}}),
    );
    check_container(
        "only a time",
        &http,
        &json!({"readinessProbe": {"timeoutSeconds": 9}}),
        &json!({"readinessProbe": {"httpGet": {"port": "api", "path": "/x"}, "periodSeconds": 5, "timeoutSeconds": 9}}),
    );
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        check_container(
            "a whole probe",
            &json!({probe: {"tcpSocket": {"port": 1}, "periodSeconds": 5}}),
            &json!({probe: {"$patch": "replace", "grpc": {"port": 2}}}),
            &json!({probe: {"grpc": {"port": 2}}}),
        );
        check_container(
            "no probe",
            &json!({probe: {"tcpSocket": {"port": 1}}}),
            &json!({probe: {"$patch": "delete"}}),
            &json!({}),
        );
    }
    for hook in ["preStop", "postStart"] {
        check_container(
            hook,
            &json!({"lifecycle": {hook: {"sleep": {"seconds": 10}}, "stopSignal": "SIGTERM"}}),
            &json!({"lifecycle": {hook: {"exec": {"command": ["true"]}}}}),
            &json!({"lifecycle": {hook: {"exec": {"command": ["true"]}}, "stopSignal": "SIGTERM"}}),
        );
    }
    let volume = |fields: Value| json!({"volumes": [fields]});
    check(
        "another source",
        &volume(json!({"name": "a", "secret": {"secretName": "x"}})),
        &volume(json!({"name": "a", "csi": {"driver": "y"}})),
        &volume(json!({"name": "a", "csi": {"driver": "y"}})),
    );
    check(
        "the same source",
        &volume(json!({"name": "a", "secret": {"secretName": "x"}})),
        &volume(json!({"name": "a", "secret": {"defaultMode": 0}})),
        &volume(json!({"name": "a", "secret": {"secretName": "x", "defaultMode": 0}})),
    );
    let env = |fields: Value| json!({"env": [fields]});
    check_container(
        "a value instead of a reference",
        &env(json!({"name": "A", "valueFrom": {"fieldRef": {}}})),
        &env(json!({"name": "A", "value": ""})),
        &env(json!({"name": "A", "value": ""})),
    );
    check_container(
        "another reference",
        &env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}})),
        &env(json!({"name": "A", "valueFrom": {"secretKeyRef": {"key": "x"}}})),
        &env(json!({"name": "A", "valueFrom": {"secretKeyRef": {"key": "x"}}})),
    );
    check_container(
        "a mount of another part",
        &json!({"volumeMounts": [{"mountPath": "/a", "name": "v", "subPath": "x"}]}),
        &json!({"volumeMounts": [{"mountPath": "/a", "subPathExpr": "$(A)"}]}),
        &json!({"volumeMounts": [{"mountPath": "/a", "name": "v", "subPathExpr": "$(A)"}]}),
    );
}

#[test]
fn directives_on_objects() {
    let base = json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}, "dnsPolicy": "Default"});
    check(
        "replace",
        &base,
        &json!({"securityContext": {"$patch": "replace", "runAsUser": 0}}),
        &json!({"securityContext": {"runAsUser": 0}, "dnsPolicy": "Default"}),
    );
    check(
        "delete leaves no empty object",
        &base,
        &json!({"securityContext": {"$patch": "delete"}}),
        &json!({"dnsPolicy": "Default"}),
    );
    check(
        "merge is what happens anyway",
        &base,
        &json!({"$patch": "merge", "securityContext": {"$patch": "merge", "fsGroup": 0}}),
        &json!({"securityContext": {"runAsUser": 1, "fsGroup": 0}, "dnsPolicy": "Default"}),
    );
    check(
        "all of it",
        &base,
        &json!({"$patch": "replace", "dnsPolicy": "None"}),
        &json!({"dnsPolicy": "None"}),
    );
    assert_eq!(laid(&base, &json!({"$patch": "delete"})), Ok(None));
}

#[test]
fn what_cannot_be_laid_over_is_named_with_its_place() {
    for (overlay, message) in [
        (
            json!({"containers": [{"name": "a", "env": [{"name": "A"}, {"value": "x"}]}]}),
            "containers[0].env[1]: it has no name, by which the items of this list are told apart",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"name": "x"}]}]}),
            "containers[0].ports[0]: it has no containerPort, by which the items of this list are told apart",
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "zone"}]}),
            "topologySpreadConstraints[0]: it has no whenUnsatisfiable, by which the items of this list are told apart",
        ),
        (
            json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "a"}]}),
            "containers[1]: another item of this list has the same name",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}]}),
            "containers[0].ports[1]: another item of this list has the same containerPort and protocol",
        ),
        (
            json!({"volumes": ["a"]}),
            "volumes[0]: it is a text; every item of this list must be an object",
        ),
        (
            json!({"volumes": [{"name": "a", "$retainKeys": ["name"]}]}),
            "volumes[0].$retainKeys: $retainKeys is not supported; use $patch: delete or $patch: replace",
        ),
        (
            json!({"$setElementOrder/containers": []}),
            "$setElementOrder/containers: $setElementOrder/containers is not supported; use $patch: delete or \
             $patch: replace",
        ),
        (
            json!({"affinity": {"$patch": "remove"}}),
            "affinity: $patch is \"remove\"; it must be delete, replace or merge",
        ),
        (
            json!({"affinity": {"$patch": "delete", "nodeAffinity": {}}}),
            "affinity: $patch: delete removes the whole object; leave out its other fields",
        ),
        (
            json!({"tolerations": [{"$patch": "replace"}]}),
            "tolerations[0]: this list is replaced as a whole, so $patch has no meaning in it; leave it out",
        ),
    ] {
        let error = laid(&container(&json!({})), &overlay).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("spec.template.spec.overlay.pod.spec.{message}")
        );
    }
    let error = laid(&json!({}), &json!({"$patch": 1})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.template.spec.overlay.pod.spec: $patch is 1; it must be delete, replace or merge"
    );
}

/// Names that mean something at some place, so that the cases reach every rule.
const NAMES: [&str; 26] = [
    "name",
    "containers",
    "initContainers",
    "volumes",
    "env",
    "ports",
    "volumeMounts",
    "mountPath",
    "containerPort",
    "protocol",
    "value",
    "valueFrom",
    "secret",
    "emptyDir",
    "readinessProbe",
    "httpGet",
    "exec",
    "lifecycle",
    "preStop",
    "sleep",
    "tolerations",
    "resources",
    "claims",
    "hostAliases",
    "ip",
    "colour",
];

fn json_value(directives: bool) -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i32).prop_map(Value::from),
        prop_oneof![Just("a"), Just("b"), Just(""), Just("delete"), Just("replace")].prop_map(Value::from),
    ];
    let mut names: Vec<&str> = NAMES.to_vec();
    if directives {
        names.extend(["$patch", "$patch", "$patch", "$retainKeys"]);
    }
    scalar.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(names.clone()), inner), 0..5).prop_map(
                |fields| fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            ),
        ]
    })
}

fn object(directives: bool) -> impl Strategy<Value = Map<String, Value>> {
    json_value(directives).prop_filter_map("an object", |value| match value {
        Value::Object(fields) => Some(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    })
}

/// A value without `null`, as the objects that the operator builds.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_makes_it_panic_and_the_same_input_gives_the_same_result(
        base in json_value(true), overlay in object(true),
    ) {
        prop_assert_eq!(pod_spec(base.clone(), &overlay), pod_spec(base, &overlay));
    }

    #[test]
    fn an_empty_overlay_changes_nothing(base in object(false)) {
        let base = Value::Object(base);
        prop_assert_eq!(pod_spec(base.clone(), &Map::new()), Ok(Some(base)));
    }

    #[test]
    fn laid_over_twice_is_as_laid_over_once(base in object(false), overlay in object(false)) {
        let base = without_null(Value::Object(base));
        if let Ok(Some(once)) = pod_spec(base, &overlay) {
            let twice = pod_spec(once.clone(), &overlay);
            prop_assert_eq!(twice, Ok(Some(once)));
        }
    }

    #[test]
    fn what_is_laid_over_nothing_is_there_and_has_no_directive(overlay in object(true)) {
        if let Ok(Some(result)) = pod_spec(Value::Object(Map::new()), &overlay) {
            prop_assert!(!result.to_string().contains("\"$"), "{}", result);
            for (name, value) in overlay.iter().filter(|(name, _)| !name.starts_with('$')) {
                let is_kept = !value.is_null() && value.get("$patch").is_none();
                prop_assert_eq!(is_kept && result.get(name).is_none(), false, "{}", name);
            }
        }
    }
}
