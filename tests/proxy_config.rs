//! The configuration layer from outside: what a user writes, what TiProxy gets, and what the user is told.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]
#![allow(clippy::too_many_lines, reason = "tables of inputs are long")]

use std::collections::BTreeMap;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use tiproxy_operator::proxy_config::{
    Diagnosis, DiagnosisKind, KEYS, Key, Kind, MAX_CONFIG_BYTES, Managed, Rendered, Severity, Tls, TlsFiles,
    classify, parse, render, tombstones,
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
fn a_quoted_name_with_dots_is_not_the_key_that_it_looks_like() {
    let text = "\"proxy.backend-clusters\" = [{ name = \"a\" }]\n\"log.log-file\" = { filename = \"b\" }\n\
                [proxy]\n\"frontend-keepalive.enabled\" = false\n";
    let Rendered { toml, warnings } = rendered(text, &plain());
    assert!(
        toml.contains("\n\"proxy.backend-clusters\" = [{ name = \"a\" }]\n"),
        "{toml}"
    );
    assert!(
        toml.contains("\"log.log-file\" = { filename = \"b\" }\n"),
        "{toml}"
    );
    let keys: Vec<_> = warnings
        .iter()
        .filter_map(|warning| warning.key.as_deref())
        .collect();
    let quoted = [
        "\"proxy.backend-clusters\"",
        "\"log.log-file\"",
        "proxy.\"frontend-keepalive.enabled\"",
    ];
    assert_eq!(keys, quoted);
    assert_eq!(classify("", text).ignored.len(), 3);
    assert_eq!(tombstones(text, "").keys, [""; 0]);
}

#[test]
fn what_toml_1_1_adds_is_written_as_1_0() {
    let text =
        "x.time = 07:32\nx.moment = 1979-05-27 07:32Z\nx.escape = \"\\e\\x41\"\nx.table = {\n a = 1,\n}";
    let toml = rendered(text, &plain()).toml;
    assert!(toml.contains("time = 07:32:00 }"), "{toml}");
    assert!(toml.contains("moment = 1979-05-27T07:32:00Z, "), "{toml}");
    assert!(toml.contains("escape = \"\\u001BA\", "), "{toml}");
    assert!(toml.contains("table = { a = 1 }"), "{toml}");
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    for (text, line, column, part) in [
        // TiProxy reads it nowhere, but does not start when it cannot decode it.
        (
            "workdir = 3",
            1,
            11,
            "`workdir` must be a string, but is an integer",
        ),
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
            8,
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

#[test]
fn a_users_value_of_a_managed_key_is_overridden_and_named() {
    let managed = Managed {
        label_name: Some("group".to_owned()),
        labels: labels(&[("group", "oltp")]),
        ..plain()
    };
    for (text, sentence) in [
        (
            "[proxy]\naddr = \"[::]:4000\"",
            "line 2, column 1: `proxy.addr` = \"[::]:4000\" is overridden, the operator sets it to \"0.0.0.0:6000\": \
             remove it from config and use spec.template.spec.server.port.sql",
        ),
        (
            "api.addr = \"\"",
            "line 1, column 5: `api.addr` = \"\" is overridden, the operator sets it to \"0.0.0.0:3080\": \
             remove it from config and use spec.template.spec.server.port.api",
        ),
        (
            "[proxy]\nadvertise-addr = \"a\"",
            "line 2, column 1: `proxy.advertise-addr` = \"a\" is overridden, the operator sets it to the DNS name of \
             each Pod: remove it from config",
        ),
        (
            "[proxy]\npd-addrs = \"pd:2379\"",
            "line 2, column 1: `proxy.pd-addrs` = \"pd:2379\" is overridden, the operator sets it to \
             \"basic-pd.default:2379\": remove it from config and use spec.cluster",
        ),
        (
            "enable-traffic-replay = true",
            "line 1, column 1: `enable-traffic-replay` = true is overridden, the operator sets it to false: \
             remove it from config and use spec.template.spec.trafficReplay.enabled",
        ),
        (
            "[balance]\nlabel-name = \"zone\"",
            "line 2, column 1: `balance.label-name` = \"zone\" is overridden, the operator sets it to \"group\": \
             remove it from config and use spec.template.spec.balance.labelName",
        ),
        (
            "labels = { group = \"olap\", zone = \"a\" }",
            "line 1, column 12: `labels.group` = \"olap\" is overridden, the operator sets it to \"oltp\" as \
             spec.template.spec.server.labels says: remove it from config",
        ),
        (
            "security.server-tls.cert = \"/a\"",
            "line 1, column 21: `security.server-tls.cert` = \"/a\" is overridden, the operator sets it to \"\": \
             remove it from config and use spec.template.spec.security.tls.mysql",
        ),
        (
            "security.server-http-tls.auto-certs = true",
            "line 1, column 26: `security.server-http-tls.auto-certs` = true is overridden, the operator sets it to \
             false: remove it from config and use spec.template.spec.security.tls.server",
        ),
        (
            "security.require-backend-tls = true",
            "line 1, column 10: `security.require-backend-tls` = true is overridden, the operator sets it to false: \
             remove it from config and use spec.template.spec.security.tls.backend",
        ),
    ] {
        assert_eq!(warning(text, &managed), sentence, "{text}");
        assert_eq!(
            rendered(text, &managed).warnings[0].kind,
            DiagnosisKind::Overridden
        );
    }
    for equal in [
        "proxy.addr = \"0.0.0.0:6000\"",
        "enable-traffic-replay = false",
        "labels.group = \"oltp\"",
        "balance.label-name = \"group\"",
        "security.sql-tls = { ca = \"\", skip-ca = false }",
    ] {
        assert_eq!(warnings(equal, &managed), [""; 0], "{equal}");
    }
}

#[test]
fn labels_of_the_node_yield_to_the_users_and_typed_ones_win() {
    let managed = Managed {
        labels: labels(&[("region", "typed")]),
        default_labels: labels(&[("zone", "node"), ("host", "node"), ("region", "node")]),
        ..plain()
    };
    let Rendered { toml, warnings } = rendered("labels = { zone = \"mine\", \"a.b\" = \"c\" }", &managed);
    assert_eq!(warnings, []);
    for (name, expected) in [
        ("zone", "\"mine\""),
        ("host", "\"node\""),
        ("region", "\"typed\""),
        ("a.b", "\"c\""),
    ] {
        assert_eq!(
            value(&toml, &["labels", name]).as_deref(),
            Some(expected),
            "{name}"
        );
    }
    // An empty label is a decision too: it turns the zone off.
    let toml = rendered("labels.zone = \"\"", &managed).toml;
    assert_eq!(value(&toml, &["labels", "zone"]).as_deref(), Some("\"\""));
}

#[test]
fn what_tiproxy_would_ignore_is_said() {
    for (text, kind, part) in [
        (
            "proxy.max-conections = 1",
            DiagnosisKind::Unknown,
            "did you mean `proxy.max-connections`?",
        ),
        (
            "max-connections = 1",
            DiagnosisKind::Unknown,
            "did you mean `proxy.max-connections`?",
        ),
        (
            "[loging]\nlevel = \"info\"",
            DiagnosisKind::Unknown,
            "`loging` is no key that TiProxy is known to have",
        ),
        (
            "[proxy.x.y]\nz = 1",
            DiagnosisKind::Unknown,
            "`proxy.x` is no key",
        ),
        (
            "workdir = \"/tmp\"",
            DiagnosisKind::Dead,
            "`workdir` has no effect, TiProxy reads it nowhere: remove it",
        ),
        (
            "[advance]\nignore-wrong-namespace = true",
            DiagnosisKind::Dead,
            "`advance.ignore-wrong-namespace` has no effect",
        ),
        (
            "proxy.require-backend-tls = true",
            DiagnosisKind::Dead,
            "security.require-backend-tls",
        ),
        (
            "proxy.frontend-keepalive.idle = \"60s\"",
            DiagnosisKind::Ineffective,
            "TiProxy reads only `enabled`",
        ),
        (
            "ha.virtual-ip = \"10.0.0.1/24\"",
            DiagnosisKind::Ineffective,
            "a Service gives the address on Kubernetes",
        ),
        (
            "log.encoder = \"xml\"",
            DiagnosisKind::Ineffective,
            "TiProxy uses \"tidb\": it must be \"tidb\", \"json\" or \"console\"",
        ),
        (
            "security.server-tls.min-tls-version = \"3\"",
            DiagnosisKind::Ineffective,
            "TiProxy uses \"1.2\"",
        ),
        (
            "proxy.public-endpoints = [\"10.0.0.1\"]",
            DiagnosisKind::Ineffective,
            "an array of networks",
        ),
        (
            "security.sql-tls.auto-certs = true",
            DiagnosisKind::Ineffective,
            "only for the ports that it serves",
        ),
        (
            "security.server-tls.cert-allowed-cn = [\"a\"]",
            DiagnosisKind::Ineffective,
            "asks its clients for no certificate",
        ),
        (
            "balance.label-name = \"group\"",
            DiagnosisKind::Ineffective,
            "TiProxy routes to every TiDB",
        ),
        (
            "proxy.fail-backend-list = [\"db-0\"]",
            DiagnosisKind::Ineffective,
            "passed over by a TiProxy that starts",
        ),
        (
            "proxy.port-range = [7000, 7010]",
            DiagnosisKind::Combination,
            "leaves out 6000",
        ),
        (
            "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"a:1\"\ncolor = 1",
            DiagnosisKind::Unknown,
            "`proxy.backend-clusters[0].color` is no field of a backend cluster",
        ),
    ] {
        let warnings = rendered(text, &plain()).warnings;
        assert!(
            warnings
                .iter()
                .any(|one| one.kind == kind && one.message.contains(part) && one.line.is_some()),
            "{text}: {warnings:#?}"
        );
    }
    for silent in [
        "proxy.frontend-keepalive = { enabled = false, idle = \"0\", intvl = 0, cnt = 0 }",
        "ha.virtual-ip = \"\"",
        "log.level = \"DEBUG\"",
        "proxy.port-range = [6000, 6010]",
        "security.server-tls = { auto-certs = true, rsa-key-size = 2048, min-tls-version = \"TLSv1.3\" }",
        "balance = { label-name = \"g\", policy = \"\" }\nlabels.g = \"x\"",
        "[balance.conn-count]\ncount-ratio-threshold = 2\nmigrations-per-second = 0",
        "proxy.conn-buffer-size = 0",
        "proxy.graceful-close-conn-timeout = -1",
    ] {
        assert_eq!(warnings(silent, &plain()), [""; 0], "{silent}");
    }
}

#[test]
fn what_depends_on_the_operators_part_is_said_too() {
    let files = || {
        Some(TlsFiles {
            ca: Some("/ca".to_owned()),
            cert: Some("/cert".to_owned()),
            ..TlsFiles::default()
        })
    };
    let http_only = Managed {
        tls: Tls {
            server_http: files(),
            ..Tls::default()
        },
        ..plain()
    };
    assert!(
        warning("", &http_only)
            .contains("`security.server-http-tls` is on and `security.cluster-tls` is off")
    );
    let mutual = TlsFiles {
        ca: None,
        skip_ca: true,
        ..files().unwrap_or_default()
    };
    let unverified = Managed {
        tls: Tls {
            backend: Some(mutual),
            ..Tls::default()
        },
        ..plain()
    };
    assert!(warning("", &unverified).contains("`security.sql-tls.cert` has no effect"));
    let names = "security.server-tls = { cert-allowed-cn = [\"a\"], auto-certs = true }";
    let [makes, has] = &warnings(names, &managed())[..] else {
        panic!("two warnings")
    };
    assert!(
        has.contains("`security.server-tls.auto-certs` has no effect"),
        "{has}"
    );
    assert!(
        makes.contains("refuse every client without a certificate: remove it"),
        "{makes}"
    );
    let label_name = Managed {
        label_name: Some("group".to_owned()),
        ..plain()
    };
    assert!(warning("", &label_name).contains("`balance.label-name` = \"group\" has no effect"));
    assert_eq!(warnings("labels.group = \"a\"", &label_name), [""; 0]);

    let with = |version: &str| Managed {
        version: Some(version.to_owned()),
        ..plain()
    };
    let rule = "balance.routing-rule = \"port\"";
    assert_eq!(
        warning(rule, &with("v1.3.2")),
        "line 1, column 9: `balance.routing-rule` has no effect in v1.3.2: it needs TiProxy \
         v1.4.0-nextgen.202510.0, or v26.3.0 or later"
    );
    assert_eq!(warnings(rule, &with("v26.3.0")), [""; 0]);
    assert_eq!(warnings(rule, &with("nightly")), [""; 0]);
}

#[test]
fn what_tiproxy_would_not_start_with_is_an_error() {
    for (text, kind, part) in [
        (
            "balance.routing-policy = \"idlest\"",
            DiagnosisKind::Range,
            "= \"idlest\" is not allowed: it must be \"prefer-idle\" or \"random\"",
        ),
        (
            "balance.policy = \"zone\"",
            DiagnosisKind::Range,
            "\"resource\", \"location\" or \"connection\"",
        ),
        (
            "balance.routing-rule = \"cidr\"",
            DiagnosisKind::Range,
            "\"client_cidr\", \"proxy_cidr\" or \"port\"",
        ),
        (
            "balance.conn-count.count-ratio-threshold = 1",
            DiagnosisKind::Range,
            "or a number above 1",
        ),
        (
            "balance.conn-count.count-ratio-threshold = inf",
            DiagnosisKind::Range,
            "or a number above 1",
        ),
        (
            "balance.cpu.migrations-per-second = -0.5",
            DiagnosisKind::Range,
            "a number of at least 0",
        ),
        (
            "proxy.conn-buffer-size = 1023",
            DiagnosisKind::Range,
            "an integer between 1024 and 16777216",
        ),
        (
            "proxy.conn-buffer-size = 16777217",
            DiagnosisKind::Range,
            "an integer between 1024 and 16777216",
        ),
        (
            "proxy.high-memory-usage-reject-threshold = 1.1",
            DiagnosisKind::Range,
            "a number between 0 and 1",
        ),
        (
            "proxy.high-memory-usage-reject-threshold = nan",
            DiagnosisKind::Range,
            "a number between 0 and 1",
        ),
        (
            "proxy.failover-timeout = -1",
            DiagnosisKind::Range,
            "an integer of at least 0",
        ),
        (
            "proxy.max-connections = -1",
            DiagnosisKind::Range,
            "an integer of at least 0",
        ),
        (
            "proxy.proxy-protocol = \"v1\"",
            DiagnosisKind::Range,
            "it must be \"v2\"",
        ),
        ("proxy.port-range = [1]", DiagnosisKind::Range, "[first, last]"),
        ("proxy.port-range = [2, 1]", DiagnosisKind::Range, "[first, last]"),
        (
            "proxy.port-range = [1, 65536]",
            DiagnosisKind::Range,
            "[first, last]",
        ),
        (
            "proxy.fail-backend-list = [\" \"]",
            DiagnosisKind::Range,
            "not empty",
        ),
        (
            "proxy.backend-healthy-keepalive.idle = \"60\"",
            DiagnosisKind::Range,
            "a duration such as",
        ),
        (
            "proxy.backend-healthy-keepalive.idle = \"1e3s\"",
            DiagnosisKind::Range,
            "a duration such as",
        ),
        (
            "proxy.backend-healthy-keepalive.idle = \"9999999h\"",
            DiagnosisKind::Range,
            "a duration such as",
        ),
        (
            "log.level = \"warning\"",
            DiagnosisKind::Range,
            "\"debug\", \"info\", \"warn\"",
        ),
        (
            "ha.garp-burst-count = -1",
            DiagnosisKind::Range,
            "an integer of at least 0",
        ),
        (
            "[[proxy.backend-clusters]]\npd-addrs = \"a:1\"",
            DiagnosisKind::Range,
            "`proxy.backend-clusters[0].name` is missing",
        ),
        (
            "[[proxy.backend-clusters]]\nname = \" \"\npd-addrs = \"a:1\"",
            DiagnosisKind::Range,
            "name` is empty",
        ),
        (
            "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"http://a:1\"",
            DiagnosisKind::Range,
            "without http://",
        ),
        (
            "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \",\"",
            DiagnosisKind::Range,
            "one or more host:port",
        ),
        (
            "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"a:1\"\nns-servers = [\"a:0\"]",
            DiagnosisKind::Range,
            "name servers",
        ),
        (
            "Proxy.addr = \"a\"\nproxy.max-connections = 1",
            DiagnosisKind::Combination,
            "written twice in different letter case",
        ),
        ("a = 1\na = 2", DiagnosisKind::Syntax, "duplicate key"),
        ("[proxy\naddr = 1", DiagnosisKind::Syntax, "not TOML"),
    ] {
        let (is, line, _, sentence) = error(text);
        assert!(
            is == kind && line > 0 && sentence.contains(part),
            "{text}: {is:?} {sentence}"
        );
    }
    let clusters = "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"a:1, [::1]:2\"\nns-servers = [\"::1\", \"dns\", \"d:53\"]\n";
    assert!(parse(clusters).is_ok());
    let two = clusters.to_owned() + &clusters.replace("\"a\"", "\"b\"");
    let (kind, line, _, sentence) = error(&two);
    assert_eq!((kind, line), (DiagnosisKind::Combination, 1), "{sentence}");
    assert!(
        sentence.contains("has 2 clusters, and without a routing rule"),
        "{sentence}"
    );
    assert!(parse(&format!("{two}[balance]\nrouting-rule = \"port\"")).is_ok());
    let same = format!("{clusters}{clusters}[balance]\nrouting-rule = \"port\"");
    assert!(
        error(&same)
            .3
            .contains("`proxy.backend-clusters[1].name` = \"a\" is used twice")
    );
}

#[test]
fn no_sentence_repeats_a_secret() {
    for text in [
        "[metering]\nbucket = 0xC0FFEE",
        "metering.aws.secret-access-key = [\"hunter2\"]",
        "metering.azure.account-key = { \"hunter2\" = \"hunter2\" }",
        "[security.server-tls]\nkey = \"hunter2\"",
        "[api]\npassword = \"hunter2\"",
        "[custom]\nsecret = \"hunter2\"",
        "[metering.aws]\nsecret-access-key: hunter2",
        "[metering.aws]\nsecret-access-key = hunter2",
        "[metering.aws]\nsecret-access-key = \"hunter2",
    ] {
        let told = parse(text).map_or_else(|errors| errors, |user| render(&user, &plain()).warnings);
        assert!(!told.is_empty() || text.starts_with("[security"), "{text}");
        for one in told {
            assert!(
                !one.to_string().contains("hunter2") && !one.to_string().contains("12648430"),
                "{text}: {one}"
            );
        }
    }
}

#[test]
fn long_lists_are_cut_and_counted() {
    let many: Vec<String> = (0..100)
        .map(|index| format!("proxy.unknown-{index} = 1"))
        .collect();
    let many = many.join(
        "
",
    );
    let warnings = warnings(&many, &plain());
    assert_eq!(warnings.len(), 33);
    assert_eq!(warnings[32], "and 68 more warnings");
    let long = format!("{} = 1", "x".repeat(1000));
    assert!(warning(&long, &plain()).len() < 300);
}

#[test]
fn what_other_parts_need_is_read_from_the_document() {
    let user = parse(
        "labels.group = \"a\"\n[proxy]\ngraceful-wait-before-shutdown = 30\ngraceful-close-conn-timeout = -5\n\
         [log.log-file]\nfilename = \"/var/log/tiproxy/tiproxy.log\"\n[balance]\nlabel-name = \"group\"",
    )
    .expect("valid");
    assert_eq!(
        (user.graceful_wait_seconds(), user.graceful_close_seconds()),
        (30, 0)
    );
    assert_eq!(user.log_file(), Some("/var/log/tiproxy/tiproxy.log"));
    assert_eq!(
        (user.label_name(), user.label("group"), user.label("zone")),
        (Some("group"), Some("a"), None)
    );
    let empty = parse("").expect("valid");
    assert_eq!(
        (empty.graceful_wait_seconds(), empty.graceful_close_seconds()),
        (0, 15)
    );
    assert_eq!((empty.log_file(), empty.label_name()), (None, None));
}

/// All values of a document by path, in one form for each value.
fn flat(toml: &str) -> BTreeMap<String, String> {
    let document = toml
        .parse::<toml_edit::DocumentMut>()
        .unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let mut values = BTreeMap::new();
    flatten(document.as_table(), "", &mut values);
    values
}

fn flatten(table: &dyn toml_edit::TableLike, prefix: &str, values: &mut BTreeMap<String, String>) {
    for (name, item) in table.iter() {
        let path = format!("{prefix}{name}");
        if let Some(inner) = item.as_table_like() {
            flatten(inner, &format!("{path}."), values);
        } else {
            values.insert(path, canonical(&item.clone().into_value().expect("a value")));
        }
    }
}

fn canonical(value: &toml_edit::Value) -> String {
    use toml_edit::Value::{Array, Boolean, Datetime, Float, InlineTable, Integer, String};
    match value {
        String(text) => format!("{:?}", text.value()),
        Integer(integer) => integer.value().to_string(),
        Float(float) => format!("{:?}", float.value()),
        Boolean(boolean) => boolean.value().to_string(),
        Datetime(datetime) => datetime.value().to_string(),
        Array(array) => format!("{:?}", array.iter().map(canonical).collect::<Vec<_>>()),
        InlineTable(table) => {
            let mut values = BTreeMap::new();
            flatten(table, "", &mut values);
            format!("{values:?}")
        }
    }
}

/// What must stand in every rendered document under [`managed`] and the labels of [`managed_parts`].
fn managed_values(managed: &Managed) -> BTreeMap<String, String> {
    let text = |text: &str| format!("{text:?}");
    let mut values = BTreeMap::from([
        (
            "proxy.addr".to_owned(),
            text(&format!("0.0.0.0:{}", managed.sql_port)),
        ),
        (
            "proxy.advertise-addr".to_owned(),
            text(&managed.advertise_address),
        ),
        ("proxy.pd-addrs".to_owned(), text(&managed.pd_addresses.join(","))),
        (
            "api.addr".to_owned(),
            text(&format!("0.0.0.0:{}", managed.api_port)),
        ),
        (
            "enable-traffic-replay".to_owned(),
            managed.traffic_replay.to_string(),
        ),
        (
            "security.require-backend-tls".to_owned(),
            managed.tls.require_backend_tls.to_string(),
        ),
        (
            "security.server-http-tls.auto-certs".to_owned(),
            "false".to_owned(),
        ),
    ]);
    if let Some(label_name) = &managed.label_name {
        values.insert("balance.label-name".to_owned(), text(label_name));
    }
    let tls = &managed.tls;
    for (object, files) in [
        ("cluster-tls", &tls.cluster),
        ("server-http-tls", &tls.server_http),
        ("server-tls", &tls.server_sql),
        ("sql-tls", &tls.backend),
    ] {
        let files = files.clone().unwrap_or_default();
        for (name, file) in [("ca", files.ca), ("cert", files.cert), ("key", files.key)] {
            values.insert(
                format!("security.{object}.{name}"),
                text(&file.unwrap_or_default()),
            );
        }
        values.insert(format!("security.{object}.skip-ca"), files.skip_ca.to_string());
    }
    for (name, label) in &managed.labels {
        values.insert(format!("labels.{name}"), text(label));
    }
    values
}

fn managed_parts() -> impl Strategy<Value = Managed> {
    let file = || proptest::option::of("/[a-z]{1,8}");
    let files = || {
        let files = (file(), file(), file(), any::<bool>());
        proptest::option::of(files.prop_map(|(ca, cert, key, skip_ca)| TlsFiles {
            ca,
            cert,
            key,
            skip_ca,
        }))
    };
    let labels = || proptest::collection::btree_map("group|zone|host", "[a-z]{0,3}", 0..3);
    let tls = (files(), files(), files(), files(), any::<bool>());
    let tls = tls.prop_map(
        |(cluster, server_http, server_sql, backend, require_backend_tls)| Tls {
            cluster,
            server_http,
            server_sql,
            backend,
            require_backend_tls,
        },
    );
    let version = proptest::option::of(select(vec![
        "v1.3.2".to_owned(),
        "v26.3.1".to_owned(),
        "x".to_owned(),
    ]));
    let typed = (
        labels(),
        labels(),
        proptest::option::of("group|zone"),
        any::<bool>(),
    );
    (
        1..=u16::MAX,
        1..=u16::MAX,
        "[a-z.]{0,9}",
        proptest::collection::vec("[a-z]{1,5}:2379", 0..3),
        typed,
        tls,
        version,
    )
        .prop_map(
            |(sql_port, api_port, advertise_address, pd_addresses, typed, tls, version)| {
                let (labels, default_labels, label_name, traffic_replay) = typed;
                Managed {
                    sql_port,
                    api_port,
                    advertise_address,
                    pd_addresses,
                    labels,
                    default_labels,
                    label_name,
                    traffic_replay,
                    tls,
                    version,
                }
            },
        )
}

/// A value that a key takes, as TOML.
fn fitting(key: &Key) -> BoxedStrategy<String> {
    let one_of = |values: &[&'static str]| {
        select([values, &[""]].concat())
            .prop_map(|text| format!("{text:?}"))
            .boxed()
    };
    // Not by a regular expression: building one for each key took most of the time.
    let character = || {
        prop_oneof![
            any::<char>(),
            select(vec!['\u{fffd}', '\n', '\t', '"', '\'', '\\', 'a'])
        ]
    };
    let string = || {
        let characters = proptest::collection::vec(character(), 0..5);
        characters.prop_map(|characters| toml_edit::value(String::from_iter(characters)).to_string())
    };
    match key.kind {
        Kind::Boolean => any::<bool>().prop_map(|boolean| boolean.to_string()).boxed(),
        Kind::Integer { min, max } => (min..=max).prop_map(|integer| integer.to_string()).boxed(),
        Kind::IntegerOrZero { min, max } => prop_oneof![Just(0), min..=max]
            .prop_map(|integer| integer.to_string())
            .boxed(),
        Kind::Float { min, max } => (min..=max.min(1e300))
            .prop_map(|float| format!("{float:?}"))
            .boxed(),
        Kind::FloatAboveOne => (1.01..1e9).prop_map(|float| format!("{float:?}")).boxed(),
        Kind::Text => string().boxed(),
        Kind::OneOf(values) | Kind::Preferably(values) => one_of(values),
        Kind::LogLevel => one_of(&["debug", "INFO", "Warn", "fatal"]),
        Kind::Duration => prop_oneof!["\"([1-9][0-9]{0,2}(ms|s|m|h)){1,2}\"", "[1-9][0-9]{0,9}"].boxed(),
        Kind::DurationText => one_of(&["72h", "1h30m", "nonsense"]),
        Kind::TlsVersion => one_of(&["1.2", "TLSv1.3", "nonsense"]),
        Kind::Texts | Kind::NonEmptyTexts => "\\[(\"[a-z]{1,3}\"(, \"[a-z]{1,3}\"){0,2})?\\]".boxed(),
        Kind::Networks => one_of(&["10.0.0.0/8", "fe80::/10", "x"])
            .prop_map(|network| format!("[{network}]"))
            .boxed(),
        Kind::PortRange => (1..=65535_u32, 0..9_u32)
            .prop_map(|(first, more)| format!("[{first}, {}]", (first + more).min(65535)))
            .boxed(),
        Kind::BackendClusters => "[a-z]{1,3}"
            .prop_map(|name| {
                format!("[{{ name = \"{name}\", ns-servers = [\"{name}\"], pd-addrs = \"{name}:1\" }}]")
            })
            .boxed(),
        Kind::Labels => proptest::collection::btree_map("group|zone|[a-z]{1,3}", string(), 0..3)
            .prop_map(|labels| {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                format!("{{ {} }}", labels.join(", "))
            })
            .boxed(),
        Kind::Anything => select(vec!["1", "\"a\"", "[]", "{ b = 2 }"])
            .prop_map(str::to_owned)
            .boxed(),
    }
}

/// The keys and values of a valid document: some of all known keys, and unknown ones.
fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    let known = subsequence(KEYS, 0..20).prop_flat_map(|keys| {
        keys.into_iter()
            .map(|key| fitting(&key).prop_map(move |value| (key.path.to_owned(), value)))
            .collect::<Vec<_>>()
    });
    let unknown = "new|proxy\\.new|log\\.log-file\\.new|\"\"|\"ä\\.b\"\\.c";
    let value = select(vec![
        "1",
        "-0.0",
        "nan",
        "[1, \"a\", [], {}]",
        "{ a = { b = 1e9 } }",
        "2020-01-01",
        "\"\\u0000\\u007f\"",
    ]);
    let unknown = proptest::collection::btree_map(unknown, value.prop_map(str::to_owned), 0..3);
    (known, unknown).prop_map(|(mut known, unknown)| {
        known.extend(unknown);
        known
    })
}

/// A text that says the entries: in some order, as dotted keys or under headers, with comments and blanks.
fn spelled(entries: &[(String, String)], order: &[Index], headers: bool) -> String {
    let mut entries = entries.to_vec();
    let count = entries.len();
    for (place, other) in order.iter().enumerate().take(count) {
        entries.swap(place, other.index(count));
    }
    if !headers {
        let lines = entries
            .iter()
            .map(|(path, value)| format!("  {path}={value} # why\r\n\n"));
        return lines.collect::<Vec<_>>().concat();
    }
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, value) in &entries {
        let (section, name) = if path.starts_with('"') {
            ("", path.as_str())
        } else {
            path.rsplit_once('.').unwrap_or(("", path))
        };
        sections
            .entry(section)
            .or_default()
            .push(format!("{name}\t= {value}\n"));
    }
    let mut text = String::new();
    for (section, lines) in sections {
        if !section.is_empty() {
            text.extend(["[ ", section, " ]#\n"]);
        }
        text.push_str(&lines.concat());
    }
    text
}

fn spelling() -> impl Strategy<Value = (Vec<Index>, bool)> {
    (proptest::collection::vec(any::<Index>(), 0..24), any::<bool>())
}

fn document() -> impl Strategy<Value = String> {
    (entries(), spelling()).prop_map(|(entries, (order, headers))| spelled(&entries, &order, headers))
}

/// A valid text after some blows.
fn damaged() -> impl Strategy<Value = String> {
    let blow = (
        any::<Index>(),
        any::<Index>(),
        "[\\[\\]{}=:.,\"'#\\\\\\n a1-]{0,3}|.{0,2}",
    );
    (document(), proptest::collection::vec(blow, 1..4)).prop_map(|(text, blows)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (begin, end, replacement) in blows {
            let begin = begin.index(characters.len() + 1);
            let end = begin + end.index((characters.len() - begin).min(8) + 1);
            characters.splice(begin..end, replacement.chars());
        }
        characters.into_iter().collect()
    })
}

