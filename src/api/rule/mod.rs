//! Validation rules (CEL) that a schema cannot say, as data.
//!
//! Each is attached to the generated schema by [`super::crd`] and tested against a real API server by its
//! [`Rule::name`]. Messages name the field, the value and what is allowed; where TiDB Operator v2 has the same rule,
//! its message is kept.

mod object;
mod template;

/// Where in the schema a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The whole `TiProxyGroup`.
    Group,
    /// The whole `TiProxy`.
    Instance,
    /// `spec` of both kinds.
    Spec,
    /// `spec.template.spec` of a group, `spec` of a `TiProxy`.
    Template,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A name for tests and documentation.
    pub name: &'static str,
    /// What `path` starts from.
    pub base: Base,
    /// The place of the rule: field names with dots, `[]` for the items of a list.
    pub path: &'static str,
    /// The CEL expression that must hold.
    pub rule: &'static str,
    /// What the user is told.
    pub message: Message,
}

/// What the user is told when a rule does not hold.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// A fixed text.
    Text(&'static str),
    /// A CEL expression that gives the text, and a text for when it fails.
    Expression(&'static str, &'static str),
}

use Message::{Expression, Text};

/// All rules.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    object::RULES.iter().chain(template::RULES)
}

const LABEL_VALUES: &str =
    "self.all(key, self[key].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$'))";
const LABEL_KEYS: &str = r"self.all(key, key.indexOf('/') <= 253 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$'))";
const LABEL_VALUES_TEXT: Message = Expression(
    "'the label value \"' + self[self.filter(key, !self[key].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$'))[0]] + '\" is not allowed: letters, digits, \"-\", \"_\" and \".\", beginning and ending with a letter or digit'",
    "a label value holds letters, digits, \"-\", \"_\" and \".\", beginning and ending with a letter or digit",
);
const LABEL_KEYS_TEXT: Message = Text(
    "a label key is a name of letters, digits, \"-\", \"_\" and \".\", with an optional DNS prefix and \"/\" before it",
);
