//! How long clients have to leave, by the template. Pure.

use crate::api::name::ANNOTATION_DRAIN_SECONDS;
use crate::api::template::{Drain, TiProxyTemplate};

/// The longest time that the schema allows, in seconds.
const LONGEST: i64 = 604_800;

/// The template's `drain` with the annotation of TiDB Operator v2, when it is a number, in the place of a timeout that is
/// not set. As there, less than nothing is nothing.
#[must_use]
pub(super) fn resolved_drain(template: &TiProxyTemplate) -> Option<Drain> {
    let drain = template.spec.drain.clone();
    let has_timeout = drain
        .as_ref()
        .is_some_and(|drain| drain.timeout_seconds.is_some());
    let seconds = annotation(template).and_then(|text| text.parse::<i64>().ok());
    match seconds {
        Some(seconds) if !has_timeout => Some(Drain {
            timeout_seconds: i32::try_from(seconds.clamp(0, LONGEST)).ok(),
            ..drain.unwrap_or_default()
        }),
        Some(_) | None => drain,
    }
}

/// What is wrong with the annotation, if it has no effect.
#[must_use]
pub(super) fn without_effect(template: &TiProxyTemplate) -> Option<String> {
    let text = annotation(template)?;
    let path = format!("spec.template.metadata.annotations[{ANNOTATION_DRAIN_SECONDS}]");
    let timeout = template
        .spec
        .drain
        .as_ref()
        .and_then(|drain| drain.timeout_seconds);
    match (timeout, text.parse::<i64>()) {
        (None, Ok(_)) => None,
        (Some(timeout), _) => Some(format!(
            "{path} (spec.template.spec.drain.timeoutSeconds {timeout} is used)"
        )),
        (None, Err(_)) => Some(format!(
            "{path} ({text:?} is no number of seconds; {} are used; set spec.template.spec.drain.timeoutSeconds)",
            template.spec.drain_timeout().as_secs()
        )),
    }
}

fn annotation(template: &TiProxyTemplate) -> Option<&str> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    annotations.get(ANNOTATION_DRAIN_SECONDS).map(|text| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(annotation: Option<&str>, timeout: Option<i32>) -> TiProxyTemplate {
        let mut template = json!({"spec": {"version": "v1.3.2"}});
        if let Some(text) = annotation {
            template["metadata"] = json!({"annotations": {ANNOTATION_DRAIN_SECONDS: text}});
        }
        if let Some(seconds) = timeout {
            template["spec"]["drain"] = json!({"timeoutSeconds": seconds, "quietSeconds": 3});
        }
        serde_json::from_value(template).unwrap()
    }

    #[test]
    fn the_annotation_stands_for_a_timeout_that_is_not_set() {
        for (annotation, timeout, expected, is_told) in [
            (None, None, 60, false),
            (None, Some(5), 5, false),
            (Some("90"), None, 90, false),
            (Some(" 90 "), None, 90, false),
            (Some("0"), None, 0, false),
            (Some("-1"), None, 0, false),
            (Some("99999999999"), None, 604_800, false),
            (Some("90s"), None, 60, true),
            (Some(""), None, 60, true),
            (Some("90"), Some(5), 5, true),
            (Some("x"), Some(0), 0, true),
        ] {
            let template = template(annotation, timeout);
            let told = without_effect(&template);
            assert_eq!(told.is_some(), is_told, "{annotation:?} {timeout:?}: {told:?}");
            let mut spec = template.spec.clone();
            spec.drain = resolved_drain(&template);
            assert_eq!(
                spec.drain_timeout().as_secs(),
                expected,
                "{annotation:?} {timeout:?}"
            );
            if timeout.is_some() {
                assert_eq!(spec.drain_quiet().as_secs(), 3);
            }
        }
    }
}