/// Everything that is done with a text, and what must then hold.
fn survives(text: &str, managed: &Managed) {
    match parse(text) {
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert_eq!(error.severity, Severity::Error);
                if let (Some(line), Some(column)) = (error.line, error.column) {
                    let lines: Vec<&str> = text.split('\n').collect();
                    let long = lines.get(line - 1).map_or(0, |line| line.chars().count());
                    assert!(column >= 1 && column <= long + 1, "{error} in {text:?}");
                }
            }
        }
        Ok(user) => {
            let Rendered { toml, warnings } = render(&user, managed);
            assert!(
                warnings
                    .iter()
                    .all(|warning| warning.severity == Severity::Warning)
            );
            // Written out, a text near the limit may pass it.
            if toml.len() <= MAX_CONFIG_BYTES {
                let again = parse(&toml).unwrap_or_else(|errors| panic!("{errors:?}\n{toml}"));
                assert_eq!(render(&again, managed).toml, toml);
            }
            assert!(classify(&toml, &toml).is_empty());
            assert_eq!(tombstones(&toml, &toml).toml, toml);
            let values = flat(&toml);
            for (path, value) in managed_values(managed) {
                assert_eq!(values.get(&path), Some(&value), "{path}");
            }
        }
    }
    let _ = (
        classify(text, ""),
        tombstones(text, ""),
        classify("log.level = \"warn\"", text),
    );
}

