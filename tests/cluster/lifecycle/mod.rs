//! Groups from the first replica to the last, on a real API server, each history held against the invariants.

mod autoscale;
mod deletion;
mod document;
mod healing;
mod in_place;
mod interruption;
pub(crate) mod invariants;
mod metadata;
pub(crate) mod pd;
mod rollout;
mod samples;
mod scale;
pub(crate) mod scenario;
mod writers;
