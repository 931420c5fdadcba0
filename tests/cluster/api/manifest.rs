//! Small valid manifests, and ways to change them.

use kube::core::Status;
use serde_json::{Value, json};
use tiproxy_operator::api::rule::{Base, Rule};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

/// One of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Instance,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Group, Self::Instance];

    /// A manifest with nothing but what is required.
    pub(crate) fn smallest(self, name: &str) -> Value {
        let (kind, spec) = match self {
            Self::Group => (
                "TiProxyGroup",
                json!({
                    "cluster": {"name": "basic"},
                    "replicas": 1,
                    "template": {"spec": {"version": "v1.3.2"}},
                }),
            ),
            Self::Instance => (
                "TiProxy",
                json!({
                    "cluster": {"name": "basic"},
                    "subdomain": "basic-tiproxy-peer",
                    "version": "v1.3.2",
                }),
            ),
        };
        json!({
            "apiVersion": "core.pingcap.com/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        })
    }

    /// Where a base of rules stands in this kind; `None` where it does not.
    pub(crate) fn place(self, base: Base) -> Option<&'static str> {
        match (base, self) {
            (Base::Group, Self::Group) | (Base::Instance, Self::Instance) => Some(""),
            (Base::Group, Self::Instance) | (Base::Instance, Self::Group) => None,
            (Base::Spec, _) | (Base::Template, Self::Instance) => Some("spec"),
            (Base::Template, Self::Group) => Some("spec.template.spec"),
        }
    }

    /// Reads an object as the operator does, and writes it again.
    pub(crate) fn through_types(self, object: &Value) -> Value {
        let result = match self {
            Self::Group => serde_json::from_value::<TiProxyGroup>(object.clone()).map(serde_json::to_value),
            Self::Instance => serde_json::from_value::<TiProxy>(object.clone()).map(serde_json::to_value),
        };
        result
            .unwrap_or_else(|error| panic!("the operator cannot read {object:#}: {error}"))
            .expect("an object can be written")
    }
}

/// A field of the whole object, from a base and a path below it.
pub(crate) fn join(base: &str, path: &str) -> String {
    [base, path]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".")
}

/// Sets a field by its path of names with dots. An object is merged into what is there, `null` removes.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) {
    if let Value::Object(fields) = value {
        let node = at(object, path);
        if node.is_null() {
            *node = json!({});
        }
        for (field, value) in fields {
            node[field] = value;
        }
    } else if !value.is_null() {
        *at(object, path) = value;
    } else if let Some((parent, field)) = path.rsplit_once('.') {
        at(object, parent)
            .as_object_mut()
            .map(|fields| fields.remove(field));
    }
}

/// The field at a path; it is made when it is not there.
fn at<'a>(object: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.')
        .filter(|name| !name.is_empty())
        .fold(object, |node, name| &mut node[name])
}

/// Where the API server sees a rule broken, when the first item of each list breaks it.
pub(crate) fn field(kind: Kind, rule: &Rule) -> String {
    let path = join(
        kind.place(rule.base).expect("the rule is one of the kind"),
        rule.path,
    );
    if path.is_empty() {
        "<nil>".to_owned()
    } else {
        path.replace("[]", "[0]")
    }
}

/// What the API server found wrong: field and text, without the value that it shows before the text.
pub(crate) fn causes(status: &Status) -> Vec<(String, String)> {
    let details = status.details.as_ref().unwrap_or_else(|| panic!("{status:?}"));
    let causes = details.causes.iter().map(|cause| {
        let text = cause
            .message
            .strip_prefix("Invalid value: ")
            .and_then(after_value)
            .unwrap_or(&cause.message);
        (cause.field.clone(), text.to_owned())
    });
    causes.collect()
}

fn after_value(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next()?.ok()?;
    text.get(values.byte_offset()..)?.strip_prefix(": ")
}

/// The documents of a YAML file.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("a manifest is YAML")
}
