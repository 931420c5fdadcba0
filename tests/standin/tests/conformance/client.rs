//! An ordinary MySQL client: the program `mysql`, of MySQL or of `MariaDB`.

use std::process::{Command, Output};

use tiproxy_standin::flags::Line;

use crate::combination::Combination;
use crate::matrix::Certificates;
use crate::subject::Proxy;

/// Runs statements without any files of the user's, and without a certificate.
fn mysql(proxy: &Proxy, arguments: &[&str], statements: &str) -> Output {
    Command::new("mysql")
        .arg("--no-defaults")
        .args([
            "--host",
            "127.0.0.1",
            "--port",
            &proxy.sql.to_string(),
            "--protocol",
            "tcp",
        ])
        .args([
            "--user",
            "root",
            "--batch",
            "--skip-column-names",
            "--connect-timeout",
            "20",
        ])
        .args(arguments)
        .args(["--execute", statements])
        .output()
        .expect("the program mysql is needed: apt-get install -y default-mysql-client")
}

/// The flags that demand TLS and do not verify the server: those of `MariaDB` and of MySQL differ.
fn tls_flags() -> &'static [&'static str] {
    let version = Command::new("mysql")
        .arg("--version")
        .output()
        .expect("the program mysql is needed: apt-get install -y default-mysql-client");
    if String::from_utf8_lossy(&version.stdout).contains("MariaDB") {
        &["--ssl", "--skip-ssl-verify-server-cert"]
    } else {
        &["--ssl-mode=REQUIRED"]
    }
}

async fn logs_in(line: Line) {
    // The TLS of the RFC's manifest: mysql and backend.
    let rfc = Combination {
        mysql: true,
        backend: true,
        cluster: false,
        http: false,
    };
    let certificates = Certificates::new();
    let (proxy, _) = certificates.start(line, rfc).await;
    proxy.is_healthy(true).await;
    let output = tokio::task::block_in_place(|| mysql(&proxy, tls_flags(), "SELECT 'served';\nstatus"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.lines().any(|line| line == "served"), "{text}");
    let encrypted = text
        .lines()
        .find(|line| line.starts_with("SSL:"))
        .unwrap_or_else(|| panic!("no line on TLS: {text}"));
    assert!(encrypted.contains("Cipher in use"), "{encrypted}");
    println!("{line:?}: {encrypted}");

    // The same without TLS: it is offered, not demanded.
    let output = tokio::task::block_in_place(|| mysql(&proxy, &["--skip-ssl"], "SELECT 'served';\nstatus"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("Not in use"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_client_without_a_certificate_logs_in_to_the_older_line_by_tls() {
    logs_in(Line::V1_3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_client_without_a_certificate_logs_in_to_the_newer_line_by_tls() {
    logs_in(Line::V26).await;
}
