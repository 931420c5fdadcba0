use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::metrics::Metrics;
use crate::runtime::cache::Cache;
use crate::runtime::jitter::Jitter;
use crate::runtime::testing::{Call, Reply, brief, config_map, fake_api, line};

const NAME: &str = "configmaps.example.com";

/// A cluster in which a kind may exist.
#[derive(Default)]
struct Cluster {
    definition: Option<Value>,
    definitions_forbidden: bool,
    kind_forbidden: bool,
    objects: Vec<ConfigMap>,
    definition_watches: Vec<UnboundedSender<String>>,
    kind_watches: Vec<UnboundedSender<String>>,
}

impl Cluster {
    fn answer(&mut self, call: &Call) -> Reply {
        let of_definition = call.uri.contains("customresourcedefinitions");
        if of_definition && self.definitions_forbidden || !of_definition && self.kind_forbidden {
            return Reply::status(403, "Forbidden", "forbidden");
        }
        if !of_definition && self.definition.is_none() {
            return Reply::status(
                404,
                "NotFound",
                "the server could not find the requested resource",
            );
        }
        if call.is_watch() {
            let (sender, reply) = Reply::watch();
            let watches = if of_definition {
                &mut self.definition_watches
            } else {
                &mut self.kind_watches
            };
            watches.push(sender);
            return reply;
        }
        if of_definition {
            assert!(
                call.uri
                    .contains(&format!("fieldSelector=metadata.name%3D{NAME}")),
                "{}",
                call.uri
            );
            Reply::list(self.definition.as_slice(), 5)
        } else {
            Reply::list(&self.objects, 5)
        }
    }

    fn tell(&self, type_: &str, definition: &Value) {
        self.definition_watches
            .last()
            .unwrap()
            .send(line(type_, definition))
            .unwrap();
    }
}

fn definition(uid: &str, version: u64, established: &str) -> Value {
    let meta = json!({ "name": NAME, "uid": uid, "resourceVersion": version.to_string() });
    let conditions = json!([{ "type": "NamesAccepted", "status": "True" }, { "type": "Established", "status": established }]);
    json!({ "metadata": meta, "spec": { "group": "example.com" }, "status": { "conditions": conditions } })
}

struct Started {
    cluster: Arc<Mutex<Cluster>>,
    calls: Arc<Mutex<Vec<Call>>>,
    cache: Cache<ConfigMap>,
    told: UnboundedReceiver<String>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Started {
    fn new(cluster: Cluster) -> Self {
        let cluster = Arc::new(Mutex::new(cluster));
        let answering = Arc::clone(&cluster);
        let (calls, client) = fake_api(move |call| answering.lock().unwrap().answer(call));
        let (sender, told) = unbounded_channel();
        let (cache, shutdown) = (Cache::new(), CancellationToken::new());
        let watch =
            Watch::new(cache.clone(), Metrics::new().unwrap(), shutdown.clone()).jitter(Jitter::seeded(1));
        let touch = move |object: &ConfigMap| sender.send(brief(object)).unwrap();
        let task = watch.spawn_optional(Api::all(client.clone()), client, NAME, touch);
        Self {
            cluster,
            calls,
            cache,
            told,
            shutdown,
            task,
        }
    }

    fn calls_of_kind(&self) -> usize {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|call| call.uri.starts_with("/api/v1/configmaps"))
            .count()
    }
}

