//! The Pod and the `ConfigMap` of whole manifests, from group to bytes, as snapshots. A change of one is a change of
//! what users get: look at it, and at whether Pods that run may stay (`src/revision.rs` decides that).

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::config_map::config_map;
use super::pod::pod;
use super::tls::tls;
use super::volume::claim;
use crate::api::Discovery;
use crate::api::group::VolumeRetention;
use crate::group::build::instance::instance as instance_of;
use crate::group::plan::Topology;
use crate::group::testing::group;
use crate::instance::location::Location;
use crate::instance::validate::validate;

fn discovery() -> Discovery {
    Discovery {
        pd_addrs: vec!["basic-pd.ns.svc:2379".to_owned()],
        ..Discovery::default()
    }
}

/// The first TiProxy's Pod, and its `ConfigMap` as metadata and text.
fn made(spec: &Value, discovery: &Discovery) -> (Value, String) {
    let mut object = instance_of(&group(spec), discovery, 0, None);
    object.metadata.uid = Some("uid-0".to_owned());
    let instance = validate(&object).unwrap();
    let tls = tls(&instance);
    let pod = serde_json::to_value(pod(&instance, &tls)).unwrap();
    let config_map = config_map(&instance, &tls, &Location::of(&instance, None, None));
    for part in ["name", "namespace", "labels", "ownerReferences"] {
        let metadata = serde_json::to_value(&config_map.metadata).unwrap();
        if part != "labels" {
            assert_eq!(metadata[part], pod["metadata"][part]);
        }
    }
    let data = config_map.data.unwrap();
    assert_eq!(data.len(), 1);
    (pod, data["config.toml"].clone())
}

macro_rules! check {
    ($name:literal, $spec:expr, $discovery:expr) => {
        let (pod, config) = made(&$spec, &$discovery);
        insta::assert_yaml_snapshot!(concat!($name, "-pod"), pod);
        insta::assert_snapshot!(concat!($name, "-config"), config);
    };
}

fn template(template: &Value) -> Value {
    json!({"template": {"spec": template}})
}

#[test]
fn plain() {
    check!("plain", json!({}), discovery());
}

#[test]
fn the_manifest_of_the_rfc() {
    let spec = json!({"cluster": {"name": "basic"}, "replicas": 3, "schedulePolicies": [], "template": {"spec": {
        "version": "v1.3.2", "image": "pingcap/tiproxy",
        "server": {"port": {"sql": 6000, "api": 3080}, "labels": {"group": "oltp"}},
        "config": "[log]\nlevel = \"warn\"\n",
        "security": {"tls": {"mysql": {"enabled": true}, "backend": {"enabled": true}}},
    }}});
    check!("rfc", spec, discovery());
}

#[test]
fn ports_and_probe_in_the_form_of_tidb_operator() {
    let spec = template(&json!({
        "server": {"ports": {"client": {"port": 4000}, "api": {"port": 3090}, "peer": {"port": 3081}}},
        "probes": {"readiness": {"type": "command", "initialDelaySeconds": 7, "periodSeconds": 9}},
    }));
    check!("v2", spec, discovery());
}

#[test]
fn cluster_tls_with_a_ca_of_its_own() {
    let mut discovery = discovery();
    discovery.tls = Some(true);
    discovery.cluster_domain = Some("cluster.local".to_owned());
    let spec = template(&json!({"security": {"tls": {"cluster": {"ca": {"name": "our-ca"}}}}}));
    check!("cluster-tls", spec, discovery);
}

#[test]
fn mutual_tls_to_tidb() {
    let spec = template(&json!({"security": {"tls": {"backend": {
        "enabled": true, "mutual": true, "ca": {"name": "tidb-ca"}, "certKeyPair": {"name": "tidb-client"},
    }}}}));
    check!("mutual", spec, discovery());
}

