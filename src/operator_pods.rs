//! Which Pods are this operator's own: `NetworkPolicies` admit them.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// Where Kubernetes tells a Pod its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The operator's own Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorPods {
    /// Their namespace.
    pub namespace: String,
    /// Labels that all of them have.
    pub labels: BTreeMap<String, String>,
}

impl OperatorPods {
    /// The Pods of a namespace that was named, or else of the one that this process runs in; `None` outside of a Pod.
    #[must_use]
    pub fn find(namespace: Option<&str>, labels: &Labels) -> Option<Self> {
        Self::find_at(namespace, labels, Path::new(NAMESPACE_FILE))
    }

    fn find_at(namespace: Option<&str>, labels: &Labels, file: &Path) -> Option<Self> {
        let namespace = match namespace {
            Some(namespace) => namespace.to_owned(),
            None => std::fs::read_to_string(file).ok()?.trim().to_owned(),
        };
        (!namespace.is_empty()).then(|| Self {
            namespace,
            labels: labels.0.clone(),
        })
    }
}

/// Labels, written as `key=value,key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

/// A text that is no list of labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of labels: write them as key=value,key=value, at least one")]
pub struct LabelsError(String);

impl FromStr for Labels {
    type Err = LabelsError;

    fn from_str(text: &str) -> Result<Self, LabelsError> {
        // None at all would select every Pod.
        text.split(',')
            .map(|label| {
                let (key, value) = label.trim().split_once('=')?;
                (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| LabelsError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_text() {
        let labels: Labels = "app.kubernetes.io/name=tiproxy-operator, release="
            .parse()
            .unwrap();
        let labels: Vec<_> = labels
            .0
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        assert_eq!(labels, ["app.kubernetes.io/name tiproxy-operator", "release "]);
        for text in ["", "a", "=b", "a=b,", "a=b,c"] {
            let error = text.parse::<Labels>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is no list of labels")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_namespace_is_the_one_named_or_the_own() {
        let labels: Labels = "a=b".parse().unwrap();
        let directory =
            std::env::temp_dir().join(format!("tiproxy-operator-namespace-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("namespace");
        let find = |namespace| OperatorPods::find_at(namespace, &labels, &file).map(|pods| pods.namespace);
        assert_eq!(find(None), None);
        std::fs::write(&file, "own\n").unwrap();
        assert_eq!(find(None).as_deref(), Some("own"));
        assert_eq!(find(Some("named")).as_deref(), Some("named"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(find(None), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
