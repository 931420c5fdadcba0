//! Which TiDB a client gets.

use std::time::{Duration, Instant};

use tiproxy_standin::flags::Line;

use crate::mysql::{Client, Refused};
use crate::subject::{Proxy, Start};
use crate::wait::{eventually, expect};
use crate::world::labels;

fn group(name: &str) -> String {
    format!("labels = {{group = {name:?}}}\nbalance.label-name = \"group\"\n")
}

fn score(address: &str) -> String {
    format!("tiproxy_balance_b_score{{backend={address:?},factor=\"label\"}}")
}

fn connections(address: &str) -> String {
    format!("tiproxy_balance_b_conn{{backend={address:?}}}")
}

/// Two TiDBs of these groups, both healthy.
async fn two(line: Line, config: &str, groups: [&str; 2], signed: bool) -> (Proxy, [String; 2]) {
    let mut proxy = Start::config(config).run(line).await;
    let (_, first) = proxy.world.add(labels(&[("group", groups[0])]), signed).await;
    let (_, second) = proxy.world.add(labels(&[("group", groups[1])]), signed).await;
    for address in [&first, &second] {
        let series = format!(
            "tiproxy_backend_b_status{{backend={:?}}}",
            line.full_name(address)
        );
        proxy.metric_becomes(&series, 1.0).await;
    }
    (proxy, [first, second])
}

pub(crate) async fn a_label_that_no_tidb_has_shows_in_the_scores_only(line: Line) {
    let (proxy, [first, second]) = two(line, &group("oltp"), ["olap", "etl"], true).await;
    let start = Instant::now();
    let refused = Client::login(proxy.sql, None).await.err();
    let message = "No available TiDB instances, please make sure TiDB is available";
    assert!(
        matches!(&refused, Some(Refused::Error(1105, text)) if text == message),
        "{refused:?}"
    );
    assert!(start.elapsed() > Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(proxy.api.get("/api/debug/health").await.status, 200);
    let metrics = proxy.metrics().await;
    let metric = |series: &str| metrics.get(series).copied();
    assert_eq!(metric(&score(&first)), Some(1.0));
    assert_eq!(metric(&score(&second)), Some(1.0));
    assert_eq!(metric("tiproxy_backend_get_backend{res=\"fail\"}"), Some(1.0));
    let reason = "tiproxy_server_disconnection_total{type=\"get backend fail\"}";
    assert_eq!(metric(reason), Some(1.0));

    // By the file, without a restart.
    proxy.write_config(&group("etl"));
    eventually("the new group is in force", async || {
        let config = proxy.config().await;
        expect(config["labels"]["group"] == "etl", config)
    })
    .await;
    let mut client = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(client.query("SELECT 'served'").await.unwrap(), "served");
    proxy.metric_becomes(&connections(&second), 1.0).await;
    // The scores were forgotten with the change, and are written again within ten seconds.
    eventually("the scores are those of the new group", async || {
        let metrics = proxy.metrics().await;
        let found = [&first, &second].map(|address| metrics.get(&score(address)).copied());
        expect(found == [Some(1.0), Some(0.0)], found)
    })
    .await;
}

/// The sum of the migrations from one TiDB to the other that ended so.
async fn migrations(proxy: &Proxy, line: Line, from: &str, to: &str, result: &str) -> f64 {
    let series = format!(
        "tiproxy_balance_migrate_total{{from={:?},migrate_res={result:?},reason=\"label\",to={:?}}}",
        line.full_name(from),
        line.full_name(to)
    );
    proxy.metric(&series).await
}

pub(crate) async fn sessions_move_to_the_tidb_with_the_label(line: Line) {
    let (proxy, [first, second]) = two(line, &group("a"), ["a", "b"], true).await;
    let mut client = Client::login(proxy.sql, None).await.unwrap();
    proxy.metric_becomes(&connections(&first), 1.0).await;
    let answer = proxy.api.put("/api/admin/config/", &group("b")).await;
    assert_eq!(answer.status, 200);
    proxy.metric_becomes(&connections(&second), 1.0).await;
    proxy.metric_becomes(&connections(&first), 0.0).await;
    let moved = migrations(&proxy, line, &first, &second, "succeed").await;
    assert!((moved - 1.0).abs() < 1e-9, "{moved}");
    assert_eq!(client.query("SELECT 2").await.unwrap(), "2");
}

pub(crate) async fn sessions_that_cannot_move_stay(line: Line) {
    let (proxy, [first, second]) = two(line, &group("a"), ["a", "b"], false).await;
    let mut client = Client::login(proxy.sql, None).await.unwrap();
    proxy.metric_becomes(&connections(&first), 1.0).await;
    let answer = proxy.api.put("/api/admin/config/", &group("b")).await;
    assert_eq!(answer.status, 200);
    match line {
        Line::V1_3 => {
            eventually("a move fails", async || {
                let failed = migrations(&proxy, line, &first, &second, "fail").await;
                expect(failed >= 1.0, failed)
            })
            .await;
        }
        // It does not even try, and nothing tells of it.
        Line::V26 => tokio::time::sleep(Duration::from_secs(4)).await,
    }
    let metrics = proxy.metrics().await;
    let moves = metrics
        .keys()
        .filter(|series| series.starts_with("tiproxy_balance_migrate_total"));
    assert_eq!(moves.count(), usize::from(line == Line::V1_3), "{metrics:?}");
    assert_eq!(metrics.get(&connections(&first)), Some(&1.0));
    assert_eq!(client.query("SELECT 3").await.unwrap(), "3");
}
