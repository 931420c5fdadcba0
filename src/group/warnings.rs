//! What the user should know about the configuration although it can be carried out. Pure.

use super::build;
use super::validate::Group;
use crate::api::Discovery;
use crate::instance;

/// Overridden, unknown, dead and ineffective keys of the group's configuration.
#[must_use]
pub fn warnings(group: &Group, discovery: &Discovery) -> Vec<String> {
    let example = build::instance::instance(group, discovery, 0, None);
    let Ok(example) = instance::validate::validate(&example) else {
        return Vec::new();
    };
    let tls = instance::build::tls::tls(&example);
    let rendered = instance::build::config_map::rendered(&example, &tls);
    rendered.warnings.iter().map(ToString::to_string).collect()
}