/// A few in every run; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

/// A TiProxy as far as its configuration goes: defaults, and over them whatever files it has read.
struct Process(BTreeMap<String, String>);

impl Process {
    fn started() -> Self {
        let defaults = KEYS.iter().filter(|key| !key.dead);
        let lines = defaults.map(|key| format!("{} = {}\n", key.path, key.default));
        Self(flat(&lines.collect::<String>()))
    }

    /// Reads a file as TiProxy does: keys in it take their value, all others keep theirs.
    fn reads(mut self, toml: &str) -> Self {
        let is_known =
            |path: &str| path.starts_with("labels.") || KEYS.iter().any(|key| !key.dead && key.path == path);
        let read = flat(toml).into_iter().filter(|(path, _)| is_known(path));
        self.0.extend(read);
        self
    }

    /// What it acts on: an empty label is none.
    fn settings(&self) -> BTreeMap<&String, &String> {
        let is_absent = |path: &str, value: &str| path.starts_with("labels.") && value == "\"\"";
        let settings = self.0.iter().filter(|(path, value)| !is_absent(path, value));
        settings.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in any::<String>(), managed in managed_parts()) {
        survives(&text, &managed);
    }

    #[test]
    fn text_that_looks_like_toml_is_survived(
        text in "([a-c.\"']{0,4}[=:]?[\\[{]{0,3}[a-c0-9.:\"',=#\\\\]{0,9}[\\]}]{0,3}\r?\n?){0,12}",
        managed in managed_parts(),
    ) {
        survives(&text, &managed);
    }

