//! What is known about one key of TiProxy's configuration.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::check_value::go_duration;
use super::key_table::KEYS;
use super::parse;
use super::tree::Value;
use super::version::Since;

/// What it takes for a changed value to have its effect. Proved from TiProxy's code, not taken from its
/// `hot_reloadable` tags, which are wrong in places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The running process takes it over.
    Hot,
    /// Connections made afterwards have it.
    NewConnections,
    /// It is read once, at the start: the Pod has to be replaced.
    Start,
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// An integer between two bounds.
    Integer {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// Zero or less for TiProxy's own choice, or an integer between two bounds.
    IntegerOrZero {
        /// The smallest value above 0.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A float or an integer between two bounds.
    Float {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// Zero for TiProxy's own choice, or more than 1.
    FloatAboveOne,
    /// Any string.
    Text,
    /// One of some strings or `""`; TiProxy refuses to start with another.
    OneOf(&'static [&'static str]),
    /// One of some strings or `""`; TiProxy takes another as the default, without a word.
    Preferably(&'static [&'static str]),
    /// A level of the log, in small or capital letters; TiProxy refuses to start with another.
    LogLevel,
    /// A duration of Go such as `"1m30s"`, or an integer of nanoseconds.
    Duration,
    /// A string that holds a duration; TiProxy takes another as the default, without a word.
    DurationText,
    /// A string that ends in `1.0` to `1.3`; TiProxy takes another as 1.2.
    TlsVersion,
    /// An array of strings.
    Texts,
    /// An array of strings, none of them empty.
    NonEmptyTexts,
    /// An array of networks such as `"10.0.0.0/8"`; TiProxy ignores others.
    Networks,
    /// Two ports, the first not above the second, or an empty array.
    PortRange,
    /// An array of tables with `name`, `pd-addrs` and `ns-servers`.
    BackendClusters,
    /// A table of strings.
    Labels,
    /// Any value: TiProxy does not read it.
    Anything,
}

/// One key of TiProxy's configuration file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The dotted path.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// TiProxy's default, as TOML. Empty for a dead key.
    pub default: &'static str,
    /// What a change needs. `[labels]` stands for all its keys.
    pub effect: Effect,
    /// The version lines that know it.
    pub since: Since,
    /// The field to set instead, if the operator sets the key. Empty where no field does.
    pub managed: Option<&'static str>,
    /// Why it does nothing when it is set to something else than its default.
    pub ineffective: Option<&'static str>,
    /// Whether it is of the past: no TiProxy, or none of today, does anything with it. Some are decoded all the same,
    /// and with a value of another type TiProxy does not start.
    pub dead: bool,
    /// Whether its value may be a secret, and must stand in no message.
    pub secret: bool,
    /// What a user should know beside all this.
    pub note: &'static str,
}

impl Key {
    /// The default as a value. None where there is none.
    pub(super) fn default_value(&self) -> Option<&'static Value> {
        static DEFAULTS: LazyLock<BTreeMap<&str, Value>> = LazyLock::new(|| {
            let value = |key: &Key| {
                let mut table = parse::document(&format!("value = {}", key.default)).ok()?;
                table.remove("value").map(|node| node.value)
            };
            KEYS.iter()
                .filter_map(|key| Some((key.path, value(key)?)))
                .collect()
        });
        DEFAULTS.get(self.path)
    }

    pub(super) fn is_default(&self, value: &Value) -> bool {
        self.default_value()
            .is_some_and(|default| self.kind.same(default, value))
    }

    pub(super) const fn managed_by(mut self, field: &'static str) -> Self {
        self.managed = Some(field);
        self
    }

    pub(super) const fn ineffective(mut self, why: &'static str) -> Self {
        self.ineffective = Some(why);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }
}

impl Kind {
    /// What is allowed, as it follows "must be".
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Integer {
                min: i64::MIN,
                max: i64::MAX,
            } => "an integer".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("an integer of at least {min}"),
            Self::Integer { min, max } => format!("an integer between {min} and {max}"),
            Self::IntegerOrZero { min, max } => {
                format!("0, for TiProxy's own choice, or an integer between {min} and {max}")
            }
            Self::Float { min, max } if max.is_infinite() => format!("a number of at least {min}"),
            Self::Float { min, max } => format!("a number between {min} and {max}"),
            Self::FloatAboveOne => "0, for TiProxy's own choice, or a number above 1".to_owned(),
            Self::Text => "a string".to_owned(),
            Self::OneOf(values) | Self::Preferably(values) => one_of(values),
            Self::LogLevel => one_of(LOG_LEVELS),
            Self::Duration => "a duration such as \"60s\" or \"1m30s\"".to_owned(),
            Self::DurationText => "a duration such as \"72h\"".to_owned(),
            Self::TlsVersion => "\"1.0\", \"1.1\", \"1.2\" or \"1.3\"".to_owned(),
            Self::Texts => "an array of strings".to_owned(),
            Self::NonEmptyTexts => "an array of strings that are not empty".to_owned(),
            Self::Networks => "an array of networks such as \"10.0.0.0/8\"".to_owned(),
            Self::PortRange => {
                "[first, last], two ports between 1 and 65535 with the first not above the last".to_owned()
            }
            Self::BackendClusters => "an array of tables, written as [[proxy.backend-clusters]]".to_owned(),
            Self::Labels => "a table of strings".to_owned(),
            Self::Anything => "anything".to_owned(),
        }
    }
}

impl Kind {
    /// Whether two values mean the same to TiProxy: `0` and `0.0`, `"60s"` and `"1m"`.
    pub(super) fn same(self, left: &Value, right: &Value) -> bool {
        if self.is_number() {
            self.number(left) == self.number(right)
        } else if self == Self::LogLevel {
            left.as_text().map(str::to_lowercase) == right.as_text().map(str::to_lowercase)
        } else {
            left == right
        }
    }

    /// Whether values are compared as numbers.
    fn is_number(self) -> bool {
        matches!(self, Self::Float { .. } | Self::FloatAboveOne | Self::Duration)
    }

    /// The number that a value stands for, of a kind whose values are compared as numbers.
    pub(super) fn number(self, value: &Value) -> Option<f64> {
        if self == Self::Duration {
            nanoseconds(value)
        } else if self.is_number() {
            number(value)
        } else {
            None
        }
    }
}

/// A number in a form in which an integer and a float of one value are equal.
#[expect(clippy::cast_precision_loss, reason = "both sides lose the same")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(float.0),
        Value::Integer(integer) => Some(*integer as f64),
        Value::String(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn nanoseconds(value: &Value) -> Option<f64> {
    value.as_text().map_or_else(|| number(value), go_duration)
}

/// What `log.level` takes (`zapcore.ParseLevel`).
pub(super) const LOG_LEVELS: &[&str] = &["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

fn one_of(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
