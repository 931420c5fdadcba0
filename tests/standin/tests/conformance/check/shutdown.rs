//! The end.

use std::time::{Duration, Instant};

use serde_json::json;
use tiproxy_standin::flags::Line;
use tokio::net::TcpStream;

use crate::mysql::Client;
use crate::subject::Start;
use crate::wait::{eventually, expect};

pub(crate) async fn the_end_has_its_order(line: Line) {
    let config = "proxy.graceful-wait-before-shutdown = 2\nproxy.graceful-close-conn-timeout = 20\n";
    let mut proxy = Start::config(config).run(line).await.with_tidb().await;
    let mut idle = Client::login(proxy.sql, None).await.unwrap();
    let mut busy = Client::login(proxy.sql, None).await.unwrap();
    let mut running = Client::login(proxy.sql, None).await.unwrap();
    busy.query("BEGIN").await.unwrap();
    let start = Instant::now();
    proxy.terminate();

    // Health tells at once; the SQL port goes on.
    let body = proxy.is_healthy(false).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let reason = (line == Line::V26).then(|| json!("server is closing"));
    assert_eq!(body.get("unhealthy_reason").cloned(), reason);
    let mut late = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(late.query("SELECT 1").await.unwrap(), "1");
    assert_eq!(idle.query("SELECT 1").await.unwrap(), "1");
    // The file is not looked at any more.
    proxy.write_config("labels = {late = \"1\"}\n");
    // Another signal changes nothing.
    proxy.terminate();
    // A statement that begins before the close is answered after it.
    let slow = tokio::spawn(async move { running.query("SELECT SLEEP(3)").await });

    eventually("the SQL port is closed", async || {
        let connected = TcpStream::connect(("127.0.0.1", proxy.sql)).await.is_ok();
        expect(!connected, connected)
    })
    .await;
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(1900) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    assert!(proxy.config().await["labels"].get("late").is_none());
    // Idle clients go at once, without a word.
    assert!(idle.is_closed(Duration::from_secs(1)).await);
    assert!(late.is_closed(Duration::from_secs(1)).await);
    let cut = "tiproxy_server_disconnection_total{type=\"proxy shutdown\"}";
    proxy.metric_becomes(cut, 2.0).await;
    // One in a transaction goes on to its end.
    assert_eq!(busy.query("SELECT 'mine'").await.unwrap(), "mine");
    assert_eq!(slow.await.unwrap().unwrap(), "0");
    assert!(proxy.ended().is_none());
    busy.query("COMMIT").await.unwrap();
    assert!(busy.is_closed(Duration::from_secs(1)).await);
    let status = proxy.ends().await;
    assert_eq!(status.code(), Some(0), "{}", proxy.output());
}

pub(crate) async fn a_transaction_is_cut_at_the_deadline(line: Line) {
    let config = "proxy.graceful-close-conn-timeout = 2\n";
    let mut proxy = Start::config(config).run(line).await.with_tidb().await;
    let mut busy = Client::login(proxy.sql, None).await.unwrap();
    busy.query("BEGIN").await.unwrap();
    let start = Instant::now();
    proxy.terminate();
    assert!(busy.is_closed(Duration::from_secs(5)).await);
    let lasted = start.elapsed();
    assert!(
        lasted > Duration::from_millis(1900) && lasted < Duration::from_secs(4),
        "{lasted:?}"
    );
    assert_eq!(proxy.ends().await.code(), Some(0), "{}", proxy.output());
}

/// The older line takes it; the newer one blocks for ever with the lock held.
pub(crate) async fn a_change_after_the_signal(line: Line) {
    const CONFIG: &str = "/api/admin/config/";
    let config = "proxy.graceful-wait-before-shutdown = 1\nproxy.graceful-close-conn-timeout = 8\n";
    let mut proxy = Start::config(config).run(line).await.with_tidb().await;
    let mut busy = Client::login(proxy.sql, None).await.unwrap();
    busy.query("BEGIN").await.unwrap();
    proxy.terminate();
    proxy.is_healthy(false).await;
    // The same once more is no change.
    let answer = proxy
        .api
        .put(CONFIG, "proxy.graceful-close-conn-timeout = 8")
        .await;
    assert_eq!(answer.status, 200);
    let changed = proxy
        .api
        .request("PUT", CONFIG, "proxy.graceful-close-conn-timeout = 3")
        .await;
    if line == Line::V1_3 {
        assert_eq!(changed.unwrap().status, 200);
        assert_eq!(proxy.ends().await.code(), Some(0), "{}", proxy.output());
        return;
    }
    let timed_out = |answer: std::io::Result<crate::http::Answer>| {
        answer.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    };
    assert!(timed_out(changed), "the change blocks");
    assert!(
        timed_out(proxy.api.request("GET", "/api/debug/health", "").await),
        "and health waits for it"
    );
    // It does not end by itself: the deadline for clients has long passed.
    assert!(proxy.runs_after(Duration::from_secs(2)).await);
}