#[test]
fn an_api_that_demands_a_certificate_is_probed_by_tcp() {
    let spec = template(
        &json!({"security": {"tls": {"server": {"enabled": true, "clientAuth": "RequireClientCert"}}}}),
    );
    check!("require-client-cert", spec, discovery());
}

#[test]
fn everything_beside() {
    let spec = json!({"template": {
        "metadata": {
            "labels": {"team": "a", "pingcap.com/group": "not ours to change"},
            "annotations": {"prometheus.io/scrape": "false", "pingcap.com/restartedAt": "yesterday"},
        },
        "spec": {
            "image": "registry:5000/tiproxy@sha256:0", "balance": {"labelName": "group"},
            "trafficReplay": {"enabled": true}, "preStop": {"sleepSeconds": 0},
            "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2, "memory": "2Gi"}},
            "probes": {"liveness": {"enabled": true, "failureThreshold": 5}, "startup": {"enabled": true}},
            "config": "[proxy]\ngraceful-wait-before-shutdown = 20\ngraceful-close-conn-timeout = 40\n",
        },
    }});
    check!("everything", spec, discovery());
}

#[test]
fn volumes() {
    let spec = json!({"template": {"spec": {
        "volumes": [
            {"name": "data", "storage": "10Gi", "storageClassName": "fast", "volumeAttributesClassName": "gold",
                "mounts": [{"mountPath": "/var/lib/data", "subPath": "a"}, {"mountPath": "/backup", "subPath": "b"}]},
            {"name": "log", "storage": 5, "mounts": [{"mountPath": "/var/log/tiproxy", "type": "log"}]},
        ],
        "overlay": {"volumeClaims": [{"name": "log", "volumeClaim": {
            "metadata": {
                "labels": {"team": "a", "pingcap.com/group": "not ours to change"},
                "annotations": {"note": "a", "core.pingcap.com/topology": "nor this"},
            },
            "spec": {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Ti"}}},
        }}]},
    }}});
    check!("volumes", spec, discovery());
    let mut object = instance_of(&group(&spec), &discovery(), 0, None);
    object.metadata.uid = Some("uid-0".to_owned());
    object.spec.topology = Some([("zone".to_owned(), "a".to_owned())].into());
    let instance = validate(&object).unwrap();
    let claims: Vec<_> = instance
        .volumes
        .iter()
        .map(|volume| claim(&instance, volume))
        .collect();
    insta::assert_yaml_snapshot!("volumes-claims", claims);

    // Those that are kept differ in nothing but their owner.
    object.spec.volume_retention = Some(VolumeRetention::Retain);
    let kept = validate(&object).unwrap();
    for (volume, mut owned) in kept.volumes.iter().zip(claims) {
        assert!(owned.metadata.owner_references.take().is_some());
        assert_eq!(claim(&kept, volume), owned);
    }
}

/// What a part of the Pod is for a template.
fn part(spec: &Value, pointer: &str) -> Value {
    let (pod, _) = made(&template(spec), &discovery());
    pod.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn resources_in_both_forms() {
    let resources = |spec: Value| part(&json!({"resources": spec}), "/spec/containers/0/resources");
    let both = json!({"cpu": "1", "memory": "2Gi"});
    assert_eq!(resources(both.clone()), json!({"requests": both, "limits": both}));
    assert_eq!(
        resources(json!({"cpu": 1})),
        json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})
    );
    assert_eq!(
        resources(json!({"limits": {"memory": "1Gi"}})),
        json!({"limits": {"memory": "1Gi"}})
    );
    let environment = |spec: Value| part(&json!({"resources": spec}), "/spec/containers/0/env/0/name");
    assert_eq!(environment(json!({"cpu": 1})), "GOMAXPROCS");
    assert_eq!(environment(json!({"requests": {"cpu": 1}})), Value::Null);
}

