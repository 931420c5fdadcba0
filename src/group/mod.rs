//! To be filled.

pub mod plan;
