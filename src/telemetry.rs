//! Logs, to the standard error stream.

use std::io;
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged when nothing else is asked for. While the API server is away kube tells of every retry; the
/// operator's own watches and reconciles say it once.
pub const DEFAULT_FILTER: &str = "info,kube=warn,kube_client::client=error,kube_client::client::builder=off,\
                                  kube_runtime::watcher=error,tower=warn,hyper=warn";

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter has no valid syntax.
    #[error("the log filter {filter:?} is not valid")]
    Filter {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logging was set up before.
    #[error("logging is set up already")]
    Subscriber(#[source] TryInitError),
}

/// Sets up logging for the whole process, and logs panics. `filter` has the syntax of tracing's `EnvFilter`, such as
/// `info,tiproxy_operator=debug`; without one it is [`DEFAULT_FILTER`].
///
/// # Errors
/// Fails if the filter cannot be parsed, or if logging was set up before.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let filter = parse(filter.unwrap_or(DEFAULT_FILTER))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .finish()
            .try_init(),
    }
    .map_err(TelemetryError::Subscriber)?;
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, message, "panicked");
    }));
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_valid() {
        assert_eq!(
            parse(DEFAULT_FILTER).unwrap().max_level_hint(),
            Some(tracing::level_filters::LevelFilter::INFO)
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = parse("info,tiproxy_operator=loud").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"the log filter "info,tiproxy_operator=loud" is not valid"#
        );
    }
}
