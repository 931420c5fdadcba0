//! The operator, as the binary that is shipped.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::wait::eventually;

/// A running operator; dropping it kills it.
pub(crate) struct Operator {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts it with the log in a file of its own.
    pub(crate) fn spawn(kubeconfig: &Path, namespace: &str, directory: &Path, arguments: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(1);
        let log = directory.join(format!(
            "operator-{}.log",
            STARTED.fetch_add(1, Ordering::Relaxed)
        ));
        let output = File::create(&log).expect("the operator's log can be written");
        let address = free_address();
        let child = Command::new(env!("CARGO_BIN_EXE_tiproxy-operator"))
            .arg("run")
            .args(["--watch-namespace", namespace])
            .args(["--bind-address", &address.to_string()])
            .args(["--log-format", "json"])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file handle can be copied"))
            .stderr(output)
            .spawn()
            .expect("the operator can be started");
        Self { child, address, log }
    }

    /// Waits for `/readyz`.
    pub(crate) async fn wait_until_ready(&self) {
        eventually(
            Duration::from_secs(30),
            "the operator is ready",
            async || match self.get("/readyz") {
                Some((200, _)) => Ok(()),
                answer => Err(format!("{answer:?}; its log is {}", self.log.display())),
            },
        )
        .await;
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Asks it to stop, as Kubernetes does, and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let id = self.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &id])
            .status()
            .expect("a shell can be started");
        assert!(sent.success(), "the operator had ended before: {}", self.log());
        eventually(Duration::from_secs(30), "the operator stopped", async || {
            self.ended().ok_or_else(|| format!("process {id} runs"))
        })
        .await
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the operator's log can be read")
    }

    /// The HTTP status and body of a path such as `/metrics`; `None` when nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // HTTP/1.0, so that the body ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago; the system does not hand it out again at once.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a local port is free")
}
