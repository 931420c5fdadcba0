//! The operator's own client, and what it makes of the answers.

use std::net::{Ipv4Addr, SocketAddr};

use tiproxy_operator::proxy_api::Health;
use tiproxy_operator::proxy_api::client::{Client, Endpoint, Obedience, Said};
use tiproxy_operator::proxy_api::question::{AskConfig, Order, Question};
use tiproxy_operator::proxy_config::{Effect, KEYS, Key, Kind, not_in_effect};
use tiproxy_standin::flags::Line;

use crate::subject::{Proxy, Start};

/// A version of the line.
fn version(line: Line) -> &'static str {
    match line {
        Line::V1_3 => "v1.3.2",
        Line::V26 => "v26.3.1",
    }
}

async fn ask(proxy: &Proxy, question: Question) -> Said {
    let endpoint = Endpoint {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.api.port)),
        tls: false,
    };
    let client = Client::new(None).unwrap();
    client.ask(endpoint, &question).await.unwrap()
}

pub(crate) async fn one_that_leaves_is_marked_and_our_mark_only_is_taken_back(line: Line) {
    let proxy = Start::default().run(line).await.with_tidb().await;
    let ask = async |leaves| {
        let said = ask(
            &proxy,
            Question {
                leaves,
                ..Question::default()
            },
        )
        .await;
        let numbers = (said.answer.connections, said.answer.created_connections);
        assert_eq!(numbers, (Some(0), Some(0)), "nobody has connected yet");
        let ordered = said.ordered.map(|(order, obedience)| (order, obedience.unwrap()));
        (said.answer.health, ordered)
    };
    assert_eq!(ask(false).await, (Health::Healthy, None));
    if line == Line::V1_3 {
        let refused = Some((Order::Mark, Obedience::HasNoOverride));
        assert_eq!(ask(true).await, (Health::Healthy, refused));
        assert_eq!(ask(true).await, (Health::Healthy, refused));
        return;
    }
    let unhealthy = |reason: &str| Health::Unhealthy {
        reason: Some(reason.to_owned()),
    };
    let marked = unhealthy(Health::MARK);
    let complies = |order| Some((order, Obedience::Complies));
    assert_eq!(ask(true).await, (Health::Healthy, complies(Order::Mark)));
    assert_eq!(ask(true).await, (marked.clone(), None));
    assert_eq!(ask(false).await, (marked, complies(Order::Unmark)));
    assert_eq!(ask(false).await, (Health::Healthy, None));
    // Somebody else's stays.
    let others = "{\"healthy\": false, \"reason\": \"maintenance\"}";
    assert_eq!(proxy.api.put("/api/debug/health", others).await.status, 200);
    for leaves in [true, false] {
        assert_eq!(ask(leaves).await, (unhealthy("maintenance"), None));
    }
}

/// Each key to another value and back to its default, one after the other.
pub(crate) async fn every_key_is_told_until_it_is_in_effect(line: Line) {
    let proxy = Start::default().run(line).await;
    let version = version(line);
    let compare = async |wanted: &str| {
        let question = Question {
            config: AskConfig::Always,
            ..Question::default()
        };
        let said = ask(&proxy, question).await;
        let config = said.config.unwrap().unwrap();
        let differing = not_in_effect(&config, wanted, Some(version));
        (said.answer.config_checksum.unwrap(), differing.unwrap())
    };
    let hot = KEYS.iter().filter(|key| {
        let known = key.since.is_in(version) == Some(true);
        known && key.effect != Effect::Start && !key.dead && key.ineffective.is_none()
    });
    let mut compared = 0;
    for key in hot {
        let (path, other, default) = if matches!(key.kind, Kind::Labels) {
            ("labels.\"a.b/c\"", "\"q \\\" ü\"".to_owned(), "\"\"")
        } else {
            (key.path, another(key, &proxy.world.pd_addrs()), key.default)
        };
        for value in [other.as_str(), default] {
            let wanted = format!("{path} = {value}\n");
            let (before, differing) = compare(&wanted).await;
            assert_eq!(differing, [path], "before {wanted}");
            assert_eq!(
                proxy.api.put("/api/admin/config/", &wanted).await.status,
                200,
                "{wanted}"
            );
            let (after, differing) = compare(&wanted).await;
            assert_eq!(differing, [""; 0], "after {wanted}");
            assert_ne!(before, after, "the checksum tells: {wanted}");
        }
        compared += 1;
    }
    assert_eq!(compared, if line == Line::V1_3 { 45 } else { 60 });
}

/// A value that the key takes, and that is not its default.
fn another(key: &Key, pd_addrs: &str) -> String {
    let value = match key.kind {
        Kind::Boolean if key.default == "true" => "false",
        Kind::Boolean => "true",
        Kind::Integer { .. } => "7",
        Kind::IntegerOrZero { .. } => "2048",
        Kind::Float { .. } => "0.75",
        Kind::FloatAboveOne => "1.5",
        Kind::Text | Kind::Anything => "\"another\"",
        Kind::OneOf(values) | Kind::Preferably(values) => return format!("{:?}", values.last().unwrap()),
        Kind::LogLevel => "\"ERROR\"",
        Kind::Duration => "\"7m1.5s\"",
        Kind::DurationText => "\"7h\"",
        Kind::TlsVersion => "\"1.3\"",
        Kind::Texts => "[\"another\"]",
        Kind::NonEmptyTexts => "[\" another \", \"b\", \"another\"]",
        Kind::Networks => "[\"10.0.0.0/8\"]",
        Kind::PortRange => "[7000, 7001]",
        // PD has to be there: the newer line connects to it before it answers.
        Kind::BackendClusters => return format!("[{{ name = \"a\", pd-addrs = {pd_addrs:?} }}]"),
        Kind::Labels => "{ another = \"label\" }",
    };
    value.to_owned()
}
