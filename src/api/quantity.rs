//! A Kubernetes quantity as users write it: `2Gi`, `"1"`, or the bare number `1`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubernetesQuantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount such as `500m`, `2Gi` or `1`; a bare number is kept as a number, so that what is read back is what
/// was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A bare whole number.
    Number(i64),
    /// A number with an optional suffix.
    Text(String),
}

impl Quantity {
    /// The quantity as the core API takes it.
    #[must_use]
    pub fn to_kubernetes(&self) -> KubernetesQuantity {
        KubernetesQuantity(match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        })
    }
}

/// Whether one quantity is more than another; `None` when one of them cannot be read.
#[must_use]
pub fn is_more(one: &KubernetesQuantity, other: &KubernetesQuantity) -> Option<bool> {
    Some(billionths(&one.0)? > billionths(&other.0)?)
}

/// A quantity in units of 10⁻⁹, the smallest that Kubernetes knows; what is finer is rounded up, as there.
fn billionths(text: &str) -> Option<i128> {
    let end = text
        .find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?;
    let binary = |power: u32| Some((1_i128.checked_shl(power)?, 9 - scale));
    let decimal = |power: i32| Some((1_i128, power + 9 - scale));
    let (factor, power) = match suffix {
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        exponent => decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    }?;
    let value = digits.checked_mul(factor)?;
    let ten = |power: i32| 10_i128.checked_pow(power.unsigned_abs());
    let value = if power >= 0 {
        value.checked_mul(ten(power)?)?
    } else {
        let divisor = ten(power)?;
        value / divisor + i128::from(value % divisor != 0)
    };
    Some(if is_negative { -value } else { value })
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i64),
            Text(String),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Number(number) => Self::Number(number),
            Form::Text(text) => Self::Text(text),
        })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The pattern of apimachinery's Quantity; a bare number passes it as text.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 64,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        let is_more = |one: &str, other: &str| {
            is_more(
                &KubernetesQuantity(one.to_owned()),
                &KubernetesQuantity(other.to_owned()),
            )
        };
        for (more, less) in [
            ("2Gi", "1Gi"),
            ("1Gi", "1G"),
            ("10Gi", "9999Mi"),
            ("1.5Gi", "1535Mi"),
            ("2", "1999m"),
            ("1e3", "999"),
            ("1E", "999P"),
            ("1Ei", "1E"),
            ("1", "-1"),
            ("0.0000000015", "1n"),
        ] {
            assert_eq!(is_more(more, less), Some(true), "{more} {less}");
            assert_eq!(is_more(less, more), Some(false), "{less} {more}");
        }
        for (one, same) in [
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("1", "1000m"),
            ("1e3", "1k"),
            ("+5", "5"),
            (".5", "500m"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(
                (is_more(one, same), is_more(same, one)),
                (Some(false), Some(false)),
                "{one} {same}"
            );
        }
        for unreadable in ["", "Gi", "1X", "1.2.3", "e", "1e999", "99999999999999999999Ei"] {
            assert_eq!(is_more(unreadable, "1"), None, "{unreadable}");
        }
    }

    #[test]
    fn keeps_the_form_that_was_written() {
        for text in ["1", "\"1\"", "\"500m\"", "\"2Gi\""] {
            let quantity: Quantity = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&quantity).unwrap(), text);
        }
        assert_eq!(Quantity::Number(4).to_kubernetes().0, "4");
    }
}