    #[test]
    fn a_damaged_document_is_survived(text in damaged(), managed in managed_parts()) {
        survives(&text, &managed);
    }

    #[test]
    fn a_rendered_document_says_what_was_written_and_what_is_managed(
        entries in entries(),
        (order, headers) in spelling(),
        managed in managed_parts(),
    ) {
        let text = spelled(&entries, &order, headers);
        let toml = rendered(&text, &managed).toml;
        let mut expected: BTreeMap<String, String> =
            managed.default_labels.iter().map(|(name, label)| (format!("labels.{name}"), format!("{label:?}"))).collect();
        expected.extend(flat(&text));
        expected.extend(managed_values(&managed));
        similar_asserts::assert_eq!(flat(&toml), expected);
        survives(&text, &managed);
    }

    #[test]
    fn order_comments_and_headers_do_not_matter(
        entries in entries(),
        (one_order, one_headers) in spelling(),
        (other_order, other_headers) in spelling(),
    ) {
        let one = spelled(&entries, &one_order, one_headers);
        let other = spelled(&entries, &other_order, other_headers);
        prop_assert_eq!(rendered(&one, &plain()).toml, rendered(&other, &plain()).toml);
        prop_assert_eq!(parse(&one), parse(&other));
        prop_assert!(classify(&one, &other).is_empty());
    }

