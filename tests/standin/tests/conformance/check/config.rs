//! Loading the configuration.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tiproxy_standin::config::Config;
use tiproxy_standin::flags::Line;

use crate::subject::{Proxy, Start};
use crate::wait::{eventually, expect};

/// Longer than TiProxy needs to notice a new file.
const NOTICE: Duration = Duration::from_millis(2600);

/// Each text after the other, by the API: what TiProxy says of it and what is in force then is what the model of the
/// stand-in says.
pub(crate) async fn texts_are_laid_over_what_is_in_force(line: Line) {
    let proxy = Start::default().run(line).await;
    let text = std::fs::read_to_string(proxy.directory.0.join("config.toml")).unwrap();
    let mut model = Config::defaults(line).with(&text, "").unwrap();
    assert_same(&proxy, &model, "at the start").await;
    for text in [
        // A first value, one beside it, and what takes away.
        "labels = {a = \"1\", b = \"2\"}",
        "labels = {b = \"3\", c = \"\"}",
        "labels = {}",
        "[labels]\n\"x.y/z\" = \"q \\\" ü\"",
        "labels = {a = \"\"}",
        "proxy.max-connections = 7",
        "proxy.max-connections = 0",
        "[proxy]\nconn-buffer-size = 1024\nproxy-protocol = \"v2\"",
        "[proxy]\nproxy-protocol = \"\"",
        "[proxy.backend-healthy-keepalive]\nidle = \"1m30s\"\ncnt = 9\nenabled = false",
        "[proxy.backend-healthy-keepalive]\nidle = 5000000000",
        "proxy.graceful-wait-before-shutdown = 3\nproxy.graceful-close-conn-timeout = 0",
        "proxy.graceful-close-conn-timeout = -5",
        "proxy.graceful-close-conn-timeout = 15",
        "enable-traffic-replay = false",
        "[log]\nlevel = \"warn\"\nencoder = \"json\"\n[log.log-file]\nmax-size = 1",
        "[balance]\npolicy = \"location\"\nlabel-name = \"a\"",
        "[balance]\npolicy = \"\"\nlabel-name = \"\"",
        "[security]\nrequire-backend-tls = true\n[security.sql-tls]\nskip-ca = true\nmin-tls-version = \"1.3\"",
        "ha.interface = \"lo\"",
        // Nobody knows them.
        "proxy.require-back = false",
        "[proxy.unknown]\na = 1",
        "future = [1, 2]",
        // In any case.
        "[LOG]\nLevel = \"info\"",
        "[Labels]\nA = \"4\"",
        // Of one line only.
        "proxy.port-range = [7000, 7001]",
        "proxy.port-range = []",
        "proxy.public-endpoints = [\"10.0.0.0/8\"]",
        "proxy.public-endpoints = [\"10.0.0.0/8\", \"192.168.0.0/16\"]",
        "proxy.public-endpoints = []",
        "proxy.fail-backend-list = [\" a \", \"b\", \"a\"]",
        "proxy.high-memory-usage-reject-threshold = 0.2",
        "proxy.high-memory-usage-reject-threshold = 1",
        "proxy.failover-timeout = 0",
        "balance.routing-rule = \"port\"",
        "balance.routing-policy = \"random\"",
        "balance.cpu.migrations-per-second = 2\nbalance.conn-count.count-ratio-threshold = 1.5",
        "[security.server-tls]\ncert-allowed-cn = [\"a\"]",
        "security.encryption-key-path = \"/k\"",
        "log.simple = true",
        "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"PD\"\nns-servers = [\"127.0.0.1\"]",
        "[[proxy.backend-clusters]]\nname = \"b\"",
        "proxy.backend-clusters = []",
        // Refused, and nothing of it is kept.
        "labels = {kept = \"no\"}\nnot TOML",
        "labels = {kept = \"no\"}\n[log]\nlevel = 1",
        "labels = {kept = \"no\"}\n[balance]\npolicy = \"none\"",
        "labels = \"a\"",
        "labels = {a = 1}",
        "labels = [\"a\"]",
        "proxy = 1",
        "proxy.max-connections = 1.5",
        "proxy.max-connections = \"1\"",
        "proxy.conn-buffer-size = 100",
        "proxy.conn-buffer-size = 100000000",
        "proxy.proxy-protocol = \"v1\"",
        "proxy.backend-healthy-keepalive.idle = \"soon\"",
        "enable-traffic-replay = \"yes\"",
        "proxy.addr = [\"a\"]",
        "balance.routing-policy = \"idlest\"",
        "balance.cpu.migrations-per-second = -1",
        "balance.conn-count.count-ratio-threshold = 0.5",
        "proxy.fail-backend-list = [\"a\", \"\"]",
        "proxy.failover-timeout = -1",
        "proxy.port-range = [2]",
        "proxy.port-range = [2, 1]",
        "proxy.high-memory-usage-reject-threshold = 2",
        "[[proxy.backend-clusters]]\nname = \"\"\npd-addrs = \"a:1\"",
        "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"http://a:1/\"",
        "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"\"",
    ] {
        // PD has to be there: the newer line connects to it before it answers.
        let text = &text.replace("\"PD\"", &format!("{:?}", proxy.world.pd_addrs()));
        let answer = proxy.api.put("/api/admin/config/", text).await;
        let expected = match model.with(text, "") {
            Ok(changed) => {
                model = changed;
                (200, "\"\"")
            }
            Err(_) => (500, "\"can not update config\""),
        };
        assert_eq!((answer.status, answer.body.trim()), expected, "{text}");
        assert_same(&proxy, &model, text).await;
    }
}

