//! Clients.

use std::time::Duration;

use tiproxy_standin::flags::Line;
use tokio::net::TcpStream;

use crate::mysql::{Client, Refused};
use crate::subject::Start;

const CONNECTIONS: &str = "tiproxy_server_connections";
const CREATED: &str = "tiproxy_server_create_connection_total";

fn gone(reason: &str) -> String {
    format!("tiproxy_server_disconnection_total{{type={reason:?}}}")
}

pub(crate) async fn clients_are_counted(line: Line) {
    let proxy = Start::default().run(line).await.with_tidb().await;
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.get(CONNECTIONS),
        Some(&0.0),
        "they are there from the start"
    );
    assert_eq!(metrics.get(CREATED), Some(&0.0));
    assert_eq!(metrics.get("tiproxy_server_event{type=\"start\"}"), Some(&1.0));
    let mut one = Client::login(proxy.sql, None).await.unwrap();
    let mut two = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(one.query("SELECT 'one'").await.unwrap(), "one");
    assert_eq!(two.query("SELECT 'two'").await.unwrap(), "two");
    // A probe of the SQL port is a client as well.
    let probe = TcpStream::connect(("127.0.0.1", proxy.sql)).await.unwrap();
    proxy.metric_becomes(CONNECTIONS, 3.0).await;
    proxy.metric_becomes(CREATED, 3.0).await;
    drop(probe);
    proxy.metric_becomes(&gone("client network break"), 1.0).await;
    one.quit().await;
    proxy.metric_becomes(&gone("success"), 1.0).await;
    // The older line does not tell one who vanishes from one who says goodbye.
    drop(two);
    let vanished = match line {
        Line::V1_3 => "success",
        Line::V26 => "client network break",
    };
    proxy.metric_becomes(&gone(vanished), 2.0).await;
    proxy.metric_becomes(CONNECTIONS, 0.0).await;
    assert!((proxy.metric(CREATED).await - 3.0).abs() < 1e-9);
    let served = "tiproxy_backend_get_backend{res=\"succeed\"}";
    assert!((proxy.metric(served).await - 2.0).abs() < 1e-9);
}

pub(crate) async fn more_clients_than_allowed_are_dropped(line: Line) {
    let proxy = Start::config("proxy.max-connections = 1\n")
        .run(line)
        .await
        .with_tidb()
        .await;
    let mut one = Client::login(proxy.sql, None).await.unwrap();
    let refused = Client::login(proxy.sql, None).await.err();
    assert!(matches!(refused, Some(Refused::Broken(_))), "{refused:?}");
    let answer = proxy
        .api
        .put("/api/admin/config/", "proxy.max-connections = 2")
        .await;
    assert_eq!(answer.status, 200);
    // Those who listen to changes hear of it one after the other.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut two = Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(two.query("SELECT 1").await.unwrap(), "1");
    assert_eq!(one.query("SELECT 1").await.unwrap(), "1");
}
