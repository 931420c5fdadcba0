//! What the rules of a TiProxy's template accept and refuse, in a group and in a TiProxy.

use serde_json::{Value, json};

use super::group_cases::labels;
use super::rule::Case;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = images();
    cases.extend(servers());
    cases.extend(volumes());
    cases.extend(probes());
    cases.extend(overlays());
    cases.extend(labels(
        "overlay-label-keys",
        "overlay-label-values",
        "overlay",
        |labels| json!({"pod": {"metadata": {"labels": labels}}}),
    ));
    cases
}

fn images() -> Vec<Case> {
    let good = [
        "v1.3.2",
        "1.3.2",
        "0.0.0",
        "8.5.0-alpha.1",
        "v1.0.0-0.a-b",
        "v10.20.30",
    ];
    let bad = [
        "1",
        "1.2",
        "01.2.3",
        "v1.2.3.4",
        "latest",
        "v1.2.3+build",
        "V1.2.3",
        "v1.2.3-",
        "v1.2.3-01",
        " v1.2.3",
    ];
    vec![
        Case::new("version", "version")
            .accepts(good.map(Value::from))
            .refuses_texts(&bad, |version| {
                format!(
                    "version: \"{version}\" must be a semantic version that can be an image tag, such as v1.3.2, \
                     without \"+\""
                )
            }),
        Case::new("image", "image")
            .accepts([json!("pingcap/tiproxy"), json!("example.com:5000/a/b:c@sha256:0")])
            .refuses([json!("a b"), json!(" a"), json!("a\n")], "image must not hold white space"),
    ]
}

fn servers() -> Vec<Case> {
    let same = |port: u16| {
        format!("the SQL port and the API port must differ, both are {port} (defaults: SQL 6000, API 3080)")
    };
    vec![
        Case::new("server-port-forms", "server")
            .accepts([
                json!({}),
                json!({"port": {"sql": 1}}),
                json!({"ports": {"client": {"port": 1}}}),
            ])
            .refuses(
                [
                    json!({"port": {}, "ports": {}}),
                    json!({"port": {"sql": 6000}, "ports": {"api": {"port": 3080}}}),
                ],
                "server: give either port or ports, not both",
            ),
        Case::new("server-ports-differ", "server")
            .accepts([
                json!({"port": {"sql": 3080, "api": 6000}}),
                json!({"ports": {"client": {"port": 3080}, "api": {"port": 6000}, "peer": {"port": 6000}}}),
            ])
            .refuses([json!({"port": {"sql": 4000, "api": 4000}})], &same(4000))
            .refuses(
                [
                    json!({"port": {"sql": 3080}}),
                    json!({"ports": {"client": {"port": 3080}}}),
                ],
                &same(3080),
            )
            .refuses(
                [
                    json!({"port": {"api": 6000}}),
                    json!({"ports": {"api": {"port": 6000}}}),
                ],
                &same(6000),
            ),
        Case::new("server-labels", "server")
            .accepts([json!({"labels": {"group": "oltp", "zones": "x"}})])
            .refuses(
                ["host", "region", "zone"].map(|key| json!({"labels": {"group": "oltp", key: "x"}})),
                "labels cannot contain 'host', 'region', or 'zone' keys",
            ),
        Case::new("resources-forms", "resources")
            .accepts([
                json!({}),
                json!({"cpu": 1}),
                json!({"cpu": "500m", "memory": "2Gi"}),
                json!({"requests": {"cpu": 1}, "limits": {"memory": "2Gi", "example.com/device": 1}}),
            ])
            .refuses(
                [
                    json!({"cpu": 1, "requests": {"memory": "2Gi"}}),
                    json!({"memory": "2Gi", "limits": {"memory": "2Gi"}}),
                ],
                "resources: give either cpu and memory, or requests and limits, not both",
            ),
    ]
}

