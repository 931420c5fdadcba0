//! The page on compatibility against the schema, the lists of the RFC's and TiDB Operator v2's fields, and the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tiproxy_operator::api::crd;

const PAGE: &str = include_str!("../docs/reference/compatibility.md");

/// The fields of the RFC's manifest; those that it leaves open (`<>`) with all that stands below.
const RFC: &[&str] = &[
    "spec.cluster.name",
    "spec.replicas",
    "spec.schedulePolicies[].type",
    "spec.schedulePolicies[].evenlySpread.topologies[].{topology,weight}",
    "spec.template.spec.{image,version,config}",
    "spec.template.spec.volumes[].{name,storage,storageClassName,volumeAttributesClassName}",
    "spec.template.spec.volumes[].mounts[].{mountPath,subPath}",
    "spec.template.spec.updateStrategy.config",
    "spec.template.spec.resources.{cpu,memory}",
    "spec.template.spec.probes.readiness.type",
    "spec.template.spec.preStop.sleepSeconds",
    "spec.template.spec.server.port.{sql,api}",
    "spec.template.spec.security.tls.{mysql,backend}.enabled",
];

/// The fields of TiDB Operator v2's TiProxyGroup.
const GROUP_OF_V2: &[&str] = &[
    "spec.cluster.name",
    "spec.{features,replicas,minReadySeconds,maxSurge}",
    "spec.schedulePolicies[].type",
    "spec.schedulePolicies[].evenlySpread.topologies[].{topology,weight}",
    "spec.template.metadata.{name,labels,annotations}",
    "spec.template.spec.{version,image,config}",
    "spec.template.spec.server.ports.{client,api,peer}.port",
    "spec.template.spec.server.labels",
    "spec.template.spec.probes.readiness.type",
    "spec.template.spec.resources.{cpu,memory}",
    "spec.template.spec.updateStrategy.config",
    "spec.template.spec.security.tls.{mysql,server}.{enabled,clientAuth}",
    "spec.template.spec.security.tls.backend.{enabled,mutual}",
    "spec.template.spec.security.tls.{backend,cluster}.insecureSkipTLSVerify",
    "spec.template.spec.security.tls.{mysql,server,backend,cluster}.{ca,certKeyPair}.name",
    "spec.template.spec.volumes[].{name,storage,storageClassName,volumeAttributesClassName}",
    "spec.template.spec.volumes[].mounts[].{type,mountPath,subPath}",
    "spec.template.spec.preStop.sleepSeconds",
    "spec.template.spec.overlay.pod.metadata.{name,labels,annotations}",
    "spec.template.spec.overlay.pod.spec",
    "spec.template.spec.overlay.volumeClaims[].name",
    "spec.template.spec.overlay.volumeClaims[].volumeClaim.metadata.{name,labels,annotations}",
    "spec.template.spec.overlay.volumeClaims[].volumeClaim.spec",
    "status.{conditions,observedGeneration,observedClusterGeneration,currentRevision,updateRevision,collisionCount}",
    "status.{version,selector,replicas,readyReplicas,currentReplicas,updatedReplicas,drainingReplicas}",
];

/// The fields of TiDB Operator v2's TiProxy beside those of the group and its template.
const INSTANCE_OF_V2: &[&str] = &[
    "spec.{topology,subdomain,replicas,offline}",
    "status.{conditions,observedGeneration,observedClusterGeneration,currentRevision,updateRevision,collisionCount}",
];

struct Row {
    section: &'static str,
    cells: Vec<&'static str>,
}

impl Row {
    /// The first cell without the marks of code.
    fn subject(&self) -> String {
        self.cells[0].replace('`', "")
    }

    fn fields(&self) -> Vec<String> {
        expanded(self.subject().as_str())
    }

    fn verdict(&self) -> &'static str {
        self.cells[self.cells.len() - 3]
    }
}

/// The rows of all tables that have a column `Test`.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut section, mut in_table) = ("", false);
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            in_table = in_table && line.starts_with("|--");
            continue;
        };
        // An empty cell is one blank between two bars.
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        if cells.last() == Some(&"Test") {
            in_table = true;
        } else if in_table {
            rows.push(Row { section, cells });
        }
    }
    rows
}

/// `a.{b,c}` as `a.b` and `a.c`.
fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    let one = |choice| expanded(&format!("{before}{choice}{after}"));
    choices.split(',').flat_map(one).collect()
}

fn all(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().flat_map(|path| expanded(path)).collect()
}

