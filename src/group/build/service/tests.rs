//! The two Services, and what is replaced in those that the API server has filled in.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::group::testing::group;

/// The group's client Service with these options.
fn wanted(options: &Value) -> Service {
    client(&group(&json!({"service": options})))
}

/// A Service as the API server answers it: what it fills in at creation and at a change of the type.
fn stored(mut service: Service) -> Service {
    service.metadata.uid = Some("uid".to_owned());
    service.metadata.resource_version = Some("7".to_owned());
    let spec = service.spec.as_mut().unwrap();
    let text = |value: &str| Some(value.to_owned());
    let outside = spec.type_.as_deref().is_some_and(|kind| kind != "ClusterIP");
    spec.type_ = spec.type_.clone().or(text("ClusterIP"));
    spec.cluster_ip = spec.cluster_ip.clone().or(text("10.0.0.7"));
    spec.cluster_ips = Some(spec.cluster_ip.clone().into_iter().collect());
    spec.ip_families = Some(vec!["IPv4".to_owned()]);
    spec.internal_traffic_policy = spec.internal_traffic_policy.clone().or(text("Cluster"));
    spec.session_affinity = spec.session_affinity.clone().or(text("None"));
    if spec.session_affinity.as_deref() == Some("ClientIP") && spec.session_affinity_config.is_none() {
        spec.session_affinity_config =
            serde_json::from_value(json!({"clientIP": {"timeoutSeconds": 10800}})).unwrap();
    }
    if outside {
        spec.external_traffic_policy = spec.external_traffic_policy.clone().or(text("Cluster"));
        for (port, number) in spec.ports.iter_mut().flatten().zip(31000..) {
            port.node_port = port.node_port.or(Some(number));
        }
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports = Some(true);
        service.status =
            serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}})).unwrap();
    }
    // Empty maps do not come back.
    for map in [&mut service.metadata.labels, &mut service.metadata.annotations] {
        *map = map.take().filter(|map| !map.is_empty());
    }
    service
}

fn every_option() -> Vec<Value> {
    vec![
        json!({}),
        json!({"annotations": {"cloud.example/scheme": "internal"}, "labels": {"team": "a"}}),
        json!({"internalTrafficPolicy": "Local"}),
        json!({"sessionAffinity": "ClientIP"}),
        json!({"sessionAffinity": "None"}),
        json!({"ipFamilyPolicy": "SingleStack"}),
        json!({"ipFamilyPolicy": "RequireDualStack"}),
        json!({"type": "NodePort"}),
        json!({"type": "NodePort", "nodePorts": {"sql": 30400}, "externalTrafficPolicy": "Local"}),
        json!({"type": "LoadBalancer"}),
        json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/nlb", "externalTrafficPolicy": "Cluster"}),
        json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"], "nodePorts": {"sql": 30401}}),
    ]
}

#[test]
fn what_the_api_server_fills_in_is_no_difference() {
    for options in every_option() {
        let desired = wanted(&options);
        assert_eq!(replacement(&stored(desired.clone()), &desired), None, "{options}");
    }
    let desired = peer(&group(&json!({})));
    assert_eq!(replacement(&stored(desired.clone()), &desired), None);
}

#[test]
fn from_any_options_to_any_other_is_one_replacement_with_the_same_end() {
    for before in every_option() {
        for after in every_option() {
            let found = stored(wanted(&before));
            let desired = wanted(&after);
            let replaced = replacement(&found, &desired).unwrap_or_else(|| found.clone());
            check_acceptable(&replaced, &format!("{before} -> {after}"));
            let replaced = stored(replaced);
            assert_eq!(replacement(&replaced, &desired), None, "{before} -> {after}");

            // But for what is allocated, nothing tells where it came from.
            let mut end = stored(desired).spec.unwrap();
            let mut spec = replaced.spec.unwrap();
            if after["loadBalancerClass"].is_null() && after["type"] == "LoadBalancer" {
                // A class cannot be taken away while the type stays; the API server would refuse it.
                spec.load_balancer_class = None;
            }
            for spec in [&mut end, &mut spec] {
                for port in spec.ports.iter_mut().flatten() {
                    port.node_port = port.node_port.filter(|_| after["nodePorts"].is_object());
                }
            }
            assert_eq!(spec, end, "{before} -> {after}");
            let own: Vec<String> = desired_keys(&after);
            let annotations = replaced.metadata.annotations.unwrap_or_default();
            let found: Vec<String> = annotations
                .into_keys()
                .filter(|key| key.starts_with("cloud"))
                .collect();
            assert_eq!(found, own, "{before} -> {after}");
        }
    }
}

