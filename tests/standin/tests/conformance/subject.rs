//! A running TiProxy: the stand-in or a real one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tiproxy_standin::flags::Line;
use tiproxy_standin::testing::free_port;

use crate::http::Endpoint;
use crate::wait::{eventually, expect};
use crate::world::{World, WorldTls, labels};

/// The real binary for a line, if there is one.
pub(crate) fn real(line: Line) -> Option<PathBuf> {
    let binary = std::env::var_os("TIPROXY_BIN")?;
    let its_line = match std::env::var("TIPROXY_LINE").as_deref() {
        Err(_) | Ok("v1.3") => Line::V1_3,
        Ok("v26") => Line::V26,
        Ok(other) => panic!("TIPROXY_LINE is v1.3 or v26, not {other:?}"),
    };
    (its_line == line).then(|| binary.into())
}

/// A directory of its own for a test; it goes when the test succeeds.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("conformance")
            .join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A TiProxy with its surroundings; dropping it kills it.
pub(crate) struct Proxy {
    child: Child,
    /// The SQL port.
    pub(crate) sql: u16,
    /// The API.
    pub(crate) api: Endpoint,
    /// What is around it.
    pub(crate) world: World,
    config: PathBuf,
    fixed: String,
    /// Where its files are.
    pub(crate) directory: Directory,
    /// Whether it is a real one.
    pub(crate) real: bool,
}

/// What a TiProxy is started with.
#[derive(Default)]
pub(crate) struct Start {
    /// Lines of the configuration: those without a section, then sections.
    pub(crate) config: String,
    /// The configuration is a whole one, as the operator renders it: its addresses are replaced.
    pub(crate) whole: bool,
    /// Whether the API speaks TLS.
    pub(crate) api_tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    /// Flags of TiProxy.
    pub(crate) flags: Vec<String>,
    /// TLS of the surroundings.
    pub(crate) tls: WorldTls,
}

impl Start {
    pub(crate) fn config(config: &str) -> Self {
        Self {
            config: config.to_owned(),
            ..Self::default()
        }
    }

    /// Starts it, and waits until its API answers.
    pub(crate) async fn run(self, line: Line) -> Proxy {
        let proxy = self.launch(line, Directory::new()).await;
        eventually("the API answers", async || {
            let answer = proxy
                .api
                .request("GET", "/api/admin/config/?format=json", "")
                .await;
            answer
                .map_err(|error| error.to_string())
                .and_then(|answer| expect(answer.status == 200, answer))
                .map_err(|seen| format!("{seen}; it printed: {}", proxy.output()))
        })
        .await;
        proxy
    }

    /// Starts it.
    pub(crate) async fn launch(self, line: Line, directory: Directory) -> Proxy {
        let real = real(line);
        let world = if real.is_some() {
            World::cluster(&directory.0, self.tls).await
        } else {
            World::file(&directory.0)
        };
        let (sql, api) = (free_port(), free_port());
        let config = directory.0.join("config.toml");
        // With dotted keys, so that it can stand before every section of the test.
        let fixed = format!(
            "proxy.addr = \"127.0.0.1:{sql}\"\nproxy.pd-addrs = \"{}\"\napi.addr = \"127.0.0.1:{api}\"\n",
            world.pd_addrs()
        );
        let text = if self.whole {
            localized(&self.config, sql, api, &world)
        } else {
            format!("{fixed}{}", self.config)
        };
        fs::write(&config, text).unwrap();
        let log = File::create(directory.0.join("tiproxy.log")).unwrap();
        let mut command = command(line);
        if real.is_none() {
            command.arg("--backends").arg(directory.0.join("backends.json"));
        }
        let child = command
            .arg("--config")
            .arg(&config)
            .args(&self.flags)
            .current_dir(&directory.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Proxy {
            child,
            sql,
            api: Endpoint {
                port: api,
                tls: self.api_tls,
            },
            world,
            config,
            fixed,
            directory,
            real: real.is_some(),
        }
    }
}

/// A whole configuration with the addresses that there are here.
fn localized(config: &str, sql: u16, api: u16, world: &World) -> String {
    config
        .replace("0.0.0.0:6000", &format!("127.0.0.1:{sql}"))
        .replace("0.0.0.0:3080", &format!("127.0.0.1:{api}"))
        .replace("pd.example:2379", &world.pd_addrs())
}

/// The program, without arguments.
pub(crate) fn command(line: Line) -> Command {
    if let Some(binary) = real(line) {
        return Command::new(binary);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiproxy-standin"));
    command.args(["--line", if line == Line::V1_3 { "v1.3" } else { "v26" }]);
    command
}

impl Proxy {
    /// Writes another configuration into its file.
    pub(crate) fn write_config(&self, config: &str) {
        self.write(&format!("{}{config}", self.fixed));
    }

    /// Writes another whole configuration into its file.
    pub(crate) fn replace_config(&self, config: &str) {
        self.write(&self.localized(config));
    }

    fn write(&self, text: &str) {
        let temporary = self.config.with_extension("new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, &self.config).unwrap();
    }

    /// A whole configuration with its addresses.
    pub(crate) fn localized(&self, config: &str) -> String {
        localized(config, self.sql, self.api.port, &self.world)
    }

    /// What stands in its file.
    pub(crate) fn file(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    /// The configuration in force.
    pub(crate) async fn config(&self) -> Value {
        self.api.get("/api/admin/config/?format=json").await.json()
    }

    /// A healthy TiDB without labels, and health that says so.
    pub(crate) async fn with_tidb(mut self) -> Self {
        self.world.add(labels(&[]), true).await;
        self.is_healthy(true).await;
        self
    }

    /// Waits for this health, and returns the body.
    pub(crate) async fn is_healthy(&self, healthy: bool) -> Value {
        let status = if healthy { 200 } else { 502 };
        eventually("health", async || {
            let answer = self.api.request("GET", "/api/debug/health", "").await;
            let answer = answer.map_err(|error| error.to_string())?;
            expect(answer.status == status, answer)
        })
        .await
        .json()
    }

    /// All series with their values.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.api.get("/metrics/").await.body;
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// A series; one that is not there is 0.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.metrics().await.get(series).copied().unwrap_or(0.0)
    }

    /// Waits until a series has this value.
    pub(crate) async fn metric_becomes(&self, series: &str, value: f64) {
        eventually(series, async || {
            let seen = self.metric(series).await;
            expect((seen - value).abs() < 1e-9, seen)
        })
        .await;
    }

    /// What Kubernetes sends first.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success(), "it had ended before: {}", self.output());
    }

    /// The exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        eventually("the process ends", async || {
            self.ended().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// Whether it still runs after this time.
    pub(crate) async fn runs_after(&mut self, time: Duration) -> bool {
        tokio::time::sleep(time).await;
        self.ended().is_none()
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.directory.0.join("tiproxy.log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- it printed:\n{}", self.output());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
