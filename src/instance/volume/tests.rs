use serde_json::{Value, json};

use super::*;

fn template(volumes: &Value, overlays: &Value) -> TiProxyTemplateSpec {
    serde_json::from_value(json!({
        "version": "v1.3.2", "volumes": volumes, "overlay": {"volumeClaims": overlays},
    }))
    .unwrap()
}

fn mounted(paths: &[(&str, &str)]) -> Value {
    let mut volumes: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (volume, path) in paths {
        volumes
            .entry(volume)
            .or_default()
            .push(json!({"mountPath": path}));
    }
    volumes
        .into_iter()
        .map(|(name, mounts)| json!({"name": name, "storage": "1Gi", "mounts": mounts}))
        .collect()
}

fn overlaid(spec: &Value) -> Result<PersistentVolumeClaimSpec, String> {
    let overlays = json!([{"name": "a", "volumeClaim": {"spec": spec}}]);
    let template = template(&mounted(&[("a", "/a")]), &overlays);
    volumes(&template, "web-tiproxy-0")
        .map(|mut volumes| volumes.remove(0).overlay)
        .map_err(|error| error.to_string())
}

#[test]
fn a_claim_is_named_after_volume_and_pod() {
    let template = template(&mounted(&[("data", "/a"), ("log", "/b")]), &json!([]));
    let claims = volumes(&template, "web-tiproxy-3").unwrap();
    let claims: Vec<_> = claims.iter().map(|volume| volume.claim.as_str()).collect();
    assert_eq!(claims, ["data-web-tiproxy-3", "log-web-tiproxy-3"]);
}

#[test]
fn paths_that_are_in_the_way_are_refused_before_anything_is_touched() {
    for (paths, message) in [
        (&[("a", "/a"), ("b", "/b"), ("b", "/a/b")][..], None),
        (
            &[("a", "/etc/tiproxy-data"), ("b", "/binary"), ("c", "/var/lib")],
            None,
        ),
        (
            &[("a", "/x"), ("b", "/x")],
            Some(
                "spec.template.spec.volumes: mountPath /x stands in volume a and in volume b; a path can be mounted once",
            ),
        ),
        (
            &[("a", "/x"), ("b", "//x/./")],
            Some(
                "spec.template.spec.volumes: mountPath //x/./ stands in volume a and in volume b; a path can be mounted once",
            ),
        ),
        (
            &[("a", "/etc/tiproxy/")],
            Some(
                "spec.template.spec.volumes[a]: mountPath /etc/tiproxy/ is in the way of /etc/tiproxy, which TiProxy needs; \
                 choose another path",
            ),
        ),
        (
            &[("a", "/var/lib/tiproxy-sql-tls/x")],
            Some(
                "spec.template.spec.volumes[a]: mountPath /var/lib/tiproxy-sql-tls/x is in the way of \
                 /var/lib/tiproxy-sql-tls, which TiProxy needs; choose another path",
            ),
        ),
        (
            &[("a", "/")],
            Some(
                "spec.template.spec.volumes[a]: mountPath / is in the way of /bin/tiproxy, which TiProxy needs; choose \
                 another path",
            ),
        ),
    ] {
        let found = volumes(&template(&mounted(paths), &json!([])), "pod").err();
        assert_eq!(
            found.map(|error| error.to_string()).as_deref(),
            message,
            "{paths:?}"
        );
    }
}

#[test]
fn the_overlay_of_a_claim_is_taken_where_it_leads_somewhere() {
    let taken = json!({
        "accessModes": ["ReadWriteMany"], "volumeName": "pv", "selector": {"matchLabels": {"a": "b"}},
        "dataSource": {"kind": "PersistentVolumeClaim", "name": "old"},
        "dataSourceRef": {"apiGroup": "example.com", "kind": "Backup", "name": "b"},
    });
    assert_eq!(serde_json::to_value(overlaid(&taken).unwrap()).unwrap(), taken);
    let ignored = json!({"resources": {}, "storageClassName": "x", "volumeMode": "Block", "colour": "red"});
    assert_eq!(overlaid(&ignored).unwrap(), PersistentVolumeClaimSpec::default());
    for (spec, part) in [
        (json!({"accessModes": 5}), "invalid type"),
        (
            json!({"selector": {"matchLabel": {"a": "b"}}}),
            "it has a field that a PersistentVolumeClaim does not have",
        ),
    ] {
        let message = overlaid(&spec).unwrap_err();
        let path = "spec.template.spec.overlay.volumeClaims[a].volumeClaim.spec: ";
        assert!(message.starts_with(path) && message.contains(part), "{message}");
    }
}

#[test]
fn what_has_no_effect_is_named_with_the_reason() {
    let overlays = json!([{"name": "a", "volumeClaim": {
        "metadata": {
            "labels": {"team": "a", "pingcap.com/group": "x", "app.kubernetes.io/name": "x"},
            "annotations": {"note": "a", "core.pingcap.com/topology": "{}"},
        },
        "spec": {"accessModes": [], "colour": "red", "resources": {}, "storageClassName": "x", "volumeMode": "Block"},
    }}]);
    let path = "spec.template.spec.overlay.volumeClaims[a].volumeClaim";
    let ours = "it belongs to the operator, which sets it itself";
    assert_eq!(
        without_effect(&template(&mounted(&[("a", "/a")]), &overlays)),
        [
            format!("{path}.spec.colour (a PersistentVolumeClaim has no such field)"),
            format!("{path}.spec.resources (the size is the volume's storage)"),
            format!("{path}.spec.storageClassName (the volume has a field of this name)"),
            format!("{path}.spec.volumeMode (what is mounted at a path has a file system)"),
            format!("{path}.metadata.labels[app.kubernetes.io/name] ({ours})"),
            format!("{path}.metadata.labels[pingcap.com/group] ({ours})"),
            format!("{path}.metadata.annotations[core.pingcap.com/topology] ({ours})"),
        ]
    );
}

#[test]
fn the_topology_of_a_claim_is_read_as_it_was_written() {
    let topology = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let annotations = BTreeMap::from([topology_annotation(&topology)]);
    assert_eq!(topology_of(&annotations), Some(topology));
    assert_eq!(topology_of(&BTreeMap::new()), None);
    let broken = BTreeMap::from([(ANNOTATION_TOPOLOGY.to_owned(), "a".to_owned())]);
    assert_eq!(topology_of(&broken), None);
}
