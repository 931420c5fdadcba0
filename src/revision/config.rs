//! The part of TiProxy's configuration that a Pod cannot follow.

use std::collections::BTreeMap;

use super::config_key::{AT_THE_START, WHILE_IT_RUNS};
use crate::api::template::{ConfigUpdateStrategy, TiProxyTemplateSpec};
use crate::proxy_config::{label_path, meaning, text_in_meaning};

const LABEL_NAME: &str = "balance.label-name";
const TRAFFIC_REPLAY: &str = "enable-traffic-replay";

/// What counts of the configuration, by key: what differs from its default, however it is written.
///
/// Keys that the operator sets are passed over, with what they come from in the spec counting instead; so are keys that
/// no known TiProxy reads: a new Pod for their sake would cut clients for nothing.
pub(super) fn of(template: &TiProxyTemplateSpec) -> BTreeMap<String, String> {
    let text = template.config.as_deref().unwrap_or_default();
    let strategy = template
        .update_strategy
        .as_ref()
        .and_then(|strategy| strategy.config);
    if strategy != Some(ConfigUpdateStrategy::Restart) {
        return meaning(text, AT_THE_START.iter().copied());
    }
    let mut config = meaning(text, AT_THE_START.iter().chain(WHILE_IT_RUNS).copied());
    lay_fields_over(&mut config, template);
    config
}

/// What fields set wins over the text, as it does in the rendered file.
fn lay_fields_over(config: &mut BTreeMap<String, String>, template: &TiProxyTemplateSpec) {
    let labels = template.server.as_ref().and_then(|server| server.labels.as_ref());
    for (name, value) in labels.into_iter().flatten() {
        let path = label_path(name);
        if value.is_empty() {
            config.remove(&path);
        } else {
            config.insert(path, text_in_meaning(value));
        }
    }
    let balance = template.balance.as_ref();
    if let Some(label_name) = balance.and_then(|balance| balance.label_name.as_deref()) {
        config.insert(LABEL_NAME.to_owned(), text_in_meaning(label_name));
    }
    let replay = template.traffic_replay.as_ref();
    if replay.and_then(|replay| replay.enabled) == Some(true) {
        config.insert(TRAFFIC_REPLAY.to_owned(), true.to_string());
    }
}
