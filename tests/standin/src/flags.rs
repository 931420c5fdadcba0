//! What the stand-in is started with.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// TiProxy's flags, and what a test wants it to be.
#[derive(Clone, Debug, Parser)]
#[command(name = "tiproxy-standin", version)]
pub struct Flags {
    /// The configuration file; without one everything has its default.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Beats `proxy.advertise-addr` of the file and of the API.
    #[arg(long, default_value = "")]
    pub advertise_addr: String,
    /// `json` prints all keys and ends.
    #[arg(long)]
    pub config_info: Option<String>,
    /// Accepted and ignored, as TiProxy does.
    #[arg(long = "log_encoder", default_value = "", hide = true)]
    pub log_encoder: String,
    /// Accepted and ignored, as TiProxy does.
    #[arg(long = "log_level", default_value = "", hide = true)]
    pub log_level: String,

    /// Whose behaviour to show.
    #[arg(long, value_enum, default_value_t = Line::V26)]
    pub line: Line,
    /// A JSON file with the TiDBs that are there; read again for each decision. Without one there is one healthy
    /// TiDB without labels.
    #[arg(long)]
    pub backends: Option<PathBuf>,
    /// How long the API answers 500 after its port is open.
    #[arg(long, default_value_t = 0)]
    pub start_delay_millis: u64,
}

/// A version line of TiProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Line {
    /// v1.3.2: no health override, certificates are read again every hour.
    #[value(name = "v1.3")]
    V1_3,
    /// v26.3.1: health override and its reasons, certificates are watched, plain health on a TLS port.
    #[value(name = "v26")]
    V26,
}

impl Line {
    /// How a TiDB is called in some metrics: the newer line puts the cluster's name before it, but not everywhere.
    #[must_use]
    pub fn full_name(self, address: &str) -> String {
        match self {
            Self::V1_3 => address.to_owned(),
            Self::V26 => format!("default/{address}"),
        }
    }

    /// The version that the line stands for.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_3 => "v1.3.2",
            Self::V26 => "v26.3.1",
        }
    }
}
