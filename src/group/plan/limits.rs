//! How far a rollout may go above and below the wanted number of instances.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `maxSurge` and `maxUnavailable` as absolute numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    max_surge: u32,
    max_unavailable: u32,
}

/// A value is neither a non-negative integer nor a percentage like `25%`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: it must be an integer of at least 0 or a percentage such as \"25%\"")]
pub struct LimitsError {
    field: &'static str,
    value: String,
}

impl Limits {
    /// Limits from absolute numbers. Both 0 would allow no step at all, so `max_unavailable` is 1 then.
    #[must_use]
    pub fn new(max_surge: u32, max_unavailable: u32) -> Self {
        let stuck = max_surge == 0 && max_unavailable == 0;
        Self {
            max_surge,
            max_unavailable: if stuck { 1 } else { max_unavailable },
        }
    }

    /// Resolves percentages of `replicas`: the surge rounds up, the unavailable round down.
    pub fn resolve(
        max_surge: &IntOrString,
        max_unavailable: &IntOrString,
        replicas: u32,
    ) -> Result<Self, LimitsError> {
        let surge = amount("maxSurge", max_surge)?;
        let unavailable = amount("maxUnavailable", max_unavailable)?;
        Ok(Self::new(
            surge.of(replicas, u64::div_ceil),
            unavailable.of(replicas, |parts, whole| parts / whole),
        ))
    }

    /// How many instances a rollout may add above `replicas`.
    #[must_use]
    pub fn max_surge(self) -> u32 {
        self.max_surge
    }

    /// How many of `replicas` a rollout may do without.
    #[must_use]
    pub fn max_unavailable(self) -> u32 {
        self.max_unavailable
    }
}

#[derive(Clone, Copy)]
enum Amount {
    Absolute(u32),
    Percent(u32),
}

impl Amount {
    fn of(self, replicas: u32, round: impl Fn(u64, u64) -> u64) -> u32 {
        match self {
            Self::Absolute(number) => number,
            Self::Percent(percent) => {
                u32::try_from(round(u64::from(percent) * u64::from(replicas), 100)).unwrap_or(u32::MAX)
            }
        }
    }
}

fn amount(field: &'static str, value: &IntOrString) -> Result<Amount, LimitsError> {
    let (parsed, shown) = match value {
        IntOrString::Int(number) => (
            u32::try_from(*number).ok().map(Amount::Absolute),
            number.to_string(),
        ),
        IntOrString::String(text) => {
            let digits = text
                .strip_suffix('%')
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            (
                digits.and_then(|digits| digits.parse().ok()).map(Amount::Percent),
                format!("{text:?}"),
            )
        }
    };
    parsed.ok_or(LimitsError { field, value: shown })
}
