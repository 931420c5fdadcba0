//! The start.

use std::collections::BTreeMap;

use serde_json::Value;
use tiproxy_standin::flags::Line;

use crate::certificates::Authority;
use crate::subject::{Directory, Start, command};

pub(crate) async fn what_is_wrong_at_the_start_ends_it(line: Line) {
    let directory = Directory::new();
    let authority = Authority::new("ca");
    let mount = authority.mount(&directory.0.join("tls"), &authority.pair("tiproxy"));
    let other = authority.mount(&directory.0.join("other"), &authority.pair("other"));
    let mixed = format!(
        "[security.server-tls]\ncert = {:?}\nkey = {:?}\n",
        mount.path("tls.crt"),
        other.path("tls.key")
    );
    std::fs::write(other.path("ca.crt"), "no certificate").unwrap();
    let missing = |object: &str| format!("[security.{object}]\nca = \"/missing/ca.crt\"\n");
    let server = |object: &str| format!("[security.{object}]\ncert = \"/missing/a\"\nkey = \"/missing/b\"\n");
    for text in [
        "not TOML",
        "log.level = 3",
        "labels = {a = 1}",
        "balance.policy = \"none\"",
        "proxy.conn-buffer-size = 1",
        &missing("cluster-tls"),
        &missing("sql-tls"),
        &server("server-tls"),
        &server("server-http-tls"),
        &mixed,
    ] {
        let mut proxy = Start::config(text).launch(line, Directory::new()).await;
        let status = proxy.ends().await;
        assert_eq!(status.code(), Some(1), "{text}: {}", proxy.output());
        assert!(
            proxy.output().contains("fail to create server"),
            "{text}: {}",
            proxy.output()
        );
    }
    // What is not looked at does no harm: a server's CA without a pair, a client's pair without a CA.
    for text in [
        missing("server-tls"),
        server("cluster-tls"),
        format!("{}skip-ca = true\n", server("sql-tls")),
    ] {
        let start = Start::config(&text).run(line).await;
        drop(start);
    }
    // A CA file without a certificate in it: an error in the newer line only.
    let empty = other.object("sql-tls", &["ca"]);
    if line == Line::V26 {
        let mut proxy = Start::config(&empty).launch(line, Directory::new()).await;
        assert_eq!(proxy.ends().await.code(), Some(1), "{}", proxy.output());
    } else {
        drop(Start::config(&empty).run(line).await);
    }
    let absent = command(line)
        .args(["--config", "/missing/config.toml"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(1));
}

pub(crate) async fn the_keys_are_those_that_it_prints(line: Line) {
    let output = command(line).args(["--config-info", "json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = parameters(&serde_json::from_slice(&output.stdout).unwrap());
    let expected = parameters(&tiproxy_standin::config::Config::defaults(line).info());
    assert!(printed.len() > 70, "{printed:?}");
    for (key, found) in &printed {
        assert_eq!(expected.get(key), Some(found), "{key}");
    }
    assert_eq!(printed.len(), expected.len(), "{:?}", expected.keys());
}

/// Type and default by key. Numbers are compared by their value: Go prints 0 where we print 0.0.
fn parameters(info: &Value) -> BTreeMap<String, (String, String)> {
    let list = info["Parameters"].as_array().unwrap();
    list.iter()
        .map(|entry| {
            let default = &entry["default_value"];
            let default = default
                .as_f64()
                .map_or(default.to_string(), |number| number.to_string());
            let kind = entry["type"].as_str().unwrap().to_owned();
            (entry["key"].as_str().unwrap().to_owned(), (kind, default))
        })
        .collect()
}
