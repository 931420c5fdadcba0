//! Does a value fit its key? The rules are those of TiProxy's decoder and of its own `Check`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::check::equal_fold;
use super::diagnosis::{Diagnoses, DiagnosisKind, shown};
use super::key::{Key, Kind, LOG_LEVELS};
use super::tree::{Node, Table, Value};
use super::write;

/// The largest integer that TiProxy's decoder takes where a float is meant (`maxSafeFloat64Int`).
const MAX_FLOAT_INTEGER: i64 = 9_007_199_254_740_991;

/// How a value misses what is allowed.
enum Fault {
    Type,
    Range,
    /// TiProxy takes something else instead, without a word.
    Replaced,
}

/// Checks the value of a key. Backend clusters get all their fields.
pub(super) fn check_value(key: &Key, node: &mut Node, found: &mut Diagnoses) {
    match (key.kind, &mut node.value) {
        (Kind::BackendClusters, Value::Array(clusters)) => check_clusters(key.path, clusters, found),
        (Kind::Labels, Value::Table(labels)) => check_labels(key.path, labels, found),
        (kind, value) => {
            if let Some(fault) = fault(kind, value) {
                report(key, node, &fault, found);
            }
        }
    }
}

fn report(key: &Key, node: &Node, fault: &Fault, found: &mut Diagnoses) {
    let (path, allowed) = (key.path, key.kind.allowed());
    let value = value_in_sentence(key, &node.value);
    match fault {
        Fault::Type => {
            let is = node.value.type_name();
            found.error(
                DiagnosisKind::Type,
                path,
                node.value_at,
                format!("`{path}`{value} must be {allowed}, but is {is}"),
            );
        }
        Fault::Range => {
            let message = format!("`{path}`{value} is not allowed: it must be {allowed}");
            found.error(DiagnosisKind::Range, path, node.value_at, message);
        }
        Fault::Replaced => {
            let default = key.default;
            let message =
                format!("`{path}`{value} has no effect, TiProxy uses {default}: it must be {allowed}");
            found.warn(DiagnosisKind::Ineffective, path, node.value_at, message);
        }
    }
}

/// ` = <value>`, or nothing where the value may be a secret or is no single value.
pub(super) fn value_in_sentence(key: &Key, value: &Value) -> String {
    if key.secret || matches!(value, Value::Table(_)) {
        return String::new();
    }
    let mut text = String::new();
    write::value(&mut text, value);
    format!(" = {}", shown(&text))
}

fn fault(kind: Kind, value: &Value) -> Option<Fault> {
    let unless = |fits: bool, fault: Fault| if fits { None } else { Some(fault) };
    match (kind, value) {
        (Kind::Boolean, Value::Boolean(_))
        | (Kind::Text, Value::String(_))
        | (Kind::Duration, Value::Integer(_))
        | (Kind::Anything, _) => None,
        (Kind::Integer { min, max }, Value::Integer(integer)) => {
            unless((min..=max).contains(integer), Fault::Range)
        }
        (Kind::IntegerOrZero { min, max }, Value::Integer(integer)) => {
            unless(*integer <= 0 || (min..=max).contains(integer), Fault::Range)
        }
        (Kind::Float { .. } | Kind::FloatAboveOne, Value::Integer(integer)) => {
            if integer.abs_diff(0) > MAX_FLOAT_INTEGER.unsigned_abs() {
                return Some(Fault::Range);
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "bounded above to what a float holds exactly"
            )]
            let float = *integer as f64;
            unless(float_fits(kind, float), Fault::Range)
        }
        (Kind::Float { .. } | Kind::FloatAboveOne, Value::Float(float)) => {
            unless(float_fits(kind, float.0), Fault::Range)
        }
        (Kind::OneOf(values), Value::String(text)) => {
            unless(text.is_empty() || values.contains(&text.as_str()), Fault::Range)
        }
        (Kind::Preferably(values), Value::String(text)) => unless(
            text.is_empty() || values.contains(&text.as_str()),
            Fault::Replaced,
        ),
        (Kind::LogLevel, Value::String(text)) => {
            let level = text.to_ascii_lowercase();
            unless(
                level.is_empty() || LOG_LEVELS.contains(&level.as_str()),
                Fault::Range,
            )
        }
        (Kind::Duration, Value::String(text)) => unless(go_duration(text).is_some(), Fault::Range),
        (Kind::DurationText, Value::String(text)) => {
            unless(text.is_empty() || go_duration(text).is_some(), Fault::Replaced)
        }
        (Kind::TlsVersion, Value::String(text)) => {
            let known = text.is_empty()
                || ["1.0", "1.1", "1.2", "1.3"]
                    .iter()
                    .any(|version| text.ends_with(version));
            unless(known, Fault::Replaced)
        }
        (Kind::Texts, Value::Array(array)) => unless(texts(array).is_some(), Fault::Type),
        (Kind::NonEmptyTexts, Value::Array(array)) => match texts(array) {
            Some(texts) => unless(texts.iter().all(|text| !text.trim().is_empty()), Fault::Range),
            None => Some(Fault::Type),
        },
        (Kind::Networks, Value::Array(array)) => match texts(array) {
            Some(texts) => unless(texts.iter().all(|text| is_network(text)), Fault::Replaced),
            None => Some(Fault::Type),
        },
        (Kind::PortRange, Value::Array(array)) => port_range_fault(array),
        _ => Some(Fault::Type),
    }
}

