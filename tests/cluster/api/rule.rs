//! Each rule of the API against a table of what it accepts and refuses, with the exact message.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tiproxy_operator::api::rule::{Rule, rules};

use super::manifest::{Kind, causes, field, join, set};
use super::{group_cases, template_cases};
use crate::harness::{self, Test, objects::Keep};

/// What one rule makes of values at one place.
pub(super) struct Case {
    rule: &'static str,
    /// Where the values are put, below the rule's base.
    at: &'static str,
    accepted: Vec<Value>,
    /// Values with the message that refuses them.
    refused: Vec<(Value, String)>,
}

impl Case {
    pub(super) fn new(rule: &'static str, at: &'static str) -> Self {
        Self {
            rule,
            at,
            accepted: Vec::new(),
            refused: Vec::new(),
        }
    }

    pub(super) fn accepts(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.accepted.extend(values);
        self
    }

    pub(super) fn refuses(mut self, values: impl IntoIterator<Item = Value>, message: &str) -> Self {
        let refused = values.into_iter().map(|value| (value, message.to_owned()));
        self.refused.extend(refused);
        self
    }

    /// Texts that are refused with the message of each.
    pub(super) fn refuses_texts(mut self, texts: &[&str], message: impl Fn(&str) -> String) -> Self {
        let refused = texts.iter().map(|text| (Value::from(*text), message(text)));
        self.refused.extend(refused);
        self
    }
}

pub(super) fn rule(name: &str) -> &'static Rule {
    rules()
        .find(|rule| rule.name == name)
        .unwrap_or_else(|| panic!("there is no rule {name}"))
}

fn cases() -> Vec<Case> {
    let mut cases = group_cases::cases();
    cases.extend(template_cases::cases());
    cases
}

#[test]
fn every_rule_has_accepted_and_rejected_cases() {
    let mut cases_of: BTreeMap<_, _> = rules().map(|rule| (rule.name, (0, 0))).collect();
    let mut count = |name: &str, accepted: usize, rejected: usize| {
        let counts = cases_of
            .get_mut(name)
            .unwrap_or_else(|| panic!("there is no rule {name}"));
        counts.0 += accepted;
        counts.1 += rejected;
    };
    for case in cases() {
        count(case.rule, case.accepted.len(), case.refused.len());
    }
    for transition in super::change::transitions() {
        count(
            transition.rule,
            transition.accepted.len(),
            transition.refused.len(),
        );
    }
    cases_of.retain(|_, (accepted, rejected)| *accepted == 0 || *rejected == 0);
    assert!(
        cases_of.is_empty(),
        "rules without cases of both kinds: {cases_of:?}"
    );
    let names: BTreeSet<_> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules().count(), "a name stands for one rule");
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn rules_accept_and_refuse_with_their_message() {
    harness::run(async |test| {
        for case in cases() {
            for kind in Kind::BOTH {
                check(test, kind, &case).await;
            }
        }
    });
}

async fn check(test: &Test, kind: Kind, case: &Case) {
    let rule = rule(case.rule);
    let Some(place) = kind.place(rule.base) else {
        return;
    };
    let manifest = |value: &Value| {
        let mut manifest = kind.smallest("web");
        set(&mut manifest, &join(place, case.at), value.clone());
        manifest
    };
    for value in &case.accepted {
        let object = test
            .create(&manifest(value), Keep::No)
            .await
            .unwrap_or_else(|status| panic!("{}: {kind:?} {value}: {}", case.rule, status.message));
        assert_readable(kind, &serde_json::to_value(object).unwrap());
    }
    for (value, message) in &case.refused {
        let status = test.create(&manifest(value), Keep::No).await.map_or_else(
            |status| status,
            |_| panic!("{}: {kind:?} {value} is accepted", case.rule),
        );
        let expected = [(field(kind, rule), message.clone())];
        assert_eq!(causes(&status), expected, "{}: {kind:?} {value}", case.rule);
    }
}

/// What the API server accepts, the operator must read, and without loss.
pub(super) fn assert_readable(kind: Kind, object: &Value) {
    let read = kind.through_types(object);
    assert_eq!(read["spec"], object["spec"]);
}
