//! What the API server's refusal of the client Service means for `spec.service`. Pure.

use crate::api::service::ServiceOptions;
use crate::problem::ExecuteError;
use crate::runtime::write_error::WriteFailure;

/// A field of a Service, as the API server names it, and the field of the group that it comes from.
struct Origin {
    /// The beginning of the path in the API server's message, in lower case: it spells some with capitals.
    path: &'static str,
    /// Below `spec.service`.
    field: &'static str,
    value: fn(&ServiceOptions) -> Option<String>,
    /// What to do.
    remedy: &'static str,
}

const ORIGINS: &[Origin] = &[
    Origin {
        path: "spec.loadbalancerclass:",
        field: "loadBalancerClass",
        value: |options| options.load_balancer_class.clone(),
        remedy: "the class of a Service cannot be changed while its type is LoadBalancer: set type to ClusterIP first \
                 and to LoadBalancer with the new class afterwards, which gives the Service a new address, or set the \
                 former class again",
    },
    Origin {
        path: "spec.ipfamilypolicy:",
        field: "ipFamilyPolicy",
        value: |options| Some(options.ip_family_policy?.as_str().to_owned()),
        remedy: "set PreferDualStack, which takes what the cluster has, or SingleStack",
    },
    // What the families of a Service that exists do not allow is told by these.
    Origin {
        path: "spec.ipfamilies",
        field: "ipFamilyPolicy",
        value: |options| Some(options.ip_family_policy.unwrap_or_default().as_str().to_owned()),
        remedy: "set PreferDualStack, which takes what the cluster has, or SingleStack",
    },
    Origin {
        path: "spec.clusterips",
        field: "ipFamilyPolicy",
        value: |options| Some(options.ip_family_policy.unwrap_or_default().as_str().to_owned()),
        remedy: "set PreferDualStack, which takes what the cluster has, or SingleStack",
    },
    Origin {
        path: "spec.ports[0].nodeport:",
        field: "nodePorts.sql",
        value: |options| Some(options.node_ports.as_ref()?.sql?.to_string()),
        remedy: "choose a port of the cluster's range (30000 to 32767 unless it was changed) that no other Service has, \
                 or leave the field out",
    },
    Origin {
        path: "spec.loadbalancersourceranges",
        field: "loadBalancerSourceRanges",
        value: |options| Some(options.load_balancer_source_ranges.as_ref()?.join(", ")),
        remedy: "write each range as a network address and its length, such as 10.0.0.0/8",
    },
    Origin {
        path: "metadata.annotations",
        field: "annotations",
        value: |options| Some(keys(options.annotations.as_ref()?)),
        remedy: "correct the key or value that is named",
    },
    Origin {
        path: "metadata.labels",
        field: "labels",
        value: |options| Some(keys(options.labels.as_ref()?)),
        remedy: "correct the key or value that is named",
    },
];

fn keys(map: &std::collections::BTreeMap<String, String>) -> String {
    map.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// Adds to a refusal of the client Service which field of the group it is about, and what to do.
#[must_use]
pub fn explain(error: ExecuteError, options: &ServiceOptions) -> ExecuteError {
    let ExecuteError::Write(error) = error else {
        return error;
    };
    let is_about_content = error.reason == WriteFailure::Invalid;
    let advice = is_about_content
        .then(|| advice(&error.message, options))
        .flatten();
    match advice {
        Some(advice) => ExecuteError::Explained {
            error: Box::new(error),
            advice,
        },
        None => ExecuteError::Write(error),
    }
}

fn advice(message: &str, options: &ServiceOptions) -> Option<String> {
    let message = message.to_lowercase();
    let origin = ORIGINS.iter().find(|origin| message.contains(origin.path))?;
    let value = match (origin.value)(options) {
        Some(value) => format!("is {value}"),
        None => "is not set".to_owned(),
    };
    Some(format!(
        "spec.service.{} {value}: {}",
        origin.field, origin.remedy
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Progress, State};
    use crate::runtime::write_error::WriteError;
    use serde_json::{Value, json};

    fn told(message: &str, options: &Value) -> Progress {
        let options = serde_json::from_value(options.clone()).unwrap();
        let error = ExecuteError::Write(WriteError {
            reason: WriteFailure::Invalid,
            verb: "replace",
            kind: "Service".to_owned(),
            namespace: "ns".to_owned(),
            name: "web-tiproxy".to_owned(),
            message: message.to_owned(),
        });
        explain(error, &options).progress().unwrap()
    }

    #[test]
    fn a_refusal_names_the_field_of_the_group_its_value_and_what_to_do() {
        for (message, options, begin) in [
            (
                "Service \"web-tiproxy\" is invalid: spec.ports[0].nodePort: Invalid value: 30400: provided port is \
                 already allocated",
                json!({"nodePorts": {"sql": 30400}}),
                "spec.service.nodePorts.sql is 30400: choose",
            ),
            (
                "Service \"web-tiproxy\" is invalid: spec.loadBalancerClass: Invalid value: \"b\": may not change once set",
                json!({"loadBalancerClass": "example.com/b"}),
                "spec.service.loadBalancerClass is example.com/b: the class of a Service cannot be changed",
            ),
            (
                "Service \"web-tiproxy\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this \
                 cluster is not configured for dual-stack services",
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.service.ipFamilyPolicy is RequireDualStack: set PreferDualStack",
            ),
            (
                "Service \"web-tiproxy\" is invalid: spec.LoadBalancerSourceRanges: Invalid value: [\"x\"]: must be a \
                 list of IP ranges",
                json!({"loadBalancerSourceRanges": ["x", "10.0.0.0/8"]}),
                "spec.service.loadBalancerSourceRanges is x, 10.0.0.0/8: write",
            ),
            (
                "Service \"web-tiproxy\" is invalid: metadata.labels: Invalid value: \"a b\": name part must consist of",
                json!({"labels": {"a b": "c"}}),
                "spec.service.labels is a b: correct",
            ),
        ] {
            let progress = told(message, &options);
            assert_eq!(progress.state, State::Stalled);
            let begin = format!("cannot replace Service ns/web-tiproxy: {message}; {begin}");
            assert!(progress.message.starts_with(&begin), "{}", progress.message);
        }
    }

    #[test]
    fn what_is_about_no_field_of_the_group_is_told_as_it_is() {
        let progress = told("Service \"web-tiproxy\" is invalid: spec.color: no", &json!({}));
        assert!(
            progress.message.ends_with("spec.color: no; correct the spec"),
            "{}",
            progress.message
        );
    }
}
