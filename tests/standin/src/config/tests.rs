use serde_json::json;

use super::*;

fn defaults(line: Line) -> Config {
    Config::defaults(line)
}

#[test]
fn a_text_is_laid_over_what_is_in_force() {
    let config = defaults(Line::V26)
        .with("labels = {a = \"1\", b = \"2\"}\nproxy.max-connections = 5", "")
        .unwrap();
    let config = config
        .with("labels = {b = \"3\"}\n[log]\nlevel = \"warn\"", "")
        .unwrap();
    let json = config.to_json();
    assert_eq!(
        json["labels"],
        json!({"a": "1", "b": "3"}),
        "a label that vanished stays"
    );
    assert_eq!(
        json["proxy"]["max-connections"], 5,
        "a key that vanished keeps its value"
    );
    assert_eq!(json["log"]["level"], "warn");
    let same = config.with("labels = {}", "").unwrap();
    assert_eq!(same, config, "an empty table takes nothing away");
}

#[test]
fn an_entry_of_an_array_inherits_from_what_stood_there() {
    let first =
        "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"pd:2379\"\nns-servers = [\"1.1.1.1\"]";
    let config = defaults(Line::V26).with(first, "").unwrap();
    let config = config
        .with("[[proxy.backend-clusters]]\nname = \"b\"", "")
        .unwrap();
    assert_eq!(
        config.to_json()["proxy"]["backend-clusters"],
        json!([{"name": "b", "pd-addrs": "pd:2379", "ns-servers": ["1.1.1.1"]}])
    );
    let none = config.with("proxy.backend-clusters = []", "").unwrap();
    assert_eq!(none.to_json()["proxy"].get("backend-clusters"), None);
}

#[test]
fn what_nobody_knows_is_ignored_and_what_is_wrong_is_refused() {
    for line in [Line::V1_3, Line::V26] {
        let config = defaults(line);
        for text in [
            "nonsense = 1",
            "[proxy]\nrequire-back = false",
            "future.x.y = []",
            "labels = \"a\"",
            "proxy = {unknown = {}}",
        ] {
            let loaded = config.with(text, "").unwrap();
            assert_eq!(
                loaded.to_json()["proxy"],
                config.to_json()["proxy"],
                "{line:?} {text}"
            );
        }
        for text in [
            "not TOML",
            "proxy.max-connections = \"1\"",
            "log.level = 3",
            "proxy = 1",
            "labels = {a = 1}",
            "proxy.conn-buffer-size = 100",
            "balance.policy = \"none\"",
            "proxy.proxy-protocol = \"v1\"",
            "proxy.backend-healthy-keepalive.idle = \"soon\"",
            "enable-traffic-replay = \"yes\"",
        ] {
            assert!(config.with(text, "").is_err(), "{line:?} {text}");
        }
    }
    for text in [
        "balance.routing-policy = \"idlest\"",
        "proxy.port-range = [2, 1]",
        "proxy.fail-backend-list = [\"\"]",
        "proxy.high-memory-usage-reject-threshold = 2",
        "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"http://pd:2379\"",
    ] {
        assert!(defaults(Line::V26).with(text, "").is_err(), "{text}");
        assert!(
            defaults(Line::V1_3).with(text, "").is_ok(),
            "the older line does not know: {text}"
        );
    }
}

#[test]
fn a_negative_number_of_connections_is_a_very_large_one() {
    let config = defaults(Line::V1_3)
        .with("proxy.max-connections = -1", "")
        .unwrap();
    assert_eq!(config.to_json()["proxy"]["max-connections"], json!(u64::MAX));
}

#[test]
fn keys_are_found_in_any_case() {
    let config = defaults(Line::V1_3).with("[LOG]\nLevel = \"debug\"", "").unwrap();
    assert_eq!(config.text("log.level"), "debug");
}

#[test]
fn the_flag_beats_every_text() {
    let config = defaults(Line::V1_3)
        .with("proxy.advertise-addr = \"a\"", "flag")
        .unwrap();
    assert_eq!(config.text("proxy.advertise-addr"), "flag");
}

#[test]
fn what_is_printed_is_read_back_as_the_same() {
    let text = "labels = {\"a.b\" = \"x \\\" y\"}\nproxy.max-connections = 7\nproxy.port-range = [1, 2]\n\
                proxy.backend-healthy-keepalive.idle = \"1m\"\nproxy.public-endpoints = [\"a\", \"b\"]\n\
                [[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"pd:2379\"";
    let config = defaults(Line::V26).with(text, "").unwrap();
    let again = defaults(Line::V26).with(&config.to_toml(), "").unwrap();
    assert_eq!(again, config, "{}", config.to_toml());
    assert_eq!(again.checksum(), config.checksum());
    assert_ne!(config.checksum(), defaults(Line::V26).checksum());
}

#[test]
fn the_checksum_is_the_crc_32_of_the_text() {
    let empty = Config {
        values: BTreeMap::from([("a".to_owned(), Value::Text("b".to_owned()))]),
    };
    assert_eq!(empty.to_toml(), "a = \"b\"\n");
    assert_eq!(empty.checksum(), 0xc9f4_aa62, "of `a = \"b\"`");
}