/// `[security]` of the configuration for `security.tls`.
fn security(tls: &Value, cluster_tls: bool) -> Value {
    let mut discovery = discovery();
    discovery.tls = cluster_tls.then_some(true);
    let (_, config) = made(&template(&json!({"security": {"tls": tls}})), &discovery);
    let document: toml_edit::DocumentMut = config.parse().unwrap();
    document.get("security").map(json_of).unwrap_or_default()
}

/// What is off is written too, as an empty text or `false`; here it is left out.
fn json_of(item: &toml_edit::Item) -> Value {
    if let Some(table) = item.as_table_like() {
        let entries = table.iter().map(|(key, item)| (key.to_owned(), json_of(item)));
        let entries: serde_json::Map<_, _> = entries.filter(|(_, value)| !value.is_null()).collect();
        return Value::from(Some(entries).filter(|entries| !entries.is_empty()));
    }
    if let Some(on) = item.as_bool() {
        return Value::from(Some(on).filter(|on| *on));
    }
    let text = item.as_str().unwrap();
    Value::from(Some(text).filter(|text| !text.is_empty()))
}

#[test]
fn each_kind_of_tls_is_on_when_the_design_says_so() {
    let files = |directory: &str, files: &[&str]| {
        let path = |file: &str| format!("/var/lib/{directory}/{file}");
        let mut object = json!({});
        for file in files {
            match *file {
                "ca" => object["ca"] = json!(path("ca.crt")),
                "cert" => object["cert"] = json!(path("tls.crt")),
                "key" => object["key"] = json!(path("tls.key")),
                flag => object[flag] = json!(true),
            }
        }
        object
    };
    let sql = |names: &[&str]| json!({"server-tls": files("tiproxy-sql-tls", names)});
    let backend =
        |names: &[&str]| json!({"sql-tls": files("tiproxy-tidb-tls", names), "require-backend-tls": true});
    let on = |name: &str, more: Value| {
        let mut tls = json!({ name: {"enabled": true} });
        crate::instance::testing::lay_over(&mut tls[name], &more);
        tls
    };
    for (tls, expected) in [
        (json!({}), Value::Null),
        (
            json!({"mysql": {"enabled": false}, "backend": {"enabled": false}}),
            Value::Null,
        ),
        (on("mysql", json!({})), sql(&["ca", "cert", "key", "skip-ca"])),
        (
            on("mysql", json!({"clientAuth": "NoClientCert"})),
            sql(&["cert", "key"]),
        ),
        (
            on("mysql", json!({"clientAuth": "VerifyClientCertIfNeed"})),
            sql(&["ca", "cert", "key", "skip-ca"]),
        ),
        (
            on("mysql", json!({"clientAuth": "RequireClientCert"})),
            sql(&["ca", "cert", "key"]),
        ),
        (on("backend", json!({})), backend(&["ca"])),
        (
            on("backend", json!({"mutual": true})),
            backend(&["ca", "cert", "key"]),
        ),
        (
            on("backend", json!({"insecureSkipTLSVerify": true})),
            backend(&["skip-ca"]),
        ),
    ] {
        assert_eq!(security(&tls, false), expected, "{tls}");
    }
    let cluster = |names: &[&str], http: Option<&[&str]>| {
        let mut object = json!({"cluster-tls": files("tiproxy-tls", names)});
        if let Some(http) = http {
            object["server-http-tls"] = files("tiproxy-http-tls", http);
        }
        object
    };
    let all = ["ca", "cert", "key"];
    let welcome: &[&str] = &["ca", "cert", "key", "skip-ca"];
    for (tls, expected) in [
        (json!({}), cluster(&all, Some(welcome))),
        (json!({"server": {"enabled": false}}), cluster(&all, None)),
        (
            on("server", json!({"clientAuth": "RequireClientCert"})),
            cluster(&all, Some(&all)),
        ),
        (
            on("server", json!({"clientAuth": "NoClientCert"})),
            cluster(&all, Some(&["cert", "key"])),
        ),
        (
            json!({"cluster": {"insecureSkipTLSVerify": true}}),
            cluster(&["cert", "key", "skip-ca"], Some(welcome)),
        ),
    ] {
        assert_eq!(security(&tls, true), expected, "{tls}");
    }
}