    #[test]
    fn tombstones_add_only_what_is_gone(old in entries(), new in entries()) {
        let old = rendered(&spelled(&old, &[], false), &plain()).toml;
        let new = rendered(&spelled(&new, &[], true), &plain()).toml;
        let written = tombstones(&old, &new);
        let (before, after, all) = (flat(&old), flat(&new), flat(&written.toml));
        for (path, value) in &after {
            prop_assert_eq!(all.get(path), Some(value));
        }
        for path in all.keys().filter(|path| !after.contains_key(*path)) {
            prop_assert!(before.contains_key(path) && written.keys.contains(path), "{}", path);
        }
        // To TiProxy the tombstones are the defaults that a fresh process has.
        prop_assert!(classify(&new, &written.toml).is_empty());
        prop_assert_eq!(classify(&old, &new), classify(&old, &written.toml));
        prop_assert!(parse(&written.toml).is_ok());
        // Once there, they change nothing any more.
        prop_assert_eq!(&tombstones(&old, &written.toml).toml, &written.toml);
        prop_assert_eq!(&tombstones(&written.toml, &new).toml, &written.toml);
    }

    #[test]
    fn a_process_that_read_every_file_ends_where_a_new_one_does(
        documents in proptest::collection::vec(entries(), 1..5),
    ) {
        let mut old_process = Process::started();
        let mut file = String::new();
        let mut next = String::new();
        for entries in documents {
            next = rendered(&spelled(&entries, &[], false), &plain()).toml;
            file = tombstones(&file, &next).toml;
            old_process = old_process.reads(&file);
        }
        let new_process = Process::started().reads(&next);
        similar_asserts::assert_eq!(old_process.settings(), new_process.settings());
    }
}

