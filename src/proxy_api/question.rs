//! What a TiProxy is asked, and told, beside its health and metrics. Pure.

use super::observation::Health;

/// What is known of a TiProxy, as far as it decides what it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// It leaves: no client should come to it any more.
    pub leaves: bool,
    /// It is known that its health cannot be overridden.
    pub has_no_override: bool,
    /// Whether to ask what it runs with.
    pub config: AskConfig,
}

/// Whether to ask a TiProxy what configuration it runs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskConfig {
    /// There is nothing to compare it with.
    #[default]
    Never,
    /// What is known is not what is wanted.
    Always,
    /// Only if it changed since it had this checksum.
    UnlessChecksum(Option<u64>),
}

/// What a TiProxy is told about its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To call itself unhealthy, because it leaves.
    Mark,
    /// To say again what it knows.
    Unmark,
}

impl Question {
    /// What to tell a TiProxy of this health. What others have ordered is theirs.
    #[must_use]
    pub fn order(&self, health: &Health) -> Option<Order> {
        if !self.leaves {
            return health.is_marked().then_some(Order::Unmark);
        }
        // One that already turns clients away needs no order.
        (*health == Health::Healthy && !self.has_no_override).then_some(Order::Mark)
    }

    /// Whether to ask what it runs with, now that it has told the checksum of that.
    #[must_use]
    pub fn asks_config(&self, checksum: Option<u64>) -> bool {
        match self.config {
            AskConfig::Never => false,
            AskConfig::Always => true,
            AskConfig::UnlessChecksum(known) => known != checksum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_proxy_that_leaves_is_marked_and_our_own_mark_is_taken_back() {
        let unhealthy = |reason: &str| Health::Unhealthy {
            reason: Some(reason.to_owned()),
        };
        let ours = unhealthy(Health::MARK);
        let others = unhealthy("maintenance");
        let untold = Health::Unhealthy { reason: None };
        for (leaves, has_no_override, health, order) in [
            (true, false, &Health::Healthy, Some(Order::Mark)),
            (true, true, &Health::Healthy, None),
            (true, false, &ours, None),
            (true, false, &others, None),
            (true, false, &untold, None),
            (true, false, &Health::Starting, None),
            (false, false, &Health::Healthy, None),
            (false, false, &ours, Some(Order::Unmark)),
            (false, false, &others, None),
            (false, false, &untold, None),
            (false, false, &Health::Starting, None),
        ] {
            let question = Question {
                leaves,
                has_no_override,
                config: AskConfig::Never,
            };
            assert_eq!(question.order(health), order, "{question:?} {health:?}");
        }
    }

    #[test]
    fn the_configuration_is_asked_for_when_it_may_have_changed() {
        for (config, checksum, asks) in [
            (AskConfig::Never, Some(1), false),
            (AskConfig::Always, Some(1), true),
            (AskConfig::UnlessChecksum(Some(1)), Some(1), false),
            (AskConfig::UnlessChecksum(Some(1)), Some(2), true),
            (AskConfig::UnlessChecksum(Some(1)), None, true),
            (AskConfig::UnlessChecksum(None), None, false),
        ] {
            let question = Question {
                config,
                ..Question::default()
            };
            assert_eq!(question.asks_config(checksum), asks, "{config:?} {checksum:?}");
        }
    }
}
