//! The samples: each is accepted as it stands, and says what it should.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use tiproxy_operator::api::Cluster;

use super::manifest::{Kind, documents};
use crate::harness::cluster::repository;
use crate::harness::{self, Test};

/// The manifest as the RFC has it, with its placeholders.
const RFC: &str = r"
apiVersion: core.pingcap.com/v1alpha1
kind: TiProxyGroup
metadata:
  name: tiproxy
spec:
  cluster:
    name: basic
  replicas: 3
  schedulePolicies: <>
  template:
    spec:
      image: <>
      version: <>
      volumes: []
      updateStrategy: <>
      resources: <>
      probes: <>
      config: <>
      preStop:
        sleepSeconds: 10
      server:
        port:
          sql: 6000
          api: 3080
      security:
        tls:
          mysql:
            enabled: true
          backend:
            enabled: true
";

fn samples() -> Vec<PathBuf> {
    let directory = std::fs::read_dir(repository("config/samples")).expect("the samples are there");
    let mut files: Vec<_> = directory.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_rfc_sample_fills_in_placeholders_only() {
    let sample = std::fs::read_to_string(repository("config/samples/rfc.yaml")).unwrap();
    let (rfc, sample) = (documents(RFC), documents(&sample));
    assert_eq!(sample.len(), 1);
    let mut differences = Vec::new();
    compare("", &rfc[0], &sample[0], &mut differences);
    assert!(differences.is_empty(), "{differences:?}");
}

fn compare(path: &str, rfc: &Value, sample: &Value, differences: &mut Vec<String>) {
    if let (Some(fields), Some(filled)) = (rfc.as_object(), sample.as_object()) {
        let names: BTreeSet<_> = fields.keys().chain(filled.keys()).collect();
        for name in names {
            compare(&format!("{path}.{name}"), &rfc[name], &sample[name], differences);
        }
    } else if sample.is_null() || (rfc != "<>" && rfc != sample) {
        differences.push(format!("{path}: {rfc} became {sample}"));
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn samples_apply_from_the_client() {
    harness::run(async |test| apply_all(test, &["apply", "--validate=strict"]).await);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn samples_apply_on_the_server() {
    harness::run(async |test| apply_all(test, &["apply", "--validate=strict", "--server-side"]).await);
}

async fn apply_all(test: &Test, apply: &[&str]) {
    let files = samples();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let path = file.to_str().expect("a path is text");
        let output = test.kubectl.run(&[apply, &["--filename", path]].concat()).await;
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (Some(0), ""),
            "{path}: {output:?}"
        );
        for document in documents(&std::fs::read_to_string(&file).unwrap()) {
            assert_kept(test, &document).await;
        }
        // What was applied twice is unchanged; a sample that the API server completes would differ for ever.
        let again = test.kubectl.run(&["diff", "--filename", path]).await;
        assert_eq!(again.code, Some(0), "{path}: {again:?}");
    }
}

/// What is stored is what was written: nothing lost, nothing added, and the operator can read it.
pub(super) async fn assert_kept(test: &Test, manifest: &Value) {
    let name = manifest["metadata"]["name"].as_str().unwrap();
    let stored = test.dynamic(manifest).get(name).await.unwrap();
    let stored = serde_json::to_value(stored).unwrap();
    let kind = match manifest["kind"].as_str().unwrap() {
        "TiProxyGroup" => Kind::Group,
        "TiProxy" => Kind::Instance,
        "Cluster" => {
            assert_eq!(stored["spec"], manifest["spec"], "{name}");
            serde_json::from_value::<Cluster>(stored).unwrap();
            return;
        }
        // The API server adds its own defaults to built-in kinds.
        _ => return,
    };
    assert_eq!(stored["spec"], manifest["spec"], "{name}");
    super::rule::assert_readable(kind, &stored);
}