#[test]
fn probes_follow_the_tls_of_the_api() {
    let probe = |tls: Value, kind: &str| {
        let spec = json!({"security": {"tls": tls}, "probes": {"readiness": {"type": kind}}});
        part(&spec, "/spec/containers/0/readinessProbe")
    };
    let on = |auth: &str| json!({"server": {"enabled": true, "clientAuth": auth}});
    assert_eq!(probe(json!({}), "http")["httpGet"]["scheme"], "HTTP");
    assert_eq!(
        probe(on("VerifyClientCertIfNeed"), "http")["httpGet"]["scheme"],
        "HTTPS"
    );
    assert_eq!(probe(on("NoClientCert"), "http")["httpGet"]["scheme"], "HTTPS");
    assert_eq!(probe(on("RequireClientCert"), "http")["tcpSocket"]["port"], "api");
    assert_eq!(probe(json!({}), "tcp")["tcpSocket"]["port"], "api");
    let command = probe(on("RequireClientCert"), "command")["exec"]["command"].to_string();
    for word in [
        "https://127.0.0.1:3080/api/debug/health",
        "--fail",
        "--insecure",
        "--cert",
        "--key",
    ] {
        assert!(command.contains(word), "{command}");
    }
    assert!(
        !probe(json!({}), "command")["exec"]["command"]
            .to_string()
            .contains("--insecure")
    );
}

#[test]
fn a_topology_is_demanded_and_all_else_is_a_wish() {
    let pod_in = |topology: Option<Topology>| {
        let mut object = instance_of(&group(&json!({})), &discovery(), 0, topology.as_ref());
        object.metadata.uid = Some("uid-0".to_owned());
        let instance = validate(&object).unwrap();
        pod(&instance, &tls(&instance)).spec.unwrap()
    };
    let keys = |spec: &PodSpec| -> Vec<String> {
        let constraints = spec.topology_spread_constraints.iter().flatten();
        constraints
            .inspect(|constraint| assert_eq!(constraint.when_unsatisfiable, "ScheduleAnyway"))
            .map(|constraint| constraint.topology_key.clone())
            .collect()
    };
    let free = pod_in(None);
    assert_eq!(free.node_selector, None);
    assert_eq!(
        keys(&free),
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    );
    let affinity = free.affinity.unwrap().pod_anti_affinity.unwrap();
    assert_eq!(affinity.required_during_scheduling_ignored_during_execution, None);

    let topology: Topology = [("topology.kubernetes.io/zone".to_owned(), "zone-a".to_owned())].into();
    let placed = pod_in(Some(topology.clone()));
    assert_eq!(placed.node_selector, Some(topology));
    assert_eq!(
        (keys(&placed), placed.affinity),
        (vec!["kubernetes.io/hostname".to_owned()], None)
    );
}

#[test]
fn where_a_tiproxy_goes_is_no_part_of_its_revision() {
    let group = group(&json!({}));
    let topology: Topology = [("zone".to_owned(), "a".to_owned())].into();
    let revision = |topology: Option<&Topology>| {
        validate(&instance_of(&group, &discovery(), 0, topology))
            .unwrap()
            .revision
    };
    assert_eq!(revision(Some(&topology)), revision(None));
}

