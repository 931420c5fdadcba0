//! What happens to a group.

use tiproxy_standin::testing::random::Random;

const VERSIONS: [&str; 3] = ["v1.3.1", "v1.3.2", "v1.3.3"];
const LEVELS: [&str; 3] = ["info", "warn", "error"];
/// None is the default: to say that is no change.
const ENCODERS: [&str; 2] = ["json", "console"];

/// One thing that happens; a place is that of a Pod or TiProxy among those that are there then.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Another version, or back to one from before.
    Version(&'static str),
    /// A configuration that TiProxy reads while it runs.
    Level(&'static str),
    /// A configuration that it reads at its start.
    Encoder(&'static str),
    Replicas(usize),
    Limits {
        max_surge: usize,
        max_unavailable: usize,
    },
    MinReady(usize),
    DrainTimeout(usize),
    Paused(bool),
    ClusterPaused(bool),
    Suspended(bool),
    DeletePod(usize),
    EvictPod(usize),
    DeleteTiProxy(usize),
    RestartOperator {
        kill: bool,
    },
}

impl Event {
    /// The next one; changes of the group are the most frequent.
    pub(super) fn next(random: &mut Random) -> Self {
        match random.below(22) {
            0..=3 => Self::Version(random.one_of(&VERSIONS)),
            4..=5 => Self::Level(random.one_of(&LEVELS)),
            6 => Self::Encoder(random.one_of(&ENCODERS)),
            7..=10 => Self::Replicas(random.below(6)),
            11 => Self::Limits {
                max_surge: random.below(3),
                max_unavailable: random.below(2),
            },
            12 => Self::MinReady(random.below(2)),
            13 => Self::DrainTimeout(1 + random.below(4)),
            14 => Self::Paused(random.once_in(2)),
            15 => Self::ClusterPaused(random.once_in(3)),
            16 => Self::Suspended(random.once_in(2)),
            17 => Self::DeletePod(random.below(6)),
            18 => Self::EvictPod(random.below(6)),
            19 => Self::DeleteTiProxy(random.below(6)),
            _ => Self::RestartOperator {
                kill: random.once_in(2),
            },
        }
    }
}
