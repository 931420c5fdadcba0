//! Each field has one writer.

use serde_json::json;

use super::invariants::writers::{WRITERS, written};
use super::scenario::{GROUP, Scenario, group_with};
use crate::harness;

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn each_field_has_one_writer() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let fields = json!({
            "service": {"annotations": {"example.com/team": "a"}},
            "networkPolicy": {"enabled": true},
        });
        test.apply(&group_with(GROUP, 2, fields)).await;
        scenario.ready(GROUP).await;
        let template =
            json!({"metadata": {"annotations": {"example.com/team": "a"}}, "spec": {"version": "v1.3.2"}});
        scenario
            .change(GROUP, json!({"replicas": 1, "template": template}))
            .await;
        scenario.ready(GROUP).await;
        let written = written(&scenario.entries().await);
        let never = WRITERS
            .iter()
            .filter(|(kind, field, manager)| !written.contains(&(*kind, (*field).to_owned(), *manager)));
        assert_eq!(never.collect::<Vec<_>>(), [&("", "", ""); 0]);
        // What is more than that is held against the table here, as in every test of a group's life.
        scenario.finish().await;
    });
}
