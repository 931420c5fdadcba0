//! The command `tiproxy-operator render` from outside: exit code, what goes where, and the samples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the command with the text as its standard input, in an environment without variables of ours.
fn render(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tiproxy-operator"))
        .arg("render")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the operator starts");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("an input").write_all(input.as_bytes());
    child.wait_with_output().expect("the operator ends")
}

struct Result {
    code: Option<i32>,
    config: String,
    told: String,
}

fn result(arguments: &[&str], input: &str) -> Result {
    let output = render(arguments, input);
    Result {
        code: output.status.code(),
        config: String::from_utf8(output.stdout).unwrap(),
        told: String::from_utf8(output.stderr).unwrap(),
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config/samples")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(sample(name)).unwrap()
}

#[test]
fn the_configuration_goes_to_the_output_and_the_rest_elsewhere() {
    let rfc = sample("rfc.yaml");
    let found = result(&["-f", rfc.to_str().unwrap()], "");
    assert_eq!(found.code, Some(0), "{}", found.told);
    let document: toml_edit::DocumentMut = found.config.parse().unwrap();
    assert_eq!(document["proxy"]["addr"].as_str(), Some("0.0.0.0:6000"));
    assert_eq!(document["log"]["level"].as_str(), Some("info"));
    assert!(
        found
            .told
            .starts_with("note: TiProxyGroup tiproxy: there is no Cluster basic in the input"),
        "{}",
        found.told
    );
}

#[test]
fn the_standard_input_and_a_cluster_beside_the_group_are_read() {
    let both = format!("{}\n---\n{}", read("rfc-association.yaml"), read("cluster.yaml"));
    let found = result(&["--filename=-", "--namespace", "database", "--ordinal=2"], &both);
    assert_eq!((found.code, found.told.as_str()), (Some(0), ""));
    for part in [
        "advertise-addr = \"tiproxy-oltp-tiproxy-2.tiproxy-oltp-tiproxy-peer.database.svc\"",
        "pd-addrs = \"basic-pd.database.svc:2379\"",
        "group = \"oltp\"",
    ] {
        assert!(found.config.contains(part), "{part}: {}", found.config);
    }
    // In two files it is the same.
    let (group, cluster) = (sample("rfc-association.yaml"), sample("cluster.yaml"));
    let files = ["-f", group.to_str().unwrap(), "-f", cluster.to_str().unwrap()];
    let again = result(&[&files[..], &["-n", "database", "--ordinal=2"]].concat(), "");
    assert_eq!((again.config, again.told), (found.config, String::new()));
}

#[test]
fn addresses_of_pd_can_be_given() {
    let found = result(&["-f", "-", "--pd-addrs", "a:1,[::1]:2"], &read("rfc.yaml"));
    assert!(
        found.config.contains("pd-addrs = \"a:1,[::1]:2\""),
        "{}",
        found.config
    );
    assert_eq!(found.told, "");
    for bad in ["a", "a:0", ":1", "http://a:1", "a:65536", "a:1,b"] {
        let found = result(&["-f", "-", "--pd-addrs", bad], &read("rfc.yaml"));
        assert_eq!((found.code, found.config.as_str()), (Some(2), ""), "{bad}");
        assert!(found.told.contains("it must be host:port"), "{}", found.told);
    }
}

#[test]
fn what_the_operator_would_refuse_ends_with_1() {
    let rfc = "apiVersion: core.pingcap.com/v1alpha1\nkind: TiProxyGroup\nmetadata: {name: oltp}\nspec:\n  cluster: \
               {name: basic}\n  replicas: 1\n  template:\n    spec:\n      version: v1.3.2\n      config: |\n        \
               labels={\"group\":\"oltp\"}\n        [balance]\n        label-name=\"group\"\n";
    let found = result(&["-f", "-"], rfc);
    assert_eq!((found.code, found.config.as_str()), (Some(1), ""));
    assert!(
        found
            .told
            .starts_with("error: TiProxyGroup oltp: spec.template.spec.config: line 1, column 16: "),
        "{}",
        found.told
    );
    assert!(
        found.told.contains("labels = { group = \"oltp\" }"),
        "{}",
        found.told
    );
    let corrected = rfc.replace("labels={\"group\":\"oltp\"}", "labels = { group = \"oltp\" }");
    let found = result(&["-f", "-", "--pd-addrs=pd:2379"], &corrected);
    assert_eq!((found.code, found.told.as_str()), (Some(0), ""));

    let unknown = corrected.replace("replicas: 1", "replica: 1\n  replicas: 1");
    let found = result(&["-f", "-"], &unknown);
    assert_eq!((found.code, found.config.as_str()), (Some(1), ""));
    assert_eq!(
        found.told,
        "error: TiProxyGroup oltp: unknown field \"spec.replica\"\n"
    );
    for (file, told) in [
        (
            "/nonexistent/web.yaml",
            "error: /nonexistent/web.yaml cannot be read: ",
        ),
        (
            "-",
            "error: the standard input: there is no TiProxyGroup and no TiProxy to render",
        ),
    ] {
        let found = result(&["-f", file], "");
        assert_eq!((found.code, found.config.as_str()), (Some(1), ""));
        assert!(found.told.starts_with(told), "{}", found.told);
    }
    assert_eq!(result(&[], "").code, Some(2));
}

#[test]
fn every_sample_renders() {
    for entry in std::fs::read_dir(sample("")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("cluster.yaml") {
            continue;
        }
        let cluster = sample("cluster.yaml");
        let found = result(
            &["-f", path.to_str().unwrap(), "-f", cluster.to_str().unwrap()],
            "",
        );
        assert_eq!(found.code, Some(0), "{}: {}", path.display(), found.told);
        assert!(found.config.contains("[proxy]\n"), "{}", path.display());
        assert!(
            !found.told.contains("note: "),
            "{}: {}",
            path.display(),
            found.told
        );
    }
}
