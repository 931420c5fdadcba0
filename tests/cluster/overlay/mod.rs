//! The overlay of a group: what it says arrives in Pods, and what the API server refuses touches nothing that runs.

mod arrival;
mod question;
mod refusal;
