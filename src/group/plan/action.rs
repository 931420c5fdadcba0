//! What can be done for a group's instances, one write each, and what is waited for.

use std::time::Duration;

use super::Topology;

/// An object, as it was when the decision was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its UID: a precondition of every write.
    pub uid: String,
    /// Its resourceVersion: a precondition, because the content decided.
    pub resource_version: String,
}

/// One write. Any prefix of a plan's actions keeps the rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Write the current template to an instance that drains, and let it take part again.
    Revive {
        /// The instance.
        target: Target,
    },
    /// Create the instance of this ordinal from the current template.
    Create {
        /// The smallest ordinal that is free and fits the topology.
        ordinal: u32,
        /// Where it goes; `None` when the scheduler chooses.
        topology: Option<Topology>,
    },
    /// Write the current template to the object; its Pod goes on.
    UpdateInPlace {
        /// The instance.
        target: Target,
    },
    /// Write the current template to the object; its Pod is replaced under the same name.
    Recreate {
        /// The instance.
        target: Target,
    },
    /// Take the instance out of service.
    Leave {
        /// The instance.
        target: Target,
        /// What it leaves for.
        why: Why,
        /// How.
        by: Exit,
    },
    /// Delete an instance whose drain is over.
    Remove {
        /// The instance.
        target: Target,
    },
}

impl Action {
    /// What it is written to; `None` when it makes something.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Create { .. } => None,
            Self::Revive { target }
            | Self::UpdateInPlace { target }
            | Self::Recreate { target }
            | Self::Leave { target, .. }
            | Self::Remove { target } => Some(target),
        }
    }
}

/// How an instance leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// Its clients are given time to leave, and until they have it can be revived.
    Drain,
    /// It is deleted: it has no clients, or they are given no time.
    Delete,
}

/// Why an instance leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The group has more instances than it should.
    ScaleIn,
    /// The instance is outdated, and what replaces it is there or on its way.
    Roll,
    /// Its node is dead; another instance takes its place.
    Lost,
}

/// Something that keeps the group from its goal and is not in the planner's hands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// A change of the template waits because the group is paused.
    Paused,
    /// Something should be created, changed or replaced, and nothing may be.
    NothingMayBeCreated,
    /// Outdated instances stay because none may be replaced.
    MayNotRoll,
    /// This instance is to become available.
    Available {
        /// Its name.
        name: String,
        /// What is left of `min_ready` when it is ready; `None` while it is not.
        remaining: Option<Duration>,
    },
    /// This instance is unready only because no TiDB is available to it.
    Backends {
        /// Its name.
        name: String,
    },
    /// This instance was given another configuration; the others get it when it is proven there.
    Trial {
        /// Its name.
        name: String,
        /// What is left of the time after which it counts as proven if it serves; `None` while it does not.
        remaining: Option<Duration>,
    },
    /// This instance leaves because of a roll, and the next one is created when it is gone.
    Leaver {
        /// Its name.
        name: String,
    },
}

impl Wait {
    pub(super) fn remaining(&self) -> Option<Duration> {
        match self {
            Self::Available { remaining, .. } | Self::Trial { remaining, .. } => *remaining,
            Self::Paused
            | Self::NothingMayBeCreated
            | Self::MayNotRoll
            | Self::Backends { .. }
            | Self::Leaver { .. } => None,
        }
    }
}