async fn settle() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_definition_the_cache_is_warm_and_the_kind_is_never_asked_for() {
    let started = Started::new(Cluster::default());
    settle().await;
    assert!(started.cache.is_warm() && started.cache.is_empty());
    sleep(Duration::from_mins(3)).await;
    assert_eq!(
        (started.calls_of_kind(), started.calls.lock().unwrap().len()),
        (0, 2)
    );
    started.shutdown.cancel();
    started.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_the_definition_the_cache_is_warm_after_the_list_of_the_kind() {
    let cluster = Cluster {
        definition: Some(definition("d", 1, "True")),
        objects: vec![config_map("a", "1", 1)],
        ..Cluster::default()
    };
    let mut started = Started::new(cluster);
    assert!(!started.cache.is_warm());
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    assert!(started.cache.is_warm());
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_comes_goes_and_comes_again_is_followed() {
    let mut started = Started::new(Cluster::default());
    settle().await;
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.definition = Some(definition("d", 6, "False"));
        cluster.objects = vec![config_map("a", "1", 1)];
        let mut fresh = definition("d", 6, "False");
        fresh["status"]["conditions"] = Value::Null;
        cluster.tell("ADDED", &fresh);
        fresh["status"] = Value::Null;
        cluster.tell("MODIFIED", &fresh);
        cluster.tell("MODIFIED", &definition("d", 6, "False"));
    }
    settle().await;
    assert_eq!(started.calls_of_kind(), 0, "it is not established yet");
    assert_eq!(
        started.calls.lock().unwrap().len(),
        2,
        "all of that could be read"
    );
    started
        .cluster
        .lock()
        .unwrap()
        .tell("MODIFIED", &definition("d", 7, "True"));
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    // A change that does not matter does not list again.
    started
        .cluster
        .lock()
        .unwrap()
        .tell("MODIFIED", &definition("d", 8, "True"));
    settle().await;
    assert_eq!(started.calls_of_kind(), 2);
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.definition = None;
        cluster.tell("DELETED", &definition("d", 9, "True"));
    }
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    assert!(started.cache.is_empty() && started.cache.is_warm());
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.definition = Some(definition("e", 10, "True"));
        cluster.objects = vec![config_map("b", "2", 11)];
        cluster.tell("ADDED", &definition("e", 10, "True"));
    }
    assert_eq!(started.told.recv().await.unwrap(), "b/2@11");
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_was_replaced_unseen_lists_the_kind_again() {
    let cluster = Cluster {
        definition: Some(definition("d", 1, "True")),
        objects: vec![config_map("a", "1", 1)],
        ..Cluster::default()
    };
    let mut started = Started::new(cluster);
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.objects = vec![config_map("a", "2", 8)];
        cluster.tell("MODIFIED", &definition("e", 9, "True"));
    }
    let told = [
        started.told.recv().await.unwrap(),
        started.told.recv().await.unwrap(),
    ];
    assert_eq!(told, ["a/1@1", "a/2@8"]);
}

#[tokio::test(start_paused = true)]
async fn where_definitions_may_not_be_read_a_missing_kind_is_tried_every_few_minutes() {
    let mut started = Started::new(Cluster {
        definitions_forbidden: true,
        ..Cluster::default()
    });
    settle().await;
    assert!(started.cache.is_warm());
    sleep(Duration::from_hours(1)).await;
    let calls = started.calls_of_kind();
    assert!((12..=30).contains(&calls), "{calls}");
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.definition = Some(definition("d", 1, "True"));
        cluster.objects = vec![config_map("a", "1", 1)];
    }
    let begin = Instant::now();
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    assert!(begin.elapsed() <= MOST_RETRY);
    // And it goes: the watch ends, and the server no longer knows the kind.
    {
        let mut cluster = started.cluster.lock().unwrap();
        cluster.definition = None;
        cluster.kind_watches.clear();
    }
    assert_eq!(started.told.recv().await.unwrap(), "a/1@1");
    assert!(started.cache.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_leaves_the_cache_cold() {
    let started = Started::new(Cluster {
        definitions_forbidden: true,
        kind_forbidden: true,
        ..Cluster::default()
    });
    sleep(Duration::from_hours(1)).await;
    assert!(!started.cache.is_warm());
    assert!(started.calls_of_kind() <= 30);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_blocks_nobody_and_is_noticed_when_it_may() {
    let cluster = Arc::new(Mutex::new(Cluster {
        definition: Some(definition("d", 1, "True")),
        kind_forbidden: true,
        objects: vec![config_map("a", "1", 1)],
        ..Cluster::default()
    }));
    let answering = Arc::clone(&cluster);
    let (calls, client) = fake_api(move |call| answering.lock().unwrap().answer(call));
    let (sender, mut told) = unbounded_channel();
    let (cache, shutdown) = (Cache::new(), CancellationToken::new());
    let watch =
        Watch::new(cache.clone(), Metrics::new().unwrap(), shutdown.clone()).jitter(Jitter::seeded(1));
    let touch = move |object: &ConfigMap| sender.send(brief(object)).unwrap();
    let task = watch.spawn_if_allowed(Api::all(client), touch);
    while !cache.is_warm() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(cache.is_empty());
    let before = calls.lock().unwrap().len();
    sleep(Duration::from_secs(119)).await;
    assert_eq!(
        calls.lock().unwrap().len(),
        before,
        "it is not asked for again at once"
    );
    cluster.lock().unwrap().kind_forbidden = false;
    assert_eq!(told.recv().await.unwrap(), "a/1@1");
    // The right is taken away: what is known stays.
    cluster.lock().unwrap().kind_forbidden = true;
    cluster.lock().unwrap().kind_watches.clear();
    sleep(Duration::from_mins(20)).await;
    assert_eq!(cache.len(), 1);
    shutdown.cancel();
    task.await.unwrap();
}
