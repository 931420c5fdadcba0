use std::sync::Mutex;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::runtime::testing::{Call, Reply, brief, briefs, config_map, fake_api, line};

/// What is told, each with what the cache held at that time.
struct Told {
    receiver: UnboundedReceiver<(String, Vec<String>)>,
    cache: Cache<ConfigMap>,
}

impl Told {
    async fn next(&mut self) -> String {
        self.next_with_cache().await.0
    }

    async fn next_with_cache(&mut self) -> (String, Vec<String>) {
        self.receiver.recv().await.unwrap()
    }

    async fn nothing(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(self.receiver.try_recv().is_err());
    }
}

fn told() -> (Told, impl Fn(&ConfigMap) + Send + Sync + 'static) {
    let (sender, receiver) = unbounded_channel();
    let cache = Cache::new();
    let told = Told {
        receiver,
        cache: cache.clone(),
    };
    (told, move |object: &ConfigMap| {
        sender.send((brief(object), briefs(&cache.all()))).unwrap();
    })
}

struct Started {
    told: Told,
    calls: Arc<Mutex<Vec<Call>>>,
    metrics: Metrics,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn start(guarded: bool, handler: impl FnMut(&Call) -> Reply + Send + 'static) -> Started {
    let (calls, client) = fake_api(handler);
    let (told, touch) = told();
    let (metrics, shutdown) = (Metrics::new().unwrap(), CancellationToken::new());
    let watch = Watch::new(told.cache.clone(), metrics.clone(), shutdown.clone()).jitter(Jitter::seeded(1));
    let task = if guarded {
        watch.spawn_guarded(Api::all(client), touch)
    } else {
        watch
            .config(watcher::Config::default().labels("a=b"))
            .spawn(Api::all(client), touch)
    };
    Started {
        told,
        calls,
        metrics,
        shutdown,
        task,
    }
}

/// Keeps a watch open for as long as the test runs.
fn open_watch(keep: &Arc<Mutex<Vec<UnboundedSender<String>>>>) -> Reply {
    let (sender, reply) = Reply::watch();
    keep.lock().unwrap().push(sender);
    reply
}

#[tokio::test(start_paused = true)]
async fn it_lists_watches_tells_and_stops() {
    let (sender, reply) = Reply::watch();
    let mut reply = Some(reply);
    let mut started = start(false, move |call| {
        if call.is_watch() {
            reply.take().unwrap()
        } else {
            Reply::list(&[config_map("a", "1", 1)], 5)
        }
    });
    let told = &mut started.told;
    assert!(!told.cache.is_warm());
    assert_eq!(told.next().await, "a/1@1");
    assert!(told.cache.is_warm());
    sender.send(line("ADDED", &config_map("b", "2", 6))).unwrap();
    // Whoever is told finds the new state.
    assert_eq!(
        told.next_with_cache().await,
        ("b/2@6".to_owned(), vec!["a/1@1".to_owned(), "b/2@6".to_owned()])
    );
    sender.send(line("DELETED", &config_map("a", "1", 7))).unwrap();
    assert_eq!(
        told.next_with_cache().await,
        ("a/1@7".to_owned(), vec!["b/2@6".to_owned()])
    );
    let text = started.metrics.encode().unwrap();
    assert!(
        text.contains(r#"tiproxy_operator_cache_objects{kind="ConfigMap"} 1"#),
        "{text}"
    );

    let uris: Vec<_> = started
        .calls
        .lock()
        .unwrap()
        .iter()
        .map(|call| call.uri.clone())
        .collect();
    let watch = "/api/v1/configmaps?&watch=true&timeoutSeconds=190&labelSelector=a%3Db&allowWatchBookmarks=true&resourceVersion=5";
    assert_eq!(uris, ["/api/v1/configmaps?&labelSelector=a%3Db&limit=500", watch]);
    started.shutdown.cancel();
    started.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_vanished_between_two_watches_is_told() {
    let (keep, mut lists) = (Arc::default(), vec![vec!["a", "b"], vec!["a"]].into_iter());
    let mut expired = [true].into_iter();
    let mut started = start(false, move |call| {
        if !call.is_watch() {
            let objects: Vec<_> = lists
                .next()
                .unwrap()
                .into_iter()
                .map(|name| config_map(name, name, 1))
                .collect();
            Reply::list(&objects, 5)
        } else if expired.next().is_some() {
            let (sender, reply) = Reply::watch();
            let status = json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" });
            sender.send(line("ERROR", &status)).unwrap();
            reply
        } else {
            open_watch(&keep)
        }
    });
    let told = &mut started.told;
    assert_eq!([told.next().await, told.next().await], ["a/a@1", "b/b@1"]);
    let begin = Instant::now();
    assert_eq!([told.next().await, told.next().await], ["b/b@1", "a/a@1"]);
    assert!(
        begin.elapsed() < Duration::from_millis(100),
        "an expired watch lists again at once"
    );
    assert_eq!(briefs(&told.cache.all()), ["a/a@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_kind_is_retried_with_growing_delays_and_counted() {
    let (keep, mut refusals) = (Arc::default(), 0..12);
    let mut started = start(false, move |call| {
        if call.is_watch() {
            open_watch(&keep)
        } else if refusals.next().is_some() {
            Reply::status(
                403,
                "Forbidden",
                r#"configmaps is forbidden: User "operator" cannot list resource"#,
            )
        } else {
            Reply::list(&[config_map("a", "1", 1)], 5)
        }
    });
    let begin = Instant::now();
    assert_eq!(started.told.next().await, "a/1@1");
    let took = begin.elapsed();
    assert!(
        (Duration::from_mins(1)..Duration::from_mins(4)).contains(&took),
        "{took:?}"
    );
    let text = started.metrics.encode().unwrap();
    let line = r#"tiproxy_operator_watch_errors_total{kind="ConfigMap",reason="forbidden"} 12"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_stops_no_other() {
    let broken = json!({ "metadata": { "namespace": "ns", "name": "b", "uid": "2", "resourceVersion": "2" }, "data": 1 });
    let (sender, reply) = Reply::watch();
    let mut reply = Some(reply);
    let mut started = start(true, move |call| {
        if call.is_watch() {
            reply.take().unwrap()
        } else {
            Reply::list(&[broken.clone(), json!(config_map("a", "1", 1))], 5)
        }
    });
    let told = &mut started.told;
    assert_eq!(told.next().await, "a/1@1");
    let mut broken = json!(config_map("a", "1", 6));
    broken["data"] = json!(["no", "map"]);
    sender.send(line("MODIFIED", &broken)).unwrap();
    assert_eq!(told.next().await, "a/1@1");
    sender.send(line("MODIFIED", &config_map("a", "1", 7))).unwrap();
    assert_eq!(told.next().await, "a/1@7");
    told.nothing().await;
    let text = started.metrics.encode().unwrap();
    let line = r#"tiproxy_operator_watch_errors_total{kind="ConfigMap",reason="undecodable"} 2"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_taken_up_where_it_was() {
    let keep = Arc::default();
    let mut watches = 0;
    let mut started = start(false, move |call| {
        watches += u32::from(call.is_watch());
        match (call.is_watch(), watches) {
            (false, _) => Reply::list(&[config_map("a", "1", 1)], 5),
            (true, 1) => {
                let (sender, reply) = Reply::watch();
                sender.send(line("ADDED", &config_map("b", "2", 6))).unwrap();
                reply
            }
            (true, _) => open_watch(&keep),
        }
    });
    assert_eq!(
        [started.told.next().await, started.told.next().await],
        ["a/1@1", "b/2@6"]
    );
    started.told.nothing().await;
    let calls = started.calls.lock().unwrap();
    assert_eq!(calls.len(), 3);
    assert!(calls[2].uri.ends_with("&resourceVersion=6"), "{}", calls[2].uri);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_dispensable_kind_that_cannot_be_read() {
    for dispensable in [true, false] {
        let (_, client) = fake_api(|_| Reply::status(403, "Forbidden", "no"));
        let cache = Cache::<ConfigMap>::new();
        let watch = Watch::new(cache.clone(), Metrics::new().unwrap(), CancellationToken::new());
        let watch = if dispensable { watch.dispensable() } else { watch };
        watch.fields("reason=a").spawn(Api::all(client), |_| {});
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cache.is_warm(), dispensable);
    }
}

#[test]
fn delays_grow_until_the_watch_works_again() {
    let mut pace = Pace::new(Jitter::seeded(1));
    let delays: Vec<_> = (0..20).map(|_| pace.delay_after(Fault::Server)).collect();
    assert!(
        delays[0] < Duration::from_millis(401) && delays[19] <= MOST_BACKOFF,
        "{delays:?}"
    );
    pace.works();
    assert!(pace.delay_after(Fault::Server) < Duration::from_millis(401));
    pace.works();
    assert_eq!(pace.delay_after(Fault::Expired), Duration::ZERO);
    assert_ne!(pace.delay_after(Fault::Expired), Duration::ZERO);
}