/// Texts that are as bad as the limit of the length lets them be.
fn hostile() -> Vec<String> {
    let most = MAX_CONFIG_BYTES;
    let fill = |piece: &str| piece.repeat(most / piece.len());
    let numbered = |piece: fn(usize) -> String| {
        let mut text = String::new();
        for line in (0..).map(piece) {
            // A few bytes are left for what a caller puts around it.
            if text.len() + line.len() > most - 64 {
                break;
            }
            text.push_str(&line);
        }
        text
    };
    let nested = format!("{}1{}", "a.b.c={".repeat(8), "}".repeat(8));
    let name = "n".repeat(most / 2);
    vec![
        fill("["),
        fill("{"),
        fill("a."),
        fill("a={"),
        fill("\""),
        fill("'"),
        fill("\\"),
        fill("\u{feff}"),
        fill("=\n"),
        fill("[[a]]\n"),
        fill("[a]\n"),
        fill("\r"),
        format!("a={}", fill("'a[").get(..most - 2).unwrap_or_default()),
        format!("x: {}", "[1,".repeat(most / 8)),
        format!("a = [{}]", fill("1,").get(..most - 6).unwrap_or_default()),
        format!(
            "a = [{}]",
            fill("{},").get(..most / 3 * 3 - 9).unwrap_or_default()
        ),
        format!("{name} = [{}]", "{},".repeat(most / 8)),
        format!(
            "{name} = {{ {} }}",
            numbered(|index| format!("a{index}={{}},"))
                .get(..30_000)
                .unwrap_or_default()
                .rsplit_once(',')
                .map_or("", |(entries, _)| entries)
        ),
        format!("[[{name}]]\n{}", "[[a]]\n".repeat(1000)),
        format!("{}=1", "a.".repeat(31) + &name),
        format!(
            "proxy = {{ {} }}",
            numbered(|index| format!("a{index}={{}},"))
                .get(..60_000)
                .unwrap_or_default()
                .rsplit_once(',')
                .map_or("", |(entries, _)| entries)
        ),
        numbered(|index| format!("k{index}=1\n")),
        numbered(|index| format!("[t{index}]\n")),
        numbered(|index| format!("proxy.k{index}.x=1\n")),
        numbered(|index| format!("labels.k{index}=1\n")),
        numbered(|index| format!("labels.k{index}='v'\n")),
        numbered(|index| format!("[[proxy.backend-clusters]]\nname='{index}'\npd-addrs='a:1'\n")).replacen(
            "[[",
            "balance.routing-rule='port'\n[[",
            1,
        ),
        format!(
            "[[proxy.backend-clusters]]\nname='a'\npd-addrs='{}'",
            "a:1,".repeat(most / 5)
        ),
        format!("proxy.fail-backend-list = [{}]", "'a',".repeat(most / 5)),
        numbered(|index| format!("x{index}={}\n", "a.b.c={".repeat(8) + "a=1" + &"}".repeat(8))),
        nested,
        // Many keys below one deep path, and under one long name.
        numbered(|index| format!("{}k{index}=1\n", "a.".repeat(30))),
        numbered(|index| format!("[{}k{index}]\n", "a.".repeat(30))),
        format!(
            "[{name}]\n{}",
            whole_lines(&numbered(|index| format!("k{index}=1\n")), most / 3)
        ),
        // Headers that come back to one table, again and again.
        numbered(|index| format!("[[a]]\n[a.b]\nk{index}=1\n")),
        // What becomes longer when it is written out.
        format!("a = '{}'", "\u{80}".repeat(most / 2 - 8)),
        format!("a = '{}'", "\u{fffd}".repeat(most / 3 - 8)),
        format!("a = '{}'", "\"".repeat(most - 8)),
        format!("a = [{}]", "1e15,".repeat(most / 5 - 2)),
        format!("a = [{}]", "1e-7,".repeat(most / 5 - 2)),
        numbered(|index| format!("'{index}\u{fffd}'=1\n")),
        // Strings without an end, and those of several lines.
        fill("\"\"\""),
        fill("'''"),
        format!("a = \"\"\"{}", "\\\n".repeat(most / 2 - 8)),
        format!("a = \"\"\"{}\"\"\"", "\\\n ".repeat(most / 3 - 8)),
        whole_lines(&fill("# \n"), most - 8).to_owned() + "x",
        // What looks like another language, for which there are hints.
        fill("a: b\n"),
        fill("{\"a\":"),
        format!("labels={{{}}}", "\"a\":1,".repeat(most / 6 - 2)),
        whole_lines(&numbered(|index| format!("[h{index}]\n")), most - 64).to_owned() + "a: b",
        numbered(|index| format!("k{index}=1\n")) + "x = { \"a\": 1 }",
        // One wrong value in many places, and names that are almost known.
        numbered(|index| format!("[[proxy.backend-clusters]]\nname='a'\npd-addrs='{index}'\n")),
        numbered(|index| format!("proxy.max-connection{index}=1\n")),
        format!("proxy.public-endpoints = [{}]", "'a',".repeat(most / 4 - 10)),
        format!("proxy.port-range = [{}]", "1,".repeat(most / 2 - 16)),
        format!("log.level = '{}'", "a".repeat(most - 16)),
        format!(
            "proxy.backend-healthy-keepalive.idle = '{}'",
            "1h".repeat(most / 2 - 32)
        ),
        format!(
            "[[proxy.backend-clusters]]\nname='a'\npd-addrs='a:1'\nns-servers=[{}]",
            "'a',".repeat(most / 4 - 24)
        ),
    ]
}

