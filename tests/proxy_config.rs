//! The configuration layer from outside: what a user writes, what TiProxy gets, and what the user is told.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use tiproxy_operator::proxy_config::{
    Diagnosis, DiagnosisKind, MAX_CONFIG_BYTES, Managed, Rendered, Severity, Tls, TlsFiles, parse, render,
};

/// What the operator sets for the RFC's manifest: TLS to clients and to TiDB, none within the cluster.
fn managed() -> Managed {
    Managed {
        sql_port: 6000,
        api_port: 3080,
        advertise_address: "basic-tiproxy-0.basic-tiproxy-peer.default.svc".to_owned(),
        pd_addresses: vec!["basic-pd.default:2379".to_owned()],
        tls: Tls {
            server_sql: Some(TlsFiles {
                ca: Some("/var/lib/tiproxy-sql-tls/ca.crt".to_owned()),
                cert: Some("/var/lib/tiproxy-sql-tls/tls.crt".to_owned()),
                key: Some("/var/lib/tiproxy-sql-tls/tls.key".to_owned()),
                skip_ca: true,
            }),
            backend: Some(TlsFiles {
                ca: Some("/var/lib/tiproxy-tidb-tls/ca.crt".to_owned()),
                ..TlsFiles::default()
            }),
            require_backend_tls: true,
            ..Tls::default()
        },
        ..Managed::default()
    }
}

