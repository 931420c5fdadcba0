//! What users and their tools see: kubectl, conditions and messages, whatever is missing, wrong or in the way.

mod bad_input;
mod definition;
mod discovery;
pub(crate) mod fixture;
mod foreign;
mod kubectl;
mod metrics;
mod refusal;
mod restricted;
mod secrets;
mod tidb_operator;
mod trouble;
mod wait;