/// The beginning of a text up to a length, without a line that is cut.
fn whole_lines(text: &str, most: usize) -> &str {
    let end = text.floor_char_boundary(most);
    let cut = text.get(..end).unwrap_or(text);
    cut.rsplit_once('\n').map_or("", |(lines, _)| lines)
}

/// Optimised code is held to what a user notices; a debug build, beside other work, to what shows a quadratic step.
fn within(optimised: u64) -> Duration {
    Duration::from_millis(if cfg!(debug_assertions) { 20_000 } else { optimised })
}

/// On a small stack, so that recursion shows long before it does in a worker thread.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(run)
        .expect("a thread");
    assert!(thread.join().is_ok());
}

fn beginning(text: &str) -> String {
    let printable = |one: char| if one.is_control() { '.' } else { one };
    text.chars().take(40).map(printable).collect()
}

#[test]
fn hostile_text_costs_little() {
    on_a_small_stack(|| {
        let mut slowest = (Duration::ZERO, String::new());
        let mut longest = (0, String::new());
        for text in hostile() {
            let shown = beginning(&text);
            assert!(text.len() <= MAX_CONFIG_BYTES, "{} bytes: {shown}", text.len());
            let began = Instant::now();
            if let Ok(user) = parse(&text) {
                let toml = render(&user, &plain()).toml;
                let change = classify(&toml, "");
                assert!(!tombstones(&toml, "").keys.is_empty() && !change.is_empty());
                longest = longest.max((toml.len(), shown.clone()));
            }
            slowest = slowest.max((began.elapsed(), shown));
        }
        println!(
            "{} hostile texts of 64 KiB: slowest {slowest:?}, longest {longest:?}",
            hostile().len()
        );
        assert!(slowest.0 < within(1000), "{slowest:?}");
        assert!(longest.0 < 5 * MAX_CONFIG_BYTES, "{longest:?}");
    });
}