fn volumes() -> Vec<Case> {
    let mount = |path: &str| json!([{"name": "log", "storage": 1, "mounts": [{"mountPath": path}]}]);
    let sub_path =
        |path: &str| json!([{"name": "log", "storage": 1, "mounts": [{"mountPath": "/a", "subPath": path}]}]);
    let named = |name: &str| json!([{"name": name, "storage": 1, "mounts": [{"mountPath": "/a"}]}]);
    let storage =
        |storage: Value| json!([{"name": "log", "storage": storage, "mounts": [{"mountPath": "/a"}]}]);
    let mut name = Case::new("volume-name", "volumes").accepts(["a", "1-a", &"a".repeat(56)].map(named));
    for bad in ["A", "a_b", "a.b", "-a", "a-"] {
        name = name.refuses(
            [named(bad)],
            &format!(
                "volume name \"{bad}\" must hold only lower-case letters, digits and \"-\", beginning and ending \
                 with a letter or digit"
            ),
        );
    }
    let mut size = Case::new("volume-storage", "volumes")
        .accepts([json!(1), json!("1"), json!("10Gi"), json!("0.5Ti"), json!("1e9")].map(storage));
    for bad in [json!(0), json!(-1), json!("0"), json!("0Gi"), json!("-1Gi")] {
        let text = bad.as_str().map_or_else(|| bad.to_string(), str::to_owned);
        size = size.refuses([storage(bad)], &format!("storage: {text} must be more than 0"));
    }
    let mut paths = Case::new("volume-mount-path", "volumes").accepts(["/", "/var/log/tiproxy"].map(mount));
    for bad in ["a", "./a", "/a:b"] {
        let message = format!("mountPath: \"{bad}\" must be an absolute path without \":\"");
        paths = paths.refuses([mount(bad)], &message);
    }
    let mut sub_paths = Case::new("volume-sub-path", "volumes")
        .accepts(["", "a", "a/b", "..a", "a..", "a/...", "."].map(sub_path));
    for bad in ["/a", "..", "../a", "a/..", "a/../b"] {
        let message = format!("subPath: \"{bad}\" must be a relative path without \"..\"");
        sub_paths = sub_paths.refuses([sub_path(bad)], &message);
    }
    vec![name, size, paths, sub_paths]
}

fn probes() -> Vec<Case> {
    let fields = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    [
        ("liveness", "liveness-timing", "liveness-success"),
        ("startup", "startup-timing", "startup-success"),
    ]
    .into_iter()
    .flat_map(|(probe, timing, success)| {
        let wrap = |fields: Value| json!({probe: fields});
        [
            Case::new(timing, "probes")
                .accepts([wrap(json!({})), wrap(json!({"enabled": false}))])
                .accepts(fields.map(|field| wrap(json!({"enabled": true, field: 1}))))
                .refuses(
                    fields.map(|field| wrap(json!({field: 1}))),
                    &format!("probes.{probe}: timing fields need enabled: true"),
                )
                .refuses(
                    fields.map(|field| wrap(json!({"enabled": false, field: 1}))),
                    &format!("probes.{probe}: timing fields need enabled: true"),
                ),
            Case::new(success, "probes")
                .accepts([wrap(json!({"enabled": true, "successThreshold": 1}))])
                .refuses(
                    [wrap(json!({"enabled": true, "successThreshold": 2}))],
                    &format!("probes.{probe}: successThreshold must be 1"),
                ),
        ]
    })
    .collect()
}

fn overlays() -> Vec<Case> {
    let labels = |key: &str| json!({"pod": {"metadata": {"labels": {"foo/bar": "x", key: "x"}}}});
    let claims = |volumes: &[&str], claims: &[&str]| {
        let volumes = volumes.iter().map(
            |name| json!({"name": name, "storage": "1Gi", "mounts": [{"mountPath": format!("/{name}")}]}),
        );
        let claims = claims.iter().map(|name| json!({"name": name, "volumeClaim": {}}));
        json!({
            "volumes": volumes.collect::<Vec<_>>(),
            "overlay": {"volumeClaims": claims.collect::<Vec<_>>()},
        })
    };
    let claims_alone = json!({"overlay": {"volumeClaims": [{"name": "a", "volumeClaim": {}}]}});
    vec![
        Case::new("overlay-pod-labels", "overlay")
            .accepts([labels("foo/baz"), labels("example.pingcap.com/a")])
            .refuses(
                [labels("pingcap.com/group")],
                "cannot overlay pod labels starting with 'pingcap.com/'",
            ),
        Case::new("overlay-pod-serving", "overlay")
            .accepts([labels("core.pingcap.com.example/serving")])
            .refuses(
                [labels("core.pingcap.com/serving")],
                "cannot overlay pod labels starting with 'core.pingcap.com/'",
            ),
        Case::new("overlay-volume-claims", "")
            .accepts([
                claims(&[], &[]),
                claims(&["a"], &[]),
                claims(&["a", "b"], &["b", "a"]),
            ])
            .refuses(
                [
                    claims(&[], &["a"]),
                    claims(&["a"], &["b"]),
                    claims(&["a"], &["a", "b"]),
                    claims_alone,
                ],
                "overlay volumeClaims names must exist in volumes",
            ),
    ]
}
