//! Lays the user's partial Pod over the one that the operator builds, as Kubernetes' strategic merge does. Pure, over
//! JSON values: a field that this version does not know is kept, and the API server judges it.
//!
//! * Objects are merged field by field; scalars replace, also `false`, `0` and `""`; `null` removes.
//! * Lists that have merge keys (`rule`) are merged item by item, new items come last; other lists are replaced.
//! * `$patch: delete` removes an object or an item, `$patch: replace` replaces it, and an item that is nothing but
//!   `$patch: replace` clears the list first.
//! * Of handlers, volume sources and the like an object has one: naming another one drops the present one.
//!
//! Where Kubernetes' own merge surprises, this one differs: `$patch: delete` leaves no empty object behind,
//! `$patch: replace` on an item replaces that item only, and an item that is named twice is an error.

mod error;
mod merge;
mod rule;

pub use error::{OverlayError, Problem};
pub use merge::pod_spec;

#[cfg(test)]
mod tests;
