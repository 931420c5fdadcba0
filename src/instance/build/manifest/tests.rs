//! What an overlay makes of the Pod, and what it may not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::TiProxy;
use crate::instance::build::tls::tls;
use crate::instance::testing::{lay_over, tiproxy};
use crate::instance::validate::{Invalid, validate};

/// The TiProxy with this overlay, and these changes to its spec.
fn with(overlay: &Value, changes: &Value) -> TiProxy {
    let mut value = serde_json::to_value(tiproxy()).unwrap();
    lay_over(&mut value["spec"], changes);
    value["spec"]["overlay"] = json!({ "pod": overlay });
    serde_json::from_value(value).unwrap()
}

/// The Pod with this laid over its spec.
fn made(spec: &Value) -> Value {
    let instance = validate(&with(&json!({ "spec": spec }), &json!({}))).unwrap();
    manifest(&instance, &tls(&instance)).unwrap().body().clone()
}

fn refused(spec: &Value) -> String {
    match validate(&with(&json!({ "spec": spec }), &json!({}))) {
        Err(Invalid::Overlay(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What the user says of the container that runs TiProxy.
fn tiproxy_container(fields: &Value) -> Value {
    let mut container = json!({"name": "tiproxy"});
    lay_over(&mut container, fields);
    json!({"containers": [container]})
}

#[test]
fn without_an_overlay_the_pod_is_as_it_is_built() {
    let instance = validate(&tiproxy()).unwrap();
    let plain = serde_json::to_value(pod(&instance, &tls(&instance))).unwrap();
    assert_eq!(made(&json!({})), plain);
    assert_eq!(manifest(&instance, &tls(&instance)).unwrap().body(), &plain);
    assert_eq!(made(&json!({"hostNetwork": false}))["spec"]["hostNetwork"], false);
}

#[test]
fn defaults_for_the_whole_pod_yield() {
    let pod = made(&json!({
        "automountServiceAccountToken": true, "enableServiceLinks": true, "serviceAccountName": "web",
        "securityContext": {"runAsUser": 0, "runAsNonRoot": false, "seccompProfile": {"type": "Unconfined"}},
        "terminationGracePeriodSeconds": 0, "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "containers": [
            {"name": "log", "image": "busybox"},
            {"name": "tiproxy", "imagePullPolicy": "Always", "readinessProbe": {"exec": {"command": ["true"]}},
                "securityContext": {"readOnlyRootFilesystem": false}, "args": ["--advertise"],
                "env": [{"name": "TZ", "value": "UTC"}], "ports": [{"containerPort": 9, "protocol": "UDP"}]},
        ],
    }));
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], true);
    assert_eq!(spec["securityContext"]["runAsUser"], 0);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], false);
    assert_eq!(spec["securityContext"]["runAsGroup"], 65532);
    assert_eq!(spec["terminationGracePeriodSeconds"], 0);
    let names: Vec<&Value> = items(spec, "containers")
        .map(|container| &container["name"])
        .collect();
    assert_eq!(names, ["tiproxy", "log"]);
    let container = &spec["containers"][0];
    assert_eq!(container["readinessProbe"]["exec"]["command"], json!(["true"]));
    assert_eq!(container["readinessProbe"].get("httpGet"), None);
    assert_eq!(container["readinessProbe"]["periodSeconds"], 5);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["ports"].as_array().map(Vec::len), Some(3));
    assert_eq!(container["command"][0], "/bin/tiproxy");
}

#[test]
fn our_deletes_give_a_pod_the_time_that_the_overlay_gives() {
    let grace = |spec: Value| {
        let instance = validate(&with(&json!({ "spec": spec }), &json!({}))).unwrap();
        super::super::pod::termination_grace_period_seconds(&instance)
    };
    let built = grace(json!({}));
    assert!(built > 0);
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": 7})), 7);
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": 0})), 0);
    // The API server refuses these.
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": "7"})), built);
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": -7})), built);
}

#[test]
fn certificates_may_come_from_elsewhere() {
    let changes = json!({"security": {"tls": {"mysql": {"enabled": true}}}});
    let overlay = json!({"spec": {"volumes": [{"name": "ti-tiproxy-sql-tls", "csi": {"driver": "secrets.example.com"}}]}});
    let instance = validate(&with(&overlay, &changes)).unwrap();
    let manifest = manifest(&instance, &tls(&instance)).unwrap();
    let (_, volume) = named(&manifest.body()["spec"], "volumes", "ti-tiproxy-sql-tls").unwrap();
    assert_eq!(
        volume,
        &json!({"name": "ti-tiproxy-sql-tls", "csi": {"driver": "secrets.example.com"}})
    );
}

#[test]
fn the_topology_of_a_tiproxy_stays() {
    let overlay = json!({"spec": {"nodeSelector": {"zone": "b", "disk": "ssd"}}});
    for overlay in [overlay, json!({"spec": {"nodeSelector": null, "priority": 1}})] {
        let instance = validate(&with(&overlay, &json!({"topology": {"zone": "a"}}))).unwrap();
        let manifest = manifest(&instance, &tls(&instance)).unwrap();
        assert_eq!(manifest.body()["spec"]["nodeSelector"]["zone"], "a", "{overlay}");
    }
}