/// Hostile texts of any length.
fn grown(bytes: usize) -> Vec<String> {
    let pieces = [
        "[", "{", "a.", "a={", "\"", "'", "[[a]]\n", "a = [", "=\n", "\"\"\"", "# \n", "a: b\n", "\u{80}",
    ];
    let mut texts: Vec<String> = pieces
        .iter()
        .map(|piece| piece.repeat(bytes / piece.len()))
        .collect();
    for line in [
        "k{}=1\n",
        "[t{}]\n",
        "labels.k{}='v'\n",
        "proxy.k{}.x=1\n",
        "[[proxy.backend-clusters]]\nname='{}'\n",
        "[a.k{}]\n[b.k{}]\nx.y=1\n",
    ] {
        let lines = (0..bytes / line.len()).map(|index| line.replace("{}", &index.to_string()));
        let text: String = lines.collect();
        texts.push(whole_lines(&text, bytes).to_owned());
    }
    texts
}

#[test]
fn a_megabyte_is_refused_at_once() {
    on_a_small_stack(|| {
        let mut slowest = Duration::ZERO;
        for text in grown(1024 * 1024) {
            let began = Instant::now();
            let refused = parse(&text);
            slowest = slowest.max(began.elapsed());
            let errors = refused.expect_err("too long");
            let [error] = errors.as_slice() else {
                panic!("{errors:?}")
            };
            assert_eq!(error.kind, DiagnosisKind::TooLarge);
        }
        println!("1 MiB: slowest {slowest:?}");
        assert!(slowest < Duration::from_millis(5), "{slowest:?}");
    });
}

#[test]
fn a_config_map_that_somebody_wrote_over_costs_little() {
    on_a_small_stack(|| {
        let mut slowest = (Duration::ZERO, String::new());
        // A ConfigMap holds 1 MiB, and half of it is the most that is read back as our own.
        for text in grown(1000 * 1024).into_iter().chain(grown(500 * 1024)) {
            let began = Instant::now();
            let _ = (classify(&text, ""), tombstones(&text, "log.level = \"warn\""));
            slowest = slowest.max((began.elapsed(), beginning(&text)));
        }
        println!("1 MiB in a ConfigMap: slowest {slowest:?}");
        assert!(slowest.0 < within(4000), "{slowest:?}");
    });
}