/// Without any TLS, so that a text of the user stands out.
fn plain() -> Managed {
    Managed {
        tls: Tls::default(),
        ..managed()
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[track_caller]
fn rendered(text: &str, managed: &Managed) -> Rendered {
    let user = parse(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    render(&user, managed)
}

#[track_caller]
fn errors(text: &str) -> Vec<Diagnosis> {
    let errors = parse(text).expect_err("an error");
    assert!(
        errors.iter().all(|error| error.severity == Severity::Error),
        "{errors:?}"
    );
    errors
}

/// The only error of a text: kind, line, column and sentence.
#[track_caller]
fn error(text: &str) -> (DiagnosisKind, usize, usize, String) {
    let errors = errors(text);
    let [error] = errors.as_slice() else {
        panic!("{text}: {errors:?}")
    };
    (
        error.kind,
        error.line.unwrap_or(0),
        error.column.unwrap_or(0),
        error.to_string(),
    )
}

/// The warnings of a text under a managed part as sentences.
fn warnings(text: &str, managed: &Managed) -> Vec<String> {
    rendered(text, managed)
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn warning(text: &str, managed: &Managed) -> String {
    let warnings = warnings(text, managed);
    let [warning] = warnings.as_slice() else {
        panic!("{text}: {warnings:#?}")
    };
    warning.clone()
}

/// The value at a path of a rendered document, as TOML.
fn value(toml: &str, path: &[&str]) -> Option<String> {
    let document = toml
        .parse::<toml_edit::DocumentMut>()
        .expect("rendered TOML parses");
    let mut item = document.as_item();
    for name in path {
        item = item.get(name)?;
    }
    Some(item.to_string().trim().to_owned())
}

#[test]
fn the_manifest_of_the_rfc() {
    let Rendered { toml, warnings } = rendered("", &managed());
    assert_eq!(warnings, []);
    insta::assert_snapshot!(toml);
}

#[test]
fn the_association_of_the_rfc_as_it_is_written_there() {
    let (kind, line, column, sentence) =
        error("labels={\"group\":\"oltp\"}\n[balance]\nlabel-name=\"group\"\n");
    assert_eq!((kind, line, column), (DiagnosisKind::Syntax, 1, 16));
    assert!(sentence.starts_with("line 1, column 16: "), "{sentence}");
    assert!(sentence.contains("labels = { group = \"oltp\" }"), "{sentence}");
}

#[test]
fn the_association_of_the_rfc_with_the_equals_sign() {
    let text = "labels = { group = \"oltp\" }\n[balance]\nlabel-name = \"group\"\n";
    let Rendered { toml, warnings } = rendered(text, &plain());
    assert_eq!(warnings, []);
    insta::assert_snapshot!(toml);
}

#[test]
fn everything_at_once() {
    let text = r#"
        # Comments go.
        labels.tier = 'gold'
        proxy.backend-clusters = [{ name = "a", pd-addrs = "pd-a:2379,pd-b:2379" }, { Name = "b", pd-addrs = "pd-c:2379", ns-servers = ["10.0.0.10"] }]
        proxy.max-connections = 1_000
        balance = { routing-rule = "port", policy = """connection""" }
        future.setting = [1979-05-27T07:32:00Z, 07:32:00, "\u001b", nan]
        [proxy.backend-healthy-keepalive]
        idle = "1m"
    "#;
    let files = |name: &str| TlsFiles {
        ca: Some(format!("/var/lib/{name}/ca.crt")),
        cert: Some(format!("/var/lib/{name}/tls.crt")),
        key: Some(format!("/var/lib/{name}/tls.key")),
        skip_ca: false,
    };
    let managed = Managed {
        labels: labels(&[("group", "oltp")]),
        default_labels: labels(&[
            ("zone", "us-1a"),
            ("host", "node-1"),
            ("region", "us-1"),
            ("tier", "silver"),
        ]),
        label_name: Some("group".to_owned()),
        traffic_replay: true,
        tls: Tls {
            cluster: Some(files("cluster")),
            server_http: Some(TlsFiles {
                skip_ca: true,
                ..files("http")
            }),
            server_sql: Some(files("sql")),
            backend: Some(files("tidb")),
            require_backend_tls: true,
        },
        version: Some("v26.3.1".to_owned()),
        ..managed()
    };
    let Rendered { toml, warnings } = rendered(text, &managed);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(toml);
    insta::assert_yaml_snapshot!(warnings);
}

#[test]
fn one_document_in_many_spellings_gives_the_same_bytes() {
    let wanted = rendered(
        "[proxy]\nmax-connections = 5\naddr = \"x\"\n[log.log-file]\nmax-size = 7\n",
        &plain(),
    )
    .toml;
    for text in [
        "proxy = { max-connections = 5, addr = \"x\" }\nlog = { log-file = { max-size = 7 } }",
        "proxy.max-connections = 5\nproxy.addr = \"x\"\nlog.log-file.max-size = 7",
        "[log]\nlog-file.max-size = 7\n[proxy]\naddr = 'x' # why\nmax-connections = 0b101",
        "[\"proxy\"]\r\n\"max-connections\" = +5\r\n'addr' = \"\\u0078\"\r\n[log.\"log-file\"]\r\nmax-size=0x7\r\n",
        "\u{feff}[proxy]\nmax-connections = 5\naddr = \"\"\"\nx\"\"\"\n[log.log-file]\nmax-size = 7",
        "[Proxy]\nMAX-CONNECTIONS = 5\nAddr = \"x\"\n[log.\"log-file\"]\n\"max-\u{17f}ize\" = 7\n",
        "proxy = {\n  max-connections = 5, # TOML 1.1\n  addr = \"\\x78\",\n}\nlog.log-file = { max-size = 7, }",
    ] {
        assert_eq!(rendered(text, &plain()).toml, wanted, "{text}");
    }
    let arrays = "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"a:1\"\n";
    let inline = "[proxy]\nbackend-clusters = [{ pd-addrs = \"a:1\", name = \"a\" }]";
    assert_eq!(rendered(arrays, &plain()).toml, rendered(inline, &plain()).toml);
    for empty in [
        "",
        "\n",
        "# nothing",
        "\u{feff}",
        "[proxy]",
        "[proxy.frontend-keepalive]\n",
        "\r\n\r\n",
    ] {
        let toml = rendered(empty, &plain()).toml;
        assert_eq!(
            value(&toml, &["proxy", "addr"]).as_deref(),
            Some("\"0.0.0.0:6000\""),
            "{empty:?}"
        );
    }
}

#[test]
fn what_toml_1_1_adds_is_written_as_1_0() {
    let text =
        "x.time = 07:32\nx.moment = 1979-05-27 07:32Z\nx.escape = \"\\e\\x41\"\nx.table = {\n a = 1,\n}";
    let toml = rendered(text, &plain()).toml;
    assert!(toml.contains("time = 07:32:00\n"), "{toml}");
    assert!(toml.contains("moment = 1979-05-27T07:32:00Z\n"), "{toml}");
    assert!(toml.contains("escape = \"\\u001BA\"\n"), "{toml}");
    assert!(toml.contains("[x.table]\na = 1\n"), "{toml}");
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    for (text, line, column, part) in [
        (
            "proxy = 3",
            1,
            9,
            "`proxy` must be a table, but is an integer: write `[proxy]`",
        ),
        (
            "[[proxy]]\naddr = \"x\"",
            1,
            1,
            "`proxy` must be a table, but is an array of tables",
        ),
        (
            "[proxy]\nmax-connections = \"9\"",
            2,
            19,
            "`proxy.max-connections` = \"9\" must be an integer of at least 0, but is a string",
        ),
        (
            "[proxy]\naddr = 6000",
            2,
            8,
            "`proxy.addr` = 6000 must be a string, but is an integer",
        ),
        (
            "labels = \"a\"",
            1,
            10,
            "`labels` = \"a\" must be a table of strings, but is a string",
        ),
        (
            "labels = { \"ä\" = \"ö\", n = 1 }",
            1,
            27,
            "`labels.n` must be a string, as every label, but is an integer",
        ),
        (
            "labels.a.b = \"c\"",
            1,
            10,
            "`labels.a` must be a string, as every label, but is a table",
        ),
        ("[balance]\ncpu = 1", 2, 7, "`balance.cpu` must be a table"),
        (
            "enable-traffic-replay = \"yes\"",
            1,
            25,
            "must be true or false, but is a string",
        ),
        (
            "[log.log-file]\nfilename = ['a']",
            2,
            12,
            "= [\"a\"] must be a string, but is an array",
        ),
        (
            "[metering]\ntype = 1234567",
            2,
            8,
            "`metering.type` must be a string, but is an integer",
        ),
        ("[proxy]\nport-range = [\"a\", 1]", 2, 14, "must be [first, last]"),
        (
            "[proxy]\nbackend-clusters = [1]",
            2,
            21,
            "`proxy.backend-clusters[0]` must be a table, but is an integer",
        ),
    ] {
        let (kind, at_line, at_column, sentence) = error(text);
        assert_eq!(kind, DiagnosisKind::Type, "{sentence}");
        assert!(sentence.contains(part), "{sentence}");
        assert_eq!((at_line, at_column), (line, column), "{text}: {sentence}");
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_text() {
    let errors = errors("[log]\nlevel = \"loud\"\n[proxy]\nconn-buffer-size = 5\nmax-connections = -1\n");
    let lines: Vec<_> = errors.iter().map(|error| (error.line, error.kind)).collect();
    let range = DiagnosisKind::Range;
    assert_eq!(lines, [(Some(2), range), (Some(4), range), (Some(5), range)]);
    assert_eq!(errors[1].key.as_deref(), Some("proxy.conn-buffer-size"));
}

#[test]
fn too_much_is_refused_at_once() {
    let long = format!("# {}", "x".repeat(1024 * 1024));
    let (kind, _, _, sentence) = error(&long);
    assert_eq!(kind, DiagnosisKind::TooLarge);
    assert!(
        sentence.contains(&format!("at most {MAX_CONFIG_BYTES} are allowed")),
        "{sentence}"
    );
    let (kind, line, _, sentence) = error(&format!("\na = {}", "[".repeat(1000)));
    assert_eq!((kind, line), (DiagnosisKind::TooLarge, 2), "{sentence}");
    let fits = format!("# {}", "x".repeat(MAX_CONFIG_BYTES - 2));
    assert!(parse(&fits).is_ok());
}