#[test]
fn metadata_of_the_overlay_is_over_that_of_the_template_and_the_operator_s_labels_stay() {
    let overlay = json!({"metadata": {
        "labels": {"team": "b", "app.kubernetes.io/name": "mine"},
        "annotations": {"prometheus.io/scrape": "false"},
    }});
    let mut object = with(&overlay, &json!({}));
    object
        .metadata
        .labels
        .get_or_insert_default()
        .insert("team".to_owned(), "a".to_owned());
    let keys = json!({"labels": ["team"]}).to_string();
    object
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(name::ANNOTATION_TEMPLATE_KEYS.to_owned(), keys);
    let instance = validate(&object).unwrap();
    let metadata = manifest(&instance, &tls(&instance)).unwrap().object.metadata;
    let labels = metadata.labels.clone().unwrap();
    assert_eq!(
        (labels["team"].as_str(), labels["app.kubernetes.io/name"].as_str()),
        ("b", "tiproxy")
    );
    assert_eq!(
        metadata.annotations.clone().unwrap()["prometheus.io/scrape"],
        "false"
    );
    assert_eq!(instance.template_metadata.patch_of(&metadata), None);
}

#[test]
fn what_the_operator_depends_on_stays() {
    for (spec, message) in [
        (
            json!({"containers": [{"name": "tiproxy", "$patch": "delete"}]}),
            "containers: the container tiproxy runs TiProxy and must stay",
        ),
        (
            json!({"containers": [{"$patch": "replace"}, {"name": "other"}]}),
            "containers: the container tiproxy runs TiProxy and must stay",
        ),
        (
            json!({"containers": "none"}),
            "containers: the container tiproxy runs TiProxy and must stay",
        ),
        (
            json!({"hostname": "other"}),
            "hostname: it is part of the address of the TiProxy and must stay web-tiproxy-0",
        ),
        (
            json!({"subdomain": null}),
            "subdomain: it is part of the address of the TiProxy and must stay web-tiproxy-peer",
        ),
        (
            tiproxy_container(&json!({"command": ["/bin/tiproxy"]})),
            "containers[0].command: command and args must hold --config /etc/tiproxy/config.toml, where the operator \
             puts the configuration",
        ),
        (
            tiproxy_container(&json!({"ports": [{"containerPort": 6000, "$patch": "delete"}]})),
            "containers[0].ports: Services and probes use the port mysql-client with the number 6000, which must stay; \
             set spec.template.spec.server.port to change it",
        ),
        (
            tiproxy_container(&json!({"ports": [{"containerPort": 3080, "name": "http"}]})),
            "containers[0].ports: Services and probes use the port api with the number 3080, which must stay; set \
             spec.template.spec.server.port to change it",
        ),
        (
            tiproxy_container(&json!({"volumeMounts": [{"mountPath": "/etc/tiproxy", "name": "mine"}]})),
            "containers[0].volumeMounts: the volume ti-config must stay mounted at /etc/tiproxy, and nothing over its \
             file",
        ),
        (
            tiproxy_container(
                &json!({"volumeMounts": [{"mountPath": "/etc/tiproxy/config.toml", "name": "mine"}]}),
            ),
            "containers[0].volumeMounts: the volume ti-config must stay mounted at /etc/tiproxy, and nothing over its \
             file",
        ),
        (
            json!({"volumes": [{"name": "ti-config", "emptyDir": {}}]}),
            "volumes: the volume ti-config holds the configuration and must stay the whole ConfigMap web-tiproxy-0",
        ),
        (json!({"$patch": "delete"}), " it removes the whole Pod"),
    ] {
        let dot = if message.starts_with(' ') { ":" } else { "." };
        assert_eq!(
            refused(&spec),
            format!("spec.template.spec.overlay.pod.spec{dot}{message}"),
            "{spec}"
        );
    }
    for spec in [
        json!({"command": ["/bin/sh", "-c", "exec", "--config=/etc/tiproxy/config.toml"]}),
        json!({"command": ["/bin/tiproxy"], "args": ["--config", "/etc/tiproxy/config.toml"]}),
        json!({"volumeMounts": [{"mountPath": "/etc/tiproxy", "readOnly": false}, {"mountPath": "/etc/other", "name": "x"}]}),
    ] {
        made(&tiproxy_container(&spec));
    }
}

proptest! {
    #[test]
    fn whatever_is_laid_over_the_container_stays_or_is_refused(
        field in proptest::sample::select(vec!["name", "command", "args", "ports", "volumeMounts", "image"]),
        value in proptest::sample::select(vec![
            json!(null), json!(1), json!("x"), json!([]), json!({}), json!({"$patch": "delete"}), json!([{"$patch": "replace"}]),
            json!(["--config"]), json!([{"containerPort": 6000, "$patch": "delete"}]), json!([{"mountPath": "/etc/tiproxy"}]),
        ]),
        list in proptest::sample::select(vec!["containers", "initContainers", "volumes"]),
    ) {
        let overlay = json!({ "spec": {list: [{"name": "tiproxy", field: value}]} });
        if let Ok(instance) = validate(&with(&overlay, &json!({}))) {
            let body = manifest(&instance, &tls(&instance)).unwrap().body().clone();
            let (_, container) = named(&body["spec"], "containers", "tiproxy").unwrap();
            prop_assert!(names_config(container, "/etc/tiproxy/config.toml"));
            prop_assert_eq!(ports(&body["spec"]).count(), 2);
        }
    }
}
