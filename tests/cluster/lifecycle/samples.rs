//! The `config.toml` of every instance of every sample, against committed documents.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use tiproxy_operator::api::TiProxy;
use toml_edit::{DocumentMut, value};

use super::document::meaning;
use super::scenario::{PATIENCE, Scenario};
use crate::harness;
use crate::harness::cluster::repository;
use crate::harness::wait::{eventually, expect};
use crate::node_labels;

/// The sample, the group that it makes, its replicas, and what each of its instances is to read.
const SAMPLES: [(&str, &str, usize, &str); 4] = [
    ("rfc", "tiproxy", 3, include_str!("samples/rfc.toml")),
    (
        "rfc-association",
        "tiproxy-oltp",
        2,
        include_str!("samples/rfc-association.toml"),
    ),
    (
        "tidb-operator-v2",
        "proxy",
        2,
        include_str!("samples/tidb-operator-v2.toml"),
    ),
    (
        "external-tidb",
        "external",
        2,
        include_str!("samples/external-tidb.toml"),
    ),
];

#[test]
fn every_sample_of_a_group_has_an_expected_document() {
    let files = std::fs::read_dir(repository("config/samples")).expect("the samples are there");
    let names = files.map(|file| {
        file.unwrap()
            .path()
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    });
    // The Cluster makes no instance.
    let groups: BTreeSet<_> = names.filter(|name| name != "cluster").collect();
    let expected: BTreeSet<_> = SAMPLES.iter().map(|(sample, ..)| (*sample).to_owned()).collect();
    assert_eq!(groups, expected);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_configuration_of_every_sample_is_exactly_as_expected() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        for sample in SAMPLES.iter().map(|(sample, ..)| *sample).chain(["cluster"]) {
            let path = repository(&format!("config/samples/{sample}.yaml"));
            let path = path.to_str().expect("a path is text");
            test.kubectl
                .succeed(&["apply", "--validate=strict", "--filename", path])
                .await;
        }
        for (sample, group, replicas, expected) in SAMPLES {
            let what = format!("{sample} has its ConfigMaps");
            let config_maps = eventually(PATIENCE, &what, async || {
                let config_maps = scenario.of_group::<ConfigMap>(group).await;
                let count = config_maps.len();
                if count == replicas {
                    Ok(config_maps)
                } else {
                    Err(count.to_string())
                }
            });
            for (ordinal, (name, config_map)) in config_maps.await.into_iter().enumerate() {
                assert_eq!(name, format!("{group}-tiproxy-{ordinal}"));
                let data = config_map.data.unwrap_or_default();
                assert!(data.keys().eq(["config.toml"]), "{name}: {:?}", data.keys());
                let expected = expected
                    .replace("NAMESPACE", &test.namespace)
                    .replace("ORDINAL", &ordinal.to_string());
                let mut expected: DocumentMut = expected.parse().expect("TOML");
                if sample == "tidb-operator-v2" {
                    // Its Pods stay unbound, since nobody provides volumes here; the topology tells the zone beforehand.
                    let instance: TiProxy = scenario.get(&format!("{group}-{ordinal}")).await;
                    let topology = instance.spec.topology.expect("the sample has topologies");
                    expected["labels"]["zone"] = value(topology["topology.kubernetes.io/zone"].clone());
                } else {
                    for (label, text) in node_labels::expected(test, &name).await {
                        expected["labels"][label] = value(text);
                    }
                }
                let found = eventually(PATIENCE, "the place is written", async || {
                    let config_map = test.api::<ConfigMap>().get(&name).await.expect("it is there");
                    let text = config_map.data.unwrap_or_default()["config.toml"].clone();
                    expect(
                        text.contains("zone") || !expected.to_string().contains("zone"),
                        text,
                    )
                })
                .await;
                let (found, expected) = (meaning(&found), meaning(&expected.to_string()));
                let missing: Vec<_> = expected.difference(&found).collect();
                let surplus: Vec<_> = found.difference(&expected).collect();
                assert!(
                    missing.is_empty() && surplus.is_empty(),
                    "{name} lacks {missing:#?} and has {surplus:#?}"
                );
            }
        }
        scenario.verdict().await;
    });
}
