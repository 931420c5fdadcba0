//! The API as the API server enforces it: schema, rules, defaults, subresources, and what kubectl makes of it.

mod change;
mod constraint;
mod group_cases;
mod kubectl;
mod largest;
mod manifest;
mod role;
mod rule;
mod sample;
mod schema;
mod status;
mod template_cases;
mod tidb_operator;
mod tidb_operator_rule;
