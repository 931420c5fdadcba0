//! For each key of TiProxy's configuration: what a change of it asks for, and what is in effect afterwards.
//!
//! What it asks for is the operator's decision on two specs. What is in effect is read from TiProxy: from the process that
//! ran before where the operator leaves it alone, from a new one where it would make one.

mod spec;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tiproxy_operator::api::TiProxySpec;
use tiproxy_operator::proxy_config::{KEYS, Key, tombstones};
use tiproxy_operator::revision::{Change, change};
use tiproxy_standin::config::Config;
use tiproxy_standin::flags::Line;

use crate::combination::Combination;
use crate::matrix::Certificates;
use crate::subject::{Proxy, Start, real};
use crate::wait::{eventually, expect};
use spec::{Which, bare, file, set};

/// What the page says of the keys.
const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/configuration.md"
);

fn version(line: Line) -> &'static str {
    match line {
        Line::V1_3 => "v1.3.2",
        Line::V26 => "v26.3.1",
    }
}

/// Of each key: *A change*, and *In effect afterwards*.
fn page() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let key = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let [_, _, _, change, in_effect, ..] = cells.as_slice() else {
            return None;
        };
        Some((key.to_owned(), ((*change).to_owned(), (*in_effect).to_owned())))
    });
    rows.collect()
}

fn decoded(spec: &Value) -> TiProxySpec {
    serde_json::from_value(spec.clone()).unwrap()
}

fn with(key: &Key, which: Which, line: Line) -> Value {
    let mut spec = bare(version(line));
    set(&mut spec, key, which);
    spec
}

/// What the operator does for a change of one key, its way back and its removal.
fn asked_for(key: &Key, line: Line) -> Change {
    let [bare, first, second] = [
        bare(version(line)),
        with(key, Which::First, line),
        with(key, Which::Second, line),
    ]
    .map(|spec| decoded(&spec));
    let there = change(&first, &second);
    assert_eq!(change(&second, &first), there, "{} and back", key.path);
    assert_eq!(change(&first, &bare), there, "{} and its removal", key.path);
    assert_eq!(change(&bare, &first), there, "{} when it comes", key.path);
    there
}

#[test]
fn each_key_asks_for_what_its_page_says() {
    let page = page();
    for key in KEYS.iter().filter(|key| !key.dead) {
        let (told, _) = page
            .get(key.path)
            .unwrap_or_else(|| panic!("{} is not on {PAGE}", key.path));
        let expected = match told.as_str() {
            "reload" | "new connections" | "nothing" => Change::InPlace,
            "new Pod" => Change::Roll,
            other => panic!("{}: {other}", key.path),
        };
        for line in [Line::V1_3, Line::V26] {
            assert_eq!(asked_for(key, line), expected, "{}: {told}", key.path);
        }
    }
}

/// Keys whose values a TiProxy of this line shows, and which do something; TLS is looked at by itself.
fn shown(line: Line) -> Vec<&'static Key> {
    let defaults = Config::defaults(line);
    let is_real = real(line).is_some();
    let is_shown = |key: &&Key| {
        let counts = !key.dead && key.ineffective.is_none() && key.since.is_in(version(line)) == Some(true);
        // The stand-in makes no certificates.
        counts && (is_real || (defaults.knows(key.path) && !key.path.ends_with(".auto-certs")))
    };
    KEYS.iter().filter(is_shown).collect()
}

fn is_tls_field(key: &Key) -> bool {
    key.managed.is_some() && key.path.starts_with("security.")
}

/// The specs with all keys at once, except those whose change is not to be seen by this process.
fn all(line: Line, which: impl Fn(&Key) -> Option<Which>) -> Value {
    let mut spec = bare(version(line));
    let keys = shown(line).into_iter();
    for key in keys.filter(|key| !is_tls_field(key) && !is_address(key)) {
        if let Some(which) = which(key) {
            set(&mut spec, key, which);
        }
    }
    spec
}

/// Each process has ports of its own.
fn is_address(key: &Key) -> bool {
    ["proxy.addr", "api.addr"].contains(&key.path)
}

/// A value that a file sets, or nothing.
fn in_file(document: &toml_edit::DocumentMut, path: &str) -> Option<Value> {
    let mut item = document.as_item();
    for name in path.split('.') {
        item = item.get(name)?;
    }
    Some(to_json(item))
}

fn to_json(item: &toml_edit::Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return table
            .iter()
            .map(|(name, item)| (name.to_owned(), to_json(item)))
            .collect();
    }
    if let Some(tables) = item.as_array_of_tables() {
        let tables = tables
            .iter()
            .map(|table| to_json(&toml_edit::Item::Table(table.clone())));
        return tables.collect();
    }
    if let Some(array) = item.as_array() {
        let values = array
            .iter()
            .map(|value| to_json(&toml_edit::Item::Value(value.clone())));
        return values.collect();
    }
    let value = item.as_value().unwrap();
    if let Some(text) = value.as_str() {
        return json!(nanoseconds(text).map_or_else(|| json!(text), |number| json!(number)));
    }
    let number = value.as_integer().map(|number| json!(number));
    number
        .or_else(|| value.as_float().map(|number| json!(number)))
        .or_else(|| value.as_bool().map(|truth| json!(truth)))
        .unwrap_or_else(|| panic!("{value}"))
}

/// The durations that stand in these files; TiProxy shows them as numbers.
fn nanoseconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok()?;
    match unit {
        "s" => Some(number * 1_000_000_000),
        "m" => Some(number * 60_000_000_000),
        _ => None,
    }
}

