//! What is around a TiProxy: for the stand-in a file, for a real one an etcd and TiDBs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tiproxy_standin::backend::Backend;

use crate::etcd::{Etcd, EtcdTls};
use crate::tidb::{Tidb, TidbTls};

/// The surroundings of one TiProxy.
pub(crate) enum World {
    /// Of the stand-in.
    File { path: PathBuf, backends: Vec<Backend> },
    /// Of a real one.
    Cluster {
        etcd: Box<Etcd>,
        tidbs: Vec<Option<Tidb>>,
        tls: TidbTls,
    },
}

/// TLS of the surroundings.
#[derive(Default)]
pub(crate) struct WorldTls {
    pub(crate) etcd: Option<EtcdTls>,
    pub(crate) tidb: TidbTls,
}

/// Labels from pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

impl World {
    pub(crate) fn file(directory: &Path) -> Self {
        let world = Self::File {
            path: directory.join("backends.json"),
            backends: Vec::new(),
        };
        world.write();
        world
    }

    pub(crate) async fn cluster(directory: &Path, tls: WorldTls) -> Self {
        Self::Cluster {
            etcd: Box::new(Etcd::start(directory, tls.etcd.as_ref()).await),
            tidbs: Vec::new(),
            tls: tls.tidb,
        }
    }

    /// `host:port` of PD.
    pub(crate) fn pd_addrs(&self) -> String {
        match self {
            Self::File { .. } => "127.0.0.1:1".to_owned(),
            Self::Cluster { etcd, .. } => format!("127.0.0.1:{}", etcd.endpoint.port),
        }
    }

    /// Starts a TiDB; its address, and its number for the other calls.
    pub(crate) async fn add(&mut self, labels: BTreeMap<String, String>, signed: bool) -> (usize, String) {
        match self {
            Self::File { backends, .. } => {
                let number = backends.len();
                let address = format!("tidb-{number}:4000");
                backends.push(Backend {
                    address: address.clone(),
                    healthy: true,
                    labels,
                    signed,
                });
                self.write();
                (number, address)
            }
            Self::Cluster { etcd, tidbs, tls } => {
                let tidb = Tidb::start(labels, signed, tls.clone()).await;
                let address = etcd.register(&tidb).await;
                tidbs.push(Some(tidb));
                (tidbs.len() - 1, address)
            }
        }
    }

    /// Makes a TiDB fail its health check, or pass it again.
    pub(crate) fn set_healthy(&mut self, number: usize, healthy: bool) {
        match self {
            Self::File { backends, .. } => {
                backends[number].healthy = healthy;
                self.write();
            }
            Self::Cluster { tidbs, .. } => {
                tidbs[number].as_ref().unwrap().set_healthy(healthy);
            }
        }
    }

    fn write(&self) {
        if let Self::File { path, backends } = self {
            let temporary = path.with_extension("new");
            std::fs::write(&temporary, serde_json::to_vec(backends).unwrap()).unwrap();
            std::fs::rename(temporary, path).unwrap();
        }
    }
}