fn float_fits(kind: Kind, float: f64) -> bool {
    let (min, max) = if let Kind::Float { min, max } = kind {
        (min, max)
    } else {
        (1.0, f64::INFINITY)
    };
    // Where more than 1 is wanted, 1 itself is not enough, and 0 stands for TiProxy's own choice.
    let above_one = matches!(kind, Kind::FloatAboveOne);
    let fits = min <= float && float <= max && !(above_one && float <= 1.0);
    float.is_finite() && (fits || (above_one && float == 0.0))
}

fn texts(array: &[Node]) -> Option<Vec<&str>> {
    array.iter().map(|node| node.value.as_text()).collect()
}

fn port_range_fault(array: &[Node]) -> Option<Fault> {
    let ports: Option<Vec<i64>> = array.iter().map(|node| node.value.as_integer()).collect();
    match ports.as_deref() {
        None => Some(Fault::Type),
        Some([]) => None,
        Some([first, last]) if 1 <= *first && first <= last && *last <= 65535 => None,
        Some(_) => Some(Fault::Range),
    }
}

fn check_labels(path: &str, labels: &Table, found: &mut Diagnoses) {
    for (name, node) in labels {
        if node.value.as_text().is_none() {
            let label = shown(&write::join(path, name));
            let is = node.value.type_name();
            let message = format!("`{label}` must be a string, as every label, but is {is}");
            found.error(DiagnosisKind::Type, &label, node.value_at, message);
        }
    }
}

/// The fields of a backend cluster with the value that stands for none.
///
/// TiProxy decodes a list of tables over the one it had, element by element, and a field that is missing keeps the
/// value of whatever stood at the same place. So every field is always written.
const CLUSTER_FIELDS: [&str; 3] = ["name", "ns-servers", "pd-addrs"];