fn desired_keys(options: &Value) -> Vec<String> {
    let annotations = options["annotations"].as_object();
    annotations
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// What the API server refuses.
fn check_acceptable(service: &Service, what: &str) {
    let spec = service.spec.as_ref().unwrap();
    let kind = spec.type_.as_deref().unwrap();
    assert!(
        kind != "ClusterIP" || spec.external_traffic_policy.is_none(),
        "{what}"
    );
    assert!(
        kind == "LoadBalancer" || spec.load_balancer_class.is_none(),
        "{what}"
    );
    assert!(
        kind == "LoadBalancer" || spec.allocate_load_balancer_node_ports.is_none(),
        "{what}"
    );
    assert!(
        kind == "LoadBalancer" || spec.load_balancer_source_ranges.is_none(),
        "{what}"
    );
    let affine = spec.session_affinity.as_deref() == Some("ClientIP");
    assert!(affine || spec.session_affinity_config.is_none(), "{what}");
    let has_node_ports = spec.ports.iter().flatten().any(|port| port.node_port.is_some());
    assert!(kind != "ClusterIP" || !has_node_ports, "{what}");
    assert_eq!(spec.cluster_ip.as_deref(), Some("10.0.0.7"), "{what}: immutable");
}

fn names(service: &Service) -> Vec<String> {
    let ports = service.spec.as_ref().unwrap().ports.clone().unwrap();
    ports.into_iter().filter_map(|port| port.name).collect()
}

#[test]
fn the_api_port_is_not_offered_to_the_outside() {
    assert_eq!(names(&wanted(&json!({}))), ["mysql-client", "api"]);
    for kind in ["NodePort", "LoadBalancer"] {
        assert_eq!(names(&wanted(&json!({"type": kind}))), ["mysql-client"]);
    }
}

#[test]
fn allocated_node_ports_are_kept_and_fixed_ones_win() {
    let sql = |service: &Service| service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].node_port;
    let found = stored(wanted(&json!({"type": "NodePort"})));
    assert_eq!(sql(&found), Some(31000));
    let balanced = replacement(&found, &wanted(&json!({"type": "LoadBalancer"}))).unwrap();
    assert_eq!(sql(&balanced), Some(31000));
    let fixed = replacement(
        &found,
        &wanted(&json!({"type": "NodePort", "nodePorts": {"sql": 30400}})),
    )
    .unwrap();
    assert_eq!(sql(&fixed), Some(30400));
    assert_eq!(sql(&replacement(&found, &wanted(&json!({}))).unwrap()), None);
}

#[test]
fn drift_is_put_right_and_what_others_set_stays() {
    let desired = wanted(&json!({"labels": {"team": "a"}}));
    let found = stored(desired.clone());
    let mut drifted = found.clone();
    let spec = drifted.spec.as_mut().unwrap();
    spec.selector
        .as_mut()
        .unwrap()
        .insert("extra".to_owned(), "1".to_owned());
    spec.ports.as_mut().unwrap()[0].port = 1;
    spec.external_ips = Some(vec!["192.0.2.1".to_owned()]);
    // The API server adds this to whatever has external addresses.
    spec.external_traffic_policy = Some("Cluster".to_owned());
    drifted.labels_mut().remove("team");
    drifted.labels_mut().remove("pingcap.com/group");
    drifted.labels_mut().insert("mine".to_owned(), "1".to_owned());
    drifted
        .annotations_mut()
        .insert("mine".to_owned(), "1".to_owned());

    let mut expected = found.clone();
    let spec = expected.spec.as_mut().unwrap();
    spec.external_ips = Some(vec!["192.0.2.1".to_owned()]);
    spec.external_traffic_policy = Some("Cluster".to_owned());
    expected.labels_mut().insert("mine".to_owned(), "1".to_owned());
    expected
        .annotations_mut()
        .insert("mine".to_owned(), "1".to_owned());
    let replaced = replacement(&drifted, &desired).unwrap();
    assert_eq!(replaced, expected);
    assert_eq!(replacement(&replaced, &desired), None);
}

#[test]
fn a_user_cannot_take_the_operators_labels() {
    let service =
        wanted(&json!({"labels": {"pingcap.com/group": "other", "app.kubernetes.io/name": "x", "a": "b"}}));
    assert_eq!(service.labels()["pingcap.com/group"], "web");
    assert_eq!(service.labels()["app.kubernetes.io/name"], "tiproxy");
    assert_eq!(service.labels()["a"], "b");
}

#[test]
fn the_services_lead_where_they_should() {
    let group = group(&json!({"template": {"spec": {"server": {"port": {"sql": 4000, "api": 3081}}}}}));
    let (client, peer) = (client(&group), peer(&group));
    assert_eq!(
        (client.name_any(), peer.name_any()),
        ("web-tiproxy".to_owned(), "web-tiproxy-peer".to_owned())
    );
    let selector = |service: &Service| service.spec.as_ref().unwrap().selector.clone().unwrap();
    let pod = crate::api::name::group_labels("basic", "web");
    let selects = |service: &Service, labels: &BTreeMap<String, String>| {
        selector(service)
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    let mut serving = pod.clone();
    serving.insert(name::LABEL_SERVING.to_owned(), "true".to_owned());
    assert!(selects(&client, &serving) && !selects(&client, &pod));
    assert!(selects(&peer, &serving) && selects(&peer, &pod));
    let peer = peer.spec.unwrap();
    assert_eq!(peer.cluster_ip.as_deref(), Some("None"));
    assert_eq!(peer.publish_not_ready_addresses, Some(true));
    let ports = |spec: &ServiceSpec| {
        let ports = spec.ports.iter().flatten();
        ports
            .map(|port| (port.port, port.target_port.clone()))
            .collect::<Vec<_>>()
    };
    let named = |name: &str| Some(IntOrString::String(name.to_owned()));
    assert_eq!(ports(&peer), [(3081, named("api"))]);
    assert_eq!(
        ports(&client.spec.unwrap()),
        [(4000, named("mysql-client")), (3081, named("api"))]
    );
}