/// Whether TiProxy shows a value: it leaves out what is empty, also in tables, and a label that is empty is none.
fn same(shown: &Value, wanted: &Value) -> bool {
    let is_zero = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(array) => array.is_empty(),
        Value::Object(object) => object.values().all(|value| value == ""),
    };
    match (shown, wanted) {
        (shown, wanted) if is_zero(wanted) => is_zero(shown),
        (Value::Number(shown), Value::Number(wanted)) => shown.as_f64() == wanted.as_f64(),
        (Value::Object(shown), Value::Object(wanted)) => {
            let names = shown.keys().chain(wanted.keys());
            names.into_iter().all(|name| {
                same(
                    shown.get(name).unwrap_or(&Value::Null),
                    wanted.get(name).unwrap_or(&Value::Null),
                )
            })
        }
        (Value::Array(shown), Value::Array(wanted)) => {
            shown.len() == wanted.len()
                && shown
                    .iter()
                    .zip(wanted)
                    .all(|(shown, wanted)| same(shown, wanted))
        }
        (shown, wanted) => shown == wanted,
    }
}

/// The keys that a TiProxy does not run with as its file says; one that the file does not set is to have its default.
fn differing(shown: &Value, text: &str, keys: &[&Key]) -> Vec<String> {
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let found = keys.iter().filter_map(|key| {
        let default: toml_edit::DocumentMut = format!("value = {}", key.default).parse().unwrap();
        let wanted = in_file(&document, key.path).unwrap_or_else(|| to_json(&default["value"]));
        let pointer = format!("/{}", key.path.replace('.', "/"));
        let found = shown.pointer(&pointer).unwrap_or(&Value::Null);
        (!same(found, &wanted)).then(|| format!("{}: {found} instead of {wanted}", key.path))
    });
    found.collect()
}

/// Waits until a TiProxy runs with its file in all these keys.
async fn runs_with(proxy: &Proxy, what: &str, text: &str, keys: &[&Key]) {
    let text = proxy.localized(text);
    eventually(what, async || {
        let found = differing(&proxy.config().await, &text, keys);
        expect(found.is_empty(), found)
    })
    .await;
}

async fn started(line: Line, text: &str) -> Proxy {
    let start = Start {
        config: text.to_owned(),
        whole: true,
        ..Start::default()
    };
    start.run(line).await
}

async fn is_in_effect(line: Line) {
    let (tls, keys): (Vec<&Key>, Vec<&Key>) = shown(line).into_iter().partition(|key| is_tls_field(key));
    let reloads = |key: &Key| asked_for(key, line) == Change::InPlace;
    let hot: Vec<&Key> = keys.iter().copied().filter(|key| reloads(key)).collect();
    let first = file(&all(line, |_| Some(Which::First)));

    // The process that goes on: there, back, and without the keys.
    let proxy = started(line, &first).await;
    runs_with(&proxy, "the first values at the start", &first, &keys).await;
    let mut before = first.clone();
    for (what, which) in [
        ("the second values", Some(Which::Second)),
        ("the way back", Some(Which::First)),
        ("the keys are gone", None),
    ] {
        let spec = all(line, |key| if reloads(key) { which } else { Some(Which::First) });
        let next = tombstones(&before, &file(&spec)).toml;
        assert_ne!(next, before);
        proxy.replace_config(&next);
        runs_with(&proxy, what, &next, &hot).await;
        // What the file says is what was asked for, or the default: a tombstone hides nothing.
        let plain = differing(&proxy.config().await, &proxy.localized(&file(&spec)), &hot);
        assert_eq!(plain, [""; 0], "{what}");
        before = next;
    }
    drop(proxy);

    // A new process for what is read at the start.
    for (what, text) in [
        (
            "a new process with the second values",
            file(&all(line, |_| Some(Which::Second))),
        ),
        ("a new process without them", file(&all(line, |_| None))),
    ] {
        let proxy = started(line, &text).await;
        runs_with(&proxy, what, &text, &keys).await;
    }

    // TLS, of which every change asks for a new process.
    let everywhere = Combination {
        mysql: true,
        backend: true,
        cluster: true,
        http: true,
    };
    let certificates = Certificates::new();
    let (proxy, _) = certificates.start(line, everywhere).await;
    let text = proxy.file();
    eventually("TLS everywhere", async || {
        let found = differing(&proxy.config().await, &text, &tls);
        expect(found.is_empty(), found)
    })
    .await;
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let on = tls
        .iter()
        .filter(|key| in_file(&document, key.path) == Some(json!(true)));
    assert!(on.count() > 0 && document["security"]["sql-tls"]["ca"].as_str() != Some(""));

    let page = page();
    println!("| Key | A change | In effect afterwards |\n|---|---|---|");
    for key in shown(line) {
        let (told, in_effect) = &page[key.path];
        let names = in_effect.split(", ").any(|named| named == version(line));
        assert!(
            names,
            "{PAGE} does not say that {} has {}",
            version(line),
            key.path
        );
        let by = if asked_for(key, line) == Change::Roll {
            "by the new process"
        } else {
            "by the one that ran"
        };
        println!("| `{}` | {told} | {} {by} |", key.path, version(line));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_in_effect_after_its_change_in_the_older_line() {
    is_in_effect(Line::V1_3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_in_effect_after_its_change_in_the_newer_line() {
    is_in_effect(Line::V26).await;
}
