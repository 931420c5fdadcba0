//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::LogFormat;

/// The Kubernetes operator for TiProxy, the MySQL proxy of TiDB.
#[derive(Clone, Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run, when no command is given.
    #[command(flatten)]
    pub run: RunArguments,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Runs the controllers; what happens without a command.
    Run(RunArguments),
    /// Prints the `CustomResourceDefinitions` as YAML, or writes them to files.
    Crd(CrdArguments),
}

/// How to run. Every flag is also an environment variable.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// The only namespace to look at; without it, all of them.
    #[arg(long, env = "TIPROXY_OPERATOR_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; port 0 means any free one.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_BIND_ADDRESS",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub bind_address: SocketAddr,
    /// How many objects of each kind are worked on at once.
    #[arg(long, env = "TIPROXY_OPERATOR_WORKERS", value_name = "NUMBER", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub workers: u16,
    /// How many seconds the work on one object may take before it is given up and tried again later.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_RECONCILE_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub reconcile_timeout: u32,
    /// How many seconds lie between two questions to the HTTP API of a TiProxy at which nothing changes.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_PROXY_POLL_INTERVAL",
        value_name = "SECONDS",
        default_value_t = 15,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub proxy_poll_interval: u32,
    /// A PEM file with the certificate to show to TiProxies whose HTTP API demands one (`clientAuth: RequireClientCert`).
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_PROXY_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "proxy_client_key"
    )]
    pub proxy_client_certificate: Option<PathBuf>,
    /// A PEM file with the key of that certificate.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_PROXY_CLIENT_KEY",
        value_name = "FILE",
        requires = "proxy_client_certificate"
    )]
    pub proxy_client_key: Option<PathBuf>,
    /// The form of log lines.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
    /// What is logged, such as `info,tiproxy_operator=debug`; without it, what operators need.
    #[arg(long, env = "TIPROXY_OPERATOR_LOG_FILTER", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// The name of this replica in Events, usually that of its Pod.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_IDENTITY",
        value_name = "NAME",
        default_value = "tiproxy-operator"
    )]
    pub identity: String,
}

/// Where the definitions go.
#[derive(Args, Clone, Debug)]
pub struct CrdArguments {
    /// Writes one file for each kind below this directory instead of printing.
    #[arg(long, env = "TIPROXY_OPERATOR_CRD_DIRECTORY", value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Prints the small Cluster definition too, for installations without TiDB Operator.
    #[arg(long, env = "TIPROXY_OPERATOR_CRD_CLUSTER")]
    pub cluster: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable() {
        for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_long().is_some())
            {
                let id = argument.get_id().as_str();
                assert!(
                    ["help", "version"].contains(&id) || argument.get_env().is_some(),
                    "{id}"
                );
            }
        }
    }
}