#[test]
fn a_ca_and_a_pair_are_mounted_into_one_directory_from_one_secret_or_two() {
    let items = |keys: &[&str]| -> Value {
        let item = |key: &&str| json!({"key": key, "path": key});
        keys.iter().map(item).collect()
    };
    let one = |secret: &str, keys: &[&str]| json!({"secret": {"secretName": secret, "items": items(keys)}});
    let two = |ca: &str, pair: &str| {
        json!({"projected": {"sources": [
            {"secret": {"name": ca, "items": items(&["ca.crt"])}},
            {"secret": {"name": pair, "items": items(&["tls.crt", "tls.key"])}},
        ]}})
    };
    let all = ["ca.crt", "tls.crt", "tls.key"];
    let pair = ["tls.crt", "tls.key"];
    let on = |more: Value| {
        let mut tls = json!({"enabled": true});
        crate::instance::testing::lay_over(&mut tls, &more);
        tls
    };
    let ca = json!({"ca": {"name": "our-ca"}});
    let both = json!({"ca": {"name": "our-ca"}, "certKeyPair": {"name": "our-pair"}});
    let same = json!({"ca": {"name": "ours"}, "certKeyPair": {"name": "ours"}});
    let auth = |auth: &str, more: &Value| {
        let mut tls = on(more.clone());
        tls["clientAuth"] = json!(auth);
        tls
    };
    let (server, cluster) = ("web-tiproxy-server-secret", "web-tiproxy-cluster-secret");
    let tidb = "web-tiproxy-tidb-secret";
    let (sql_volume, http_volume) = ("ti-tiproxy-sql-tls", "ti-tiproxy-http-tls");
    let (pd_volume, tidb_volume) = ("ti-tls", "ti-tiproxy-tidb-tls");
    let mutual = |more: &Value| {
        let mut tls = on(more.clone());
        tls["mutual"] = json!(true);
        tls
    };
    for (tls, volume, expected) in [
        (json!({"mysql": on(json!({}))}), sql_volume, one(server, &all)),
        (
            json!({"mysql": on(ca.clone())}),
            sql_volume,
            two("our-ca", server),
        ),
        (
            json!({"mysql": on(both.clone())}),
            sql_volume,
            two("our-ca", "our-pair"),
        ),
        (json!({"mysql": on(same.clone())}), sql_volume, one("ours", &all)),
        (
            json!({"mysql": auth("NoClientCert", &both)}),
            sql_volume,
            one("our-pair", &pair),
        ),
        (
            json!({"mysql": auth("RequireClientCert", &both)}),
            sql_volume,
            two("our-ca", "our-pair"),
        ),
        (
            json!({"backend": on(json!({}))}),
            tidb_volume,
            one(tidb, &["ca.crt"]),
        ),
        (
            json!({"backend": mutual(&json!({}))}),
            tidb_volume,
            one(tidb, &all),
        ),
        (
            json!({"backend": mutual(&both)}),
            tidb_volume,
            two("our-ca", "our-pair"),
        ),
        (
            json!({"backend": mutual(&json!({"insecureSkipTLSVerify": true}))}),
            tidb_volume,
            one(tidb, &pair),
        ),
        (json!({}), pd_volume, one(cluster, &all)),
        (json!({}), http_volume, one(cluster, &all)),
        (json!({"cluster": ca}), pd_volume, two("our-ca", cluster)),
        (json!({"cluster": both}), http_volume, two("our-ca", "our-pair")),
        (
            json!({"cluster": both, "server": on(same)}),
            http_volume,
            one("ours", &all),
        ),
    ] {
        check_volume(&tls, volume, expected);
    }
}

/// The volume of this name, beside its name, and that it is mounted.
fn check_volume(tls: &Value, volume: &str, mut expected: Value) {
    let mut discovery = discovery();
    discovery.tls = Some(true);
    let (pod, _) = made(&template(&json!({"security": {"tls": tls}})), &discovery);
    let named = |list: &Value| -> Value {
        let mut items = list.as_array().unwrap().iter();
        items
            .find(|item| item["name"] == volume)
            .cloned()
            .unwrap_or_default()
    };
    expected["name"] = json!(volume);
    assert_eq!(named(&pod["spec"]["volumes"]), expected, "{tls}");
    let mount = named(&pod["spec"]["containers"][0]["volumeMounts"]);
    assert_eq!(mount["readOnly"], true, "{tls}");
}
