use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Failed(ErrorCategory);

impl ReconcileError for Failed {
    fn category(&self) -> ErrorCategory {
        self.0
    }
}

type Answer = Result<Outcome, Failed>;

fn object(name: &str) -> ObjectRef<ConfigMap> {
    ObjectRef::new(name).within("ns")
}

/// A controller, and when (in milliseconds) it reconciled what.
struct Started {
    queue: Queue<ConfigMap>,
    runs: Arc<Mutex<Vec<(u128, String)>>>,
    metrics: Metrics,
    warm: Arc<AtomicBool>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Started {
    fn new<Fut: Future<Output = Answer> + Send + 'static>(
        mut settings: Settings,
        reconcile: impl Fn(ObjectRef<ConfigMap>) -> Fut + Send + Sync + 'static,
    ) -> Self {
        let (queue, metrics, shutdown) = (Queue::new(), Metrics::new().unwrap(), CancellationToken::new());
        let (runs, warm) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(true)));
        settings.jitter = Jitter::seeded(1);
        let (recorded, begin) = (Arc::clone(&runs), Instant::now());
        let recording = move |object: ObjectRef<ConfigMap>| {
            recorded
                .lock()
                .unwrap()
                .push((begin.elapsed().as_millis(), object.name.clone()));
            reconcile(object)
        };
        let controller = {
            let (warm, queue, metrics, shutdown) = (
                Arc::clone(&warm),
                queue.clone(),
                metrics.clone(),
                shutdown.clone(),
            );
            async move {
                let is_warm = move || warm.load(Ordering::Acquire);
                run("test", is_warm, queue, recording, settings, &metrics, shutdown).await;
            }
        };
        Self {
            queue,
            runs,
            metrics,
            warm,
            shutdown,
            task: tokio::spawn(controller),
        }
    }

    fn add(&self, name: &str) {
        self.queue.add(object(name));
    }

    fn names(&self) -> Vec<String> {
        self.runs
            .lock()
            .unwrap()
            .iter()
            .map(|(_, name)| name.clone())
            .collect()
    }

    fn times(&self) -> Vec<u128> {
        self.runs.lock().unwrap().iter().map(|(time, _)| *time).collect()
    }

    fn assert_metric(&self, line: &str) {
        let text = self.metrics.encode().unwrap();
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}

