//! The TiDBs that the stand-in believes to be there.
//!
//! A test writes them into a file, by renaming a finished one over it:
//!
//! ```json
//! [{"address": "tidb-0:4000", "healthy": true, "labels": {"group": "oltp"}, "signed": true}]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One TiDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Host and SQL port.
    pub address: String,
    /// Whether it passes the health check.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it can hand sessions over: it has the signing certificate that all have.
    #[serde(default = "yes")]
    pub signed: bool,
}

fn yes() -> bool {
    true
}

/// Where the TiDBs stand.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    file: Option<PathBuf>,
}

impl Backends {
    /// Those of a file.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Those that are there now. A file that is missing means none; one that cannot be read is a mistake of the test.
    pub fn read(&self) -> Result<Vec<Backend>, String> {
        let Some(file) = &self.file else {
            return Ok(vec![Backend {
                address: "tidb-0:4000".to_owned(),
                healthy: true,
                labels: BTreeMap::new(),
                signed: true,
            }]);
        };
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(format!("{}: {error}", file.display())),
        }
    }
}