/// The fields of a definition that hold no further fields. Conditions are those of Kubernetes.
fn leaves(definition: &Value) -> BTreeSet<String> {
    fn walk(path: &str, schema: &Value, leaves: &mut BTreeSet<String>) {
        let items = &schema["items"];
        if path != "status.conditions" && items["properties"].is_object() {
            return walk(&format!("{path}[]"), items, leaves);
        }
        match schema["properties"].as_object() {
            Some(properties) => {
                for (name, property) in properties {
                    walk(format!("{path}.{name}").trim_start_matches('.'), property, leaves);
                }
            }
            None => {
                leaves.insert(path.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(
        "",
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        &mut found,
    );
    found
}

fn group() -> BTreeSet<String> {
    leaves(&serde_json::to_value(crd::group().unwrap()).unwrap())
}

/// The fields of a TiProxy beside the group's and its template's.
fn instance() -> BTreeSet<String> {
    let of_group: BTreeSet<String> = group()
        .into_iter()
        .filter(|path| path.starts_with("spec."))
        .map(|path| path.replace("spec.template.spec.", "spec."))
        .collect();
    leaves(&serde_json::to_value(crd::instance().unwrap()).unwrap())
        .into_iter()
        .filter(|path| !of_group.contains(path) || path == "spec.replicas")
        .collect()
}

#[track_caller]
fn check_fields(
    section: &str,
    schema: &BTreeSet<String>,
    of_v2: &BTreeSet<String>,
    of_rfc: &BTreeSet<String>,
) {
    let mut told = BTreeMap::new();
    for row in rows().iter().filter(|row| row.section == section) {
        for field in row.fields() {
            let earlier = told.insert(field.clone(), row.cells[1]);
            assert_eq!(earlier, None, "{field} has two rows");
        }
    }
    let fields: BTreeSet<String> = told.keys().cloned().collect();
    assert_eq!(
        (
            schema.difference(&fields).collect::<Vec<_>>(),
            fields.difference(schema).collect::<Vec<_>>()
        ),
        (Vec::new(), Vec::new()),
        "fields of the schema without a row, and rows without a field"
    );
    for (field, source) in &told {
        let expected = match (of_rfc.contains(field), of_v2.contains(field)) {
            (true, true) => "RFC, v2",
            (true, false) => "RFC",
            (false, true) => "v2",
            (false, false) => "here",
        };
        assert_eq!(*source, expected, "{field}");
    }
    let mut known: Vec<_> = of_v2.union(of_rfc).collect();
    known.retain(|field| !fields.contains(*field));
    assert!(known.is_empty(), "not in the schema: {known:?}");
    println!(
        "{section}: {} fields, {} of them of v2",
        fields.len(),
        of_v2.len()
    );
}

#[test]
fn every_field_of_the_rfc_of_v2_and_of_our_own_has_a_row() {
    check_fields("TiProxyGroup", &group(), &all(GROUP_OF_V2), &all(RFC));
    check_fields("TiProxy", &instance(), &all(INSTANCE_OF_V2), &BTreeSet::new());
}

#[test]
fn every_row_has_a_verdict_and_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    collect(&root.join("src"), &mut tests);
    collect(&root.join("tests"), &mut tests);
    assert!(tests.len() > 300, "{}", tests.len());
    let rows = rows();
    for row in &rows {
        let subject = row.subject();
        assert!(
            ["same", "better", "different", "new"].contains(&row.verdict()),
            "{subject}: {}",
            row.verdict()
        );
        let named: Vec<&str> = row.cells[row.cells.len() - 1]
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        for name in &named {
            assert!(tests.contains(*name), "{subject}: there is no test {name}");
        }
        assert!(!named.is_empty(), "{subject} has no test");
    }
    println!("{} rows", rows.len());
    // Names in the text above the tables.
    let introduction = PAGE.split("\n## ").next().unwrap();
    let words = introduction.split('`').skip(1).step_by(2);
    for name in words.filter(|word| word.contains('_')) {
        assert!(tests.contains(name), "there is no test {name}");
    }
}

/// The names of all test functions below a directory.
fn collect(directory: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test = is_test || line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                if let Some(rest) = line
                    .strip_prefix("async fn ")
                    .or_else(|| line.strip_prefix("fn "))
                    && std::mem::take(&mut is_test)
                {
                    tests.extend(rest.split('(').next().map(str::to_owned));
                }
            }
        }
    }
}
