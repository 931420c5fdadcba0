//! Health.

use serde_json::json;
use tiproxy_standin::flags::Line;

use crate::subject::Start;
use crate::world::labels;

pub(crate) async fn it_needs_a_healthy_tidb_whatever_its_labels(line: Line) {
    let config = "labels = {group = \"oltp\"}\nbalance.label-name = \"group\"\n";
    let mut proxy = Start::config(config).run(line).await;
    let reason = |text: &str| (line == Line::V26).then(|| json!(text));
    let body = proxy.is_healthy(false).await;
    assert_eq!(
        body.get("unhealthy_reason").cloned(),
        reason("server is not ready")
    );
    let (number, address) = proxy.world.add(labels(&[("group", "olap")]), true).await;
    let body = proxy.is_healthy(true).await;
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let status = format!(
        "tiproxy_backend_b_status{{backend=\"{}\"}}",
        line.full_name(&address)
    );
    proxy.metric_becomes(&status, 1.0).await;
    proxy.world.set_healthy(number, false);
    let body = proxy.is_healthy(false).await;
    assert_eq!(
        body.get("unhealthy_reason").cloned(),
        reason("server is not ready")
    );
    proxy.metric_becomes(&status, 0.0).await;
    proxy.world.set_healthy(number, true);
    proxy.is_healthy(true).await;
}

pub(crate) async fn it_can_be_ordered_in_the_newer_line_only(line: Line) {
    const PATH: &str = "/api/debug/health";
    let proxy = Start::default().run(line).await.with_tidb().await;
    let bad = json!({"healthy": false, "reason": " drain "}).to_string();
    if line == Line::V1_3 {
        for (method, body) in [("PUT", bad.as_str()), ("DELETE", "")] {
            let answer = proxy.api.request(method, PATH, body).await.unwrap();
            assert_eq!(answer.status, 404, "{method}");
        }
        proxy.is_healthy(true).await;
        return;
    }
    let answer = proxy.api.put(PATH, &bad).await;
    assert_eq!((answer.status, answer.body.trim()), (200, "\"\""));
    let answer = proxy.api.get(PATH).await;
    assert_eq!(
        (answer.status, &answer.json()["unhealthy_reason"]),
        (502, &json!("drain"))
    );
    for wrong in ["", "no", "{\"healthy\": 1}", "[]"] {
        let answer = proxy.api.put(PATH, wrong).await;
        assert_eq!(
            (answer.status, answer.body.trim()),
            (400, "\"bad health override json\""),
            "{wrong}"
        );
    }
    assert_eq!(proxy.api.get(PATH).await.status, 502, "what was ordered stays");
    // Clients are served all the same.
    let mut client = crate::mysql::Client::login(proxy.sql, None).await.unwrap();
    assert_eq!(client.query("SELECT 1").await.unwrap(), "1");
    let answer = proxy.api.request("DELETE", PATH, "").await.unwrap();
    assert_eq!((answer.status, answer.body.trim()), (200, "\"\""));
    assert_eq!(proxy.api.get(PATH).await.status, 200);
    // An object without the field says that it is not healthy.
    assert_eq!(proxy.api.put(PATH, "{}").await.status, 200);
    let answer = proxy.api.get(PATH).await;
    assert_eq!(
        (answer.status, answer.json().get("unhealthy_reason").cloned()),
        (502, None)
    );
}
