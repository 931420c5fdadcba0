//! What is checked.

pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod operator;
pub(crate) mod routing;
pub(crate) mod shutdown;
pub(crate) mod sql;
pub(crate) mod start;
pub(crate) mod tls;
