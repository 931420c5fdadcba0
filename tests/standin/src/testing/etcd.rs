//! An etcd in the place of PD, for a real TiProxy.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::json;

use super::free_port;
use super::http::Endpoint;
use super::tidb::Tidb;
use super::wait::{eventually, expect};

/// A running etcd; dropping it kills it.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    /// Where it listens.
    pub endpoint: Endpoint,
}

/// The certificates of an etcd with TLS, which asks its clients for theirs.
#[derive(Debug)]
pub struct EtcdTls {
    /// The file with the authority.
    pub ca: String,
    /// The file with its certificate.
    pub cert: String,
    /// The file with its key.
    pub key: String,
    /// How a client speaks to it.
    pub client: Arc<ClientConfig>,
}

impl Etcd {
    /// Starts one that keeps its files in a directory, and waits until it answers.
    pub async fn start(directory: &Path, tls: Option<&EtcdTls>) -> Self {
        let (port, peer) = (free_port(), free_port());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (client, peer) = (
            format!("{scheme}://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let log = File::create(directory.join("etcd.log")).unwrap();
        let mut command = Command::new(binary());
        command
            .arg("--data-dir")
            .arg(directory.join("etcd"))
            .args(["--unsafe-no-fsync", "--log-level", "warn"])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")]);
        if let Some(tls) = tls {
            command
                .args(["--cert-file", &tls.cert, "--key-file", &tls.key])
                .args(["--trusted-ca-file", &tls.ca, "--client-cert-auth"]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd can be started");
        let etcd = Self {
            child,
            endpoint: Endpoint {
                port,
                tls: tls.map(|tls| Arc::clone(&tls.client)),
            },
        };
        eventually("etcd answers", async || {
            let answer = etcd.endpoint.request("GET", "/health", "").await;
            let answer = answer.map_err(|error| error.to_string())?;
            expect(answer.status == 200, answer)
        })
        .await;
        etcd
    }

    /// Makes a TiDB known, as it does itself; its address.
    pub async fn register(&self, tidb: &Tidb) -> String {
        let address = format!("127.0.0.1:{}", tidb.sql);
        self.put(&format!("/topology/tidb/{address}/info"), &tidb.info())
            .await;
        self.put(&format!("/topology/tidb/{address}/ttl"), "1700000000000000000")
            .await;
        address
    }

    /// Writes a key.
    pub async fn put(&self, key: &str, value: &str) {
        let body = json!({"key": base64(key), "value": base64(value)});
        self.post("/v3/kv/put", &body).await;
    }

    async fn post(&self, path: &str, body: &serde_json::Value) {
        let answer = self
            .endpoint
            .request("POST", path, &body.to_string())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ETCD_BIN") {
        return path.into();
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/localkube/bin");
    let found = std::fs::read_dir(built)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("etcd"))
        .find(|path| path.exists());
    found.expect("a real TiProxy needs an etcd: run ./hack/local-cluster.sh up once, or set ETCD_BIN")
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bytes = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                encoded.push(char::from(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                encoded.push('=');
            }
        }
    }
    encoded
}