fn check_clusters(path: &str, clusters: &mut [Node], found: &mut Diagnoses) {
    let mut names = BTreeSet::new();
    for (index, node) in clusters.iter_mut().enumerate() {
        let path = format!("{path}[{index}]");
        let (at, is) = (node.value_at, node.value.type_name());
        let Value::Table(cluster) = &mut node.value else {
            found.error(
                DiagnosisKind::Type,
                &path,
                at,
                format!("`{path}` must be a table, but is {is}"),
            );
            continue;
        };
        spell_fields(&path, cluster, found);
        let mut fault = |field: &str, kind: DiagnosisKind, why: String| {
            let at = cluster.get(field).and_then(|node| node.value_at).or(at);
            found.error(
                kind,
                &format!("{path}.{field}"),
                at,
                format!("`{path}.{field}` {why}"),
            );
        };
        match cluster.get("name").map(|node| &node.value) {
            Some(Value::String(name)) if name.trim().is_empty() => {
                fault(
                    "name",
                    DiagnosisKind::Range,
                    "is empty: give each backend cluster a name".to_owned(),
                );
            }
            Some(Value::String(name)) => {
                if !names.insert(name.trim().to_owned()) {
                    let why = format!("= \"{}\" is used twice: names must differ", shown(name));
                    fault("name", DiagnosisKind::Combination, why);
                }
            }
            Some(other) => fault(
                "name",
                DiagnosisKind::Type,
                format!("must be a string, but is {}", other.type_name()),
            ),
            None => fault(
                "name",
                DiagnosisKind::Range,
                "is missing: give each backend cluster a name".to_owned(),
            ),
        }
        match cluster.get("pd-addrs").map(|node| &node.value) {
            Some(Value::String(addresses)) if is_address_list(addresses) => {}
            Some(Value::String(_)) | None => fault(
                "pd-addrs",
                DiagnosisKind::Range,
                "must be one or more host:port, separated by commas and without http://".to_owned(),
            ),
            Some(other) => fault(
                "pd-addrs",
                DiagnosisKind::Type,
                format!("must be a string, but is {}", other.type_name()),
            ),
        }
        match cluster.get("ns-servers").map(|node| &node.value) {
            Some(Value::Array(servers)) => match texts(servers) {
                Some(servers) if servers.iter().all(|server| is_name_server(server)) => {}
                Some(_) => fault(
                    "ns-servers",
                    DiagnosisKind::Range,
                    "must hold host or host:port of name servers".to_owned(),
                ),
                None => fault(
                    "ns-servers",
                    DiagnosisKind::Type,
                    "must be an array of strings".to_owned(),
                ),
            },
            Some(other) => {
                fault(
                    "ns-servers",
                    DiagnosisKind::Type,
                    format!("must be an array of strings, but is {}", other.type_name()),
                );
            }
            None => {
                cluster.insert("ns-servers".to_owned(), Node::from(Value::Array(Vec::new())));
            }
        }
    }
}

/// Gives the fields of one backend cluster their known spelling.
fn spell_fields(path: &str, cluster: &mut Table, found: &mut Diagnoses) {
    for (name, node) in std::mem::take(cluster) {
        let known = CLUSTER_FIELDS.into_iter().find(|field| equal_fold(field, &name));
        let at = node.key_at;
        if known.is_none() {
            let field = format!("{path}.{}", shown(&name));
            let allowed = CLUSTER_FIELDS.join(", ");
            let message = format!(
                "`{field}` is no field of a backend cluster, and TiProxy ignores it: it has {allowed}"
            );
            found.warn(DiagnosisKind::Unknown, &field, at, message);
        }
        let spelled = known.map_or(name, str::to_owned);
        let field = format!("{path}.{}", shown(&spelled));
        if cluster.insert(spelled, node).is_some() {
            let message = format!("`{field}` is written twice in different letter case: keep one");
            found.error(DiagnosisKind::Combination, &field, at, message);
        }
    }
}

/// The nanoseconds of what Go's `time.ParseDuration` takes.
pub(super) fn go_duration(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned == "0" {
        return Some(0.0);
    }
    let of_number = |character: char| character.is_ascii_digit() || character == '.';
    let mut rest = unsigned;
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|character| !of_number(character))?)?;
        let (unit, next) = after.split_at_checked(after.find(of_number).unwrap_or(after.len()))?;
        nanoseconds += number.parse::<f64>().ok()? * nanoseconds_of(unit)?;
        rest = next;
    }
    // A Go duration holds 2^63 nanoseconds, about 292 years.
    (!unsigned.is_empty() && nanoseconds < 9.2e18).then_some(sign * nanoseconds)
}

fn nanoseconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1.0),
        "us" | "µs" | "μs" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "m" => Some(60e9),
        "h" => Some(3600e9),
        _ => None,
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let widest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= widest)
}

/// Host and port as Go's `net.SplitHostPort` splits them, with a port that is one.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && !host.contains(['[', ']', '/']) && port > 0).then_some((host, port))
}

fn is_address_list(addresses: &str) -> bool {
    let mut given = addresses
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .peekable();
    given.peek().is_some() && given.all(|address| host_and_port(address).is_some())
}

fn is_name_server(server: &str) -> bool {
    let host_alone = !server.is_empty() && !server.contains([':', '[', ']', '/']);
    host_alone || server.parse::<IpAddr>().is_ok() || host_and_port(server).is_some()
}
