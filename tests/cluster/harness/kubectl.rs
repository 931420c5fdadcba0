//! kubectl, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::cluster::Settings;

/// kubectl with a kubeconfig and a namespace.
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    cache: PathBuf,
}

/// What a run of kubectl gave.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Kubectl {
    /// The cache is below `directory`: another cluster may have had the same address before.
    pub(crate) fn new(settings: &Settings, namespace: &str, directory: &Path) -> Self {
        Self {
            program: settings.kubectl.clone(),
            kubeconfig: settings.kubeconfig.clone(),
            namespace: namespace.to_owned(),
            cache: directory.join("kubectl-cache"),
        }
    }

    /// Runs kubectl, whatever comes of it.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "").await
    }

    /// Runs kubectl with a text on its standard input, whatever comes of it.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(&self.program)
            .env_remove("KUBECONFIG")
            .env("KUBECACHEDIR", &self.cache)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl can be started");
        let mut stdin = child.stdin.take().expect("the input is piped");
        // kubectl may end without reading it all; its exit code then tells more than the broken pipe.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs kubectl, which must succeed; returns what it prints.
    pub(crate) async fn succeed(&self, arguments: &[&str]) -> String {
        self.succeed_with_input(arguments, "").await
    }

    /// Runs kubectl with a text on its standard input, which must succeed; returns what it prints.
    pub(crate) async fn succeed_with_input(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run_with_input(arguments, input).await;
        assert_eq!(output.code, Some(0), "kubectl {arguments:?}: {output:?}");
        output.stdout
    }
}
