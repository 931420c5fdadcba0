//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::operator_pods::Labels;
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
    /// Prints the config.toml that a manifest leads to, and what the operator would say of it, without a cluster.
    ///
    /// The configuration goes to the standard output, everything else to the standard error. It ends with 0, or with 1
    /// when the operator would refuse something. A Cluster, and a Service of PD, in the input are used. Unknown fields,
    /// types and bounds are judged; rules between fields are not: `kubectl apply --dry-run=server` knows those.
    Render(RenderArguments),
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
    /// The namespace of the operator's own Pods, which a `NetworkPolicy` admits; without it, the one that it runs in.
    #[arg(long, env = "TIPROXY_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,
    /// Labels that all of the operator's own Pods have, which a `NetworkPolicy` admits.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_LABELS",
        value_name = "KEY=VALUE,...",
        default_value = "app.kubernetes.io/name=tiproxy-operator"
    )]
    pub operator_labels: Labels,
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

/// What is rendered.
#[derive(Args, Clone, Debug)]
pub struct RenderArguments {
    /// A file with manifests in YAML or JSON, or `-` for the standard input; may be given several times.
    #[arg(
        short,
        long,
        env = "TIPROXY_OPERATOR_FILENAME",
        value_name = "FILE",
        required = true
    )]
    pub filename: Vec<PathBuf>,
    /// Addresses of PD, in the place of those that the manifests say or leave open.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_PD_ADDRS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = pd_address
    )]
    pub pd_addrs: Vec<String>,
    /// The namespace of objects that name none.
    #[arg(
        short,
        long,
        env = "TIPROXY_OPERATOR_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "default"
    )]
    pub namespace: String,
    /// Which TiProxy of a group; they differ in `proxy.advertise-addr`.
    #[arg(
        long,
        env = "TIPROXY_OPERATOR_ORDINAL",
        value_name = "NUMBER",
        default_value_t = 0
    )]
    pub ordinal: u32,
}

fn pd_address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some_and(|port| port > 0) && !text.contains('/') {
        Ok(text.to_owned())
    } else {
        Err(
            "it must be host:port with a port from 1 to 65535 and no scheme, such as pd.example:2379"
                .to_owned(),
        )
    }
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
