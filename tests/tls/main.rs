//! What the operator makes of each combination of TLS. That TiProxy runs with it, and that the probe finds it ready, is
//! shown by the tests of the stand-in; that the API server admits it, by the tests against a cluster.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod combination;

use combination::Combination;

#[test]
fn each_combination_of_tls_has_the_pod_and_the_configuration_that_it_had() {
    for combination in Combination::all() {
        let rendered = combination.rendered();
        insta::assert_yaml_snapshot!(format!("{}-pod", combination.name()), rendered.pod);
        insta::assert_snapshot!(format!("{}-config", combination.name()), rendered.config);
    }
}