async fn after(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_before_the_caches_are_warm_and_then_everything_queued_does() {
    let started = Started::new(Settings::default(), async |_| Ok(Outcome::Done));
    started.warm.store(false, Ordering::Release);
    started.add("a");
    started.add("b");
    started.add("a");
    after(10_000).await;
    assert_eq!(started.names(), [""; 0]);
    started.warm.store(true, Ordering::Release);
    after(100).await;
    assert_eq!(started.names(), ["a", "b"]);
    started.assert_metric(r#"workqueue_adds_total{controller="test",name="test"} 2"#);
    started.assert_metric(r#"controller_runtime_reconcile_total{controller="test",result="success"} 2"#);
    started.assert_metric(r#"controller_runtime_max_concurrent_reconciles{controller="test"} 16"#);
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_runs_unless_a_resync_is_asked_for() {
    let at_rest = Started::new(Settings::default(), async |_| Ok(Outcome::Done));
    let resync = Settings {
        resync: Some(Duration::from_mins(10)),
        ..Settings::default()
    };
    let resyncing = Started::new(resync, async |_| Ok(Outcome::Done));
    at_rest.add("a");
    resyncing.add("a");
    after(3_600_000).await;
    assert_eq!(at_rest.times().len(), 1);
    assert!(
        (5..=8).contains(&resyncing.times().len()),
        "{:?}",
        resyncing.times()
    );
}

#[tokio::test(start_paused = true)]
async fn a_recheck_comes_unless_an_event_comes_first() {
    let started = Started::new(Settings::default(), async |_| {
        Ok(Outcome::Waiting {
            recheck: Some(Duration::from_secs(10)),
        })
    });
    started.add("a");
    after(4_000).await;
    started.add("a");
    after(15_900).await;
    // At once, at the event, and ten seconds after that: the recheck of the first run is not one too many.
    assert_eq!(started.times(), [0, 4_000, 14_000]);
    started
        .assert_metric(r#"controller_runtime_reconcile_total{controller="test",result="requeue_after"} 3"#);
}

#[tokio::test(start_paused = true)]
async fn waiting_without_recheck_and_skipping_wait_for_events() {
    let outcome = |object: ObjectRef<ConfigMap>| async move {
        if object.name == "a" {
            Ok(Outcome::Waiting { recheck: None })
        } else {
            Ok(Outcome::Skipped)
        }
    };
    let started = Started::new(Settings::default(), outcome);
    started.add("a");
    started.add("b");
    after(3_600_000).await;
    assert_eq!(started.names(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_with_growing_delays_that_end_with_success() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let started = Started::new(Settings::default(), move |_| {
        let attempt = counted.fetch_add(1, Ordering::AcqRel);
        async move {
            if attempt == 4 {
                Ok(Outcome::Done)
            } else {
                Err(Failed(ErrorCategory::Transient))
            }
        }
    });
    started.add("a");
    after(60_000).await;
    let times = started.times();
    assert_eq!(times.len(), 5, "{times:?}");
    for (step, pair) in times.windows(2).enumerate() {
        let least = 1000 << step;
        assert!(
            (least..=2 * least + 1).contains(&(pair[1] - pair[0])),
            "{times:?}"
        );
    }
    started.assert_metric(r#"controller_runtime_reconcile_errors_total{controller="test"} 4"#);
    started.assert_metric(r#"workqueue_retries_total{controller="test",name="test"} 4"#);
    // A new failure starts anew.
    started.add("a");
    after(2_001).await;
    assert_eq!(attempts.load(Ordering::Acquire), 7);
}

#[tokio::test(start_paused = true)]
async fn one_failing_object_does_not_slow_down_others_and_its_longest_delay_is_bounded() {
    let started = Started::new(
        Settings {
            workers: 1,
            ..Settings::default()
        },
        |object| async move {
            if object.name == "bad" {
                Err(Failed(ErrorCategory::Transient))
            } else {
                Ok(Outcome::Done)
            }
        },
    );
    started.add("bad");
    started.add("good");
    after(7_200_000).await;
    let times = started.times();
    assert_eq!(started.names()[1], "good");
    assert_eq!(times[1], 0);
    let last: Vec<_> = times.windows(2).skip(12).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        !last.is_empty() && last.iter().all(|gap| (150_000..=300_001).contains(gap)),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_repeated_soon_and_are_no_errors_until_there_are_too_many() {
    let started = Started::new(Settings::default(), async |_| {
        Err(Failed(ErrorCategory::Conflict))
    });
    started.add("a");
    after(4_999).await;
    let times = started.times();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.iter().take(10).all(|gap| (50..=501).contains(gap)),
        "{gaps:?}"
    );
    started.assert_metric(r#"controller_runtime_reconcile_total{controller="test",result="requeue"} 10"#);
    after(600_000).await;
    assert!(started.times().len() < 25, "{:?}", started.times());
}

#[tokio::test(start_paused = true)]
async fn what_is_invalid_is_repeated_rarely_and_at_once_after_an_event() {
    let started = Started::new(Settings::default(), async |_| Err(Failed(ErrorCategory::Invalid)));
    started.add("a");
    after(140_000).await;
    started.add("a");
    after(300_001).await;
    let times = started.times();
    assert_eq!(times[..2], [0, 140_000]);
    assert!((3..=4).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_hangs_is_given_up_and_repeated() {
    let started = Started::new(Settings::default(), async |_| {
        std::future::pending::<Answer>().await
    });
    started.add("a");
    after(63_000).await;
    let times = started.times();
    assert!(
        times.len() == 2 && (61_000..=62_001).contains(&times[1]),
        "{times:?}"
    );
    started.assert_metric(r#"tiproxy_operator_reconcile_timeouts_total{controller="test"} 1"#);
    started.assert_metric(r#"controller_runtime_active_workers{controller="test"} 1"#);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_counted_and_repeated() {
    let started = Started::new(Settings::default(), |object| {
        assert!(object.name != "at once", "in the call itself");
        async move {
            if object.name == "good" {
                Ok(Outcome::Done)
            } else {
                panic!("later")
            }
        }
    });
    for name in ["at once", "later", "good"] {
        started.add(name);
    }
    after(900).await;
    assert_eq!(started.names(), ["at once", "later", "good"]);
    started.assert_metric(r#"controller_runtime_reconcile_panics_total{controller="test"} 2"#);
    after(1_200).await;
    assert_eq!(started.names().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_run_at_once_and_never_one_object_twice() {
    let running = Arc::new(Mutex::new(Vec::<String>::new()));
    let most = Arc::new(AtomicUsize::new(0));
    let (inside, high) = (Arc::clone(&running), Arc::clone(&most));
    let started = Started::new(
        Settings {
            workers: 3,
            ..Settings::default()
        },
        move |object| {
            let (inside, high) = (Arc::clone(&inside), Arc::clone(&high));
            async move {
                {
                    let mut inside = inside.lock().unwrap();
                    assert!(!inside.contains(&object.name), "{} runs twice", object.name);
                    inside.push(object.name.clone());
                    high.fetch_max(inside.len(), Ordering::AcqRel);
                }
                after(10).await;
                inside.lock().unwrap().retain(|name| *name != object.name);
                Ok(Outcome::Done)
            }
        },
    );
    for round in 0..20 {
        for name in 0..8 {
            started.add(&name.to_string());
        }
        after(round).await;
    }
    after(1_000).await;
    assert_eq!(most.load(Ordering::Acquire), 3);
    started.assert_metric(r#"controller_runtime_reconcile_errors_total{controller="test"} 0"#);
    started.assert_metric(r#"workqueue_depth{controller="test",name="test"} 0"#);
}

#[tokio::test(start_paused = true)]
async fn an_event_during_a_run_causes_another_run() {
    let started = Started::new(Settings::default(), async |_| {
        after(100).await;
        Ok(Outcome::Waiting {
            recheck: Some(Duration::from_mins(1)),
        })
    });
    started.add("a");
    after(50).await;
    started.add("a");
    started.add("a");
    after(1_000).await;
    assert_eq!(started.times(), [0, 100]);
    after(60_000).await;
    assert_eq!(started.times(), [0, 100, 60_200]);
}

#[tokio::test(start_paused = true)]
async fn on_shutdown_running_reconciles_may_end_and_no_others_begin() {
    let started = Started::new(
        Settings {
            workers: 1,
            ..Settings::default()
        },
        async |_| {
            after(5_000).await;
            Ok(Outcome::Done)
        },
    );
    started.add("a");
    started.add("b");
    after(100).await;
    let begin = Instant::now();
    started.shutdown.cancel();
    let runs = Arc::clone(&started.runs);
    started.task.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_millis(4_900));
    assert_eq!(runs.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_shutdown_a_reconcile_that_hangs_is_given_up_after_the_grace_period() {
    let started = Started::new(Settings::default(), async |_| {
        std::future::pending::<Answer>().await
    });
    started.add("a");
    after(100).await;
    let begin = Instant::now();
    started.shutdown.cancel();
    started.task.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_before_the_caches_are_warm_ends_at_once() {
    let started = Started::new(Settings::default(), async |_| Ok(Outcome::Done));
    started.warm.store(false, Ordering::Release);
    started.shutdown.cancel();
    started.task.await.unwrap();
}
