//! What the user should know about the configuration although it can be carried out. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::{Resource, ResourceExt};

use super::build;
use super::validate::Group;
use crate::api::condition::ConditionType;
use crate::api::{Discovery, TiProxy};
use crate::instance;
use crate::runtime::condition;

/// Overridden, unknown, dead and ineffective keys of the group's configuration.
#[must_use]
pub fn warnings(group: &Group, discovery: &Discovery) -> Vec<String> {
    let example = build::instance::instance(group, discovery, 0, None);
    let Ok(example) = instance::validate::validate(&example) else {
        return Vec::new();
    };
    let tls = instance::build::tls::tls(&example);
    let rendered = instance::build::config_map::rendered(&example, &tls, &instance::location::Labels::new());
    rendered.warnings.iter().map(ToString::to_string).collect()
}

/// What the running TiProxies warn of, the same only once, with the first three of those that do.
#[must_use]
pub fn of_instances(instances: &[Arc<TiProxy>]) -> Vec<String> {
    const MOST_NAMES: usize = 3;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for instance in instances
        .iter()
        .filter(|instance| instance.meta().deletion_timestamp.is_none())
    {
        let conditions = instance.status.iter().flat_map(|status| &status.conditions);
        let warning = conditions
            .filter(|condition| condition.type_ == ConditionType::ConfigWarnings.as_str())
            .find(|condition| condition.status == condition::Status::True.as_str());
        if let Some(warning) = warning {
            let names = names.entry(warning.message.clone()).or_default();
            names.push(instance.name_any());
        }
    }
    names
        .into_iter()
        .map(|(message, mut names)| {
            names.sort();
            let others = names.len().saturating_sub(MOST_NAMES);
            names.truncate(MOST_NAMES);
            let more = if others > 0 {
                format!(" and {others} more")
            } else {
                String::new()
            };
            format!("TiProxy {}{more}: {message}", names.join(", "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::testing::{group, instance};
    use serde_json::json;

    #[test]
    fn the_same_warning_of_several_tiproxies_is_told_once() {
        let group = group(&json!({}));
        let warned = |ordinal, status: &str, message: &str| {
            instance(
                &group,
                ordinal,
                &json!({"status": {"conditions": [{"type": "ConfigWarnings", "status": status, "reason": "x",
                    "message": message, "lastTransitionTime": "2026-11-23T09:00:00Z"}]}}),
            )
        };
        assert_eq!(of_instances(&[instance(&group, 0, &json!({}))]), [""; 0]);
        let instances = [
            warned(4, "True", "a"),
            warned(1, "True", "a"),
            warned(0, "True", "a"),
            warned(3, "False", "nothing"),
            warned(2, "True", "a"),
            warned(5, "True", "b"),
        ];
        assert_eq!(
            of_instances(&instances),
            ["TiProxy web-0, web-1, web-2 and 1 more: a", "TiProxy web-5: b"]
        );
    }
}