/// What is in force is what the model says, in JSON and in TOML.
async fn assert_same(proxy: &Proxy, model: &Config, after: &str) {
    let without_workdir = |mut config: Value| {
        config.as_object_mut().unwrap().remove("workdir");
        config
    };
    let found = without_workdir(proxy.config().await);
    let expected = without_workdir(model.to_json());
    assert_eq!(normal(&found), normal(&expected), "after {after}");
    let toml = |text: &str| {
        let mut document: toml_edit::DocumentMut =
            text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
        document.remove("workdir");
        let mut lines: Vec<String> = Vec::new();
        flat("", document.as_table(), &mut lines);
        lines.sort();
        lines
    };
    let found = toml(&proxy.api.get("/api/admin/config/").await.body);
    assert_eq!(found, toml(&model.to_toml()), "after {after}");
}

/// Numbers by their value.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Number(number) => json!(number.as_f64()),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// A line for each value, so that the order and the form of tables do not matter.
fn flat(prefix: &str, table: &dyn toml_edit::TableLike, lines: &mut Vec<String>) {
    for (name, item) in table.iter() {
        let path = format!("{prefix}.{name}");
        if let Some(inner) = item.as_table_like() {
            flat(&path, inner, lines);
        } else if let Some(tables) = item.as_array_of_tables() {
            for (index, inner) in tables.iter().enumerate() {
                flat(&format!("{path}[{index}]"), inner, lines);
            }
        } else {
            // Strings have more than one form.
            let value = item.as_str().map_or(item.to_string(), |text| format!("{text:?}"));
            let value = value.trim().replace('\'', "\"");
            lines.push(format!("{path} = {value}"));
        }
    }
}

pub(crate) async fn the_file_is_read_again_and_a_bad_one_changes_nothing(line: Line) {
    let proxy = Start::config("labels = {zone = \"a\", old = \"1\"}\nproxy.max-connections = 9\n")
        .run(line)
        .await;
    let checksum = async || {
        let answer = proxy.api.get("/api/debug/health").await;
        answer.json()["config_checksum"].as_u64().unwrap()
    };
    let first = checksum().await;
    proxy.write_config("labels = {zone = \"b\"}\n");
    let start = Instant::now();
    let config = eventually("the new zone is in force", async || {
        let config = proxy.config().await;
        expect(config["labels"]["zone"] == "b", config)
    })
    .await;
    assert!(start.elapsed() < NOTICE, "{:?}", start.elapsed());
    assert_eq!(
        config["labels"]["old"], "1",
        "a label that vanished from the file stays"
    );
    assert_eq!(
        config["proxy"]["max-connections"], 9,
        "a key that vanished from the file keeps its value"
    );
    let second = checksum().await;
    assert_ne!(first, second);

    // By the API, until the file's bytes change.
    assert_eq!(
        proxy
            .api
            .put("/api/admin/config/", "labels = {zone = \"c\"}")
            .await
            .status,
        200
    );
    proxy.write_config("labels = {zone = \"d\", bad = 1}\n");
    tokio::time::sleep(NOTICE).await;
    assert_eq!(proxy.config().await["labels"]["zone"], "c");
    proxy.write_config("labels = {zone = \"b\"}\n");
    eventually("the zone of the file is in force", async || {
        let config = proxy.config().await;
        expect(config["labels"]["zone"] == "b", config)
    })
    .await;
    assert_eq!(
        checksum().await,
        second,
        "the same configuration has the same checksum"
    );
}

pub(crate) async fn the_flag_beats_file_and_api(line: Line) {
    let mut start = Start::config("proxy.advertise-addr = \"file\"\n");
    start.flags = vec!["--advertise-addr".to_owned(), "flag".to_owned()];
    let proxy = start.run(line).await;
    let address = async || proxy.config().await["proxy"]["advertise-addr"].clone();
    assert_eq!(address().await, "flag");
    let answer = proxy
        .api
        .put("/api/admin/config/", "proxy.advertise-addr = \"api\"")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(address().await, "flag");
}

pub(crate) async fn a_path_without_its_slash_is_redirected(line: Line) {
    let proxy = Start::default().run(line).await;
    for (method, path, status, location) in [
        ("GET", "/api/admin/config", 301, Some("/api/admin/config/")),
        (
            "GET",
            "/api/admin/config?format=json",
            301,
            Some("/api/admin/config/?format=json"),
        ),
        ("PUT", "/api/admin/config", 307, Some("/api/admin/config/")),
        ("GET", "/metrics", 301, Some("/metrics/")),
        ("GET", "/api/metrics", 301, Some("/api/metrics/")),
        ("GET", "/metrics/", 200, None),
        ("GET", "/api/metrics/", 200, None),
        ("GET", "/debug/health", 502, None),
        ("POST", "/api/debug/health", 404, None),
        ("DELETE", "/api/admin/config/", 404, None),
        ("GET", "/api/debug/redirect", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/healthz", 404, None),
    ] {
        let answer = proxy.api.request(method, path, "").await.unwrap();
        assert_eq!(
            (answer.status, answer.location.as_deref()),
            (status, location),
            "{method} {path}"
        );
    }
}
