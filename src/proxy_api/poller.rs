//! Asks all running TiProxies, a bounded number at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::{AskError, Client, Obedience, Said};
use super::observation::ConfigReading;
use super::proxies::Heard;
use super::question::Order;
use super::schedule::{Attention, Outcome, Schedule};
use super::target::{Target, Wanted, targets};
use crate::api::TiProxy;
use crate::context::Context;
use crate::metrics::Metrics;
use crate::runtime::error_chain::with_sources;
use crate::runtime::jitter::Jitter;
use crate::runtime::runner::Queue;

/// How many are asked at once.
const MOST_AT_ONCE: usize = 32;
/// How often it is looked who is due.
const TICK: Duration = Duration::from_millis(500);
/// One that does not answer is asked at least so often.
const MOST_BACKOFF: Duration = Duration::from_mins(1);

/// Asks all running TiProxies.
#[derive(Debug)]
pub struct Poller {
    /// How to ask.
    pub client: Arc<Client>,
    /// How often each one is asked when nothing changes.
    pub interval: Duration,
    /// Where answers are counted.
    pub metrics: Metrics,
    /// Spreads the questions.
    pub jitter: Jitter,
}

impl Poller {
    /// Asks until the shutdown. What they say goes into the context's store; whose answer changed goes into the queue.
    pub async fn run(self, context: Context, queue: Queue<TiProxy>, shutdown: CancellationToken) {
        let mut schedule = Schedule::default();
        let mut running: JoinSet<Asked> = JoinSet::new();
        let for_ever = async {
            loop {
                let targets = targets(&context);
                schedule.follow(&targets, Instant::now());
                let known: HashSet<String> = targets.iter().map(|target| target.pod_uid.clone()).collect();
                context.proxies.retain(&known);
                let mut due = schedule.due(targets, Instant::now()).into_iter();
                let tick = sleep(TICK);
                tokio::pin!(tick);
                loop {
                    while running.len() < MOST_AT_ONCE
                        && let Some(target) = due.next()
                    {
                        if schedule.start(&target.pod_uid, Instant::now()) {
                            running.spawn(self.ask(&context, target));
                        }
                    }
                    tokio::select! {
                        () = &mut tick => break,
                        Some(Ok(asked)) = running.join_next() => self.finish(&context, &queue, &mut schedule, asked),
                    }
                }
            }
        };
        shutdown.run_until_cancelled(for_ever).await;
    }

    fn ask(&self, context: &Context, target: Target) -> impl Future<Output = Asked> + Send + use<> + 'static {
        let client = Arc::clone(&self.client);
        let fingerprint = target.wanted.as_ref().map(Wanted::fingerprint);
        let question = context
            .proxies
            .question(&target.pod_uid, target.state.leaves, fingerprint.as_deref());
        async move {
            let began = Instant::now();
            let result = client.ask(target.endpoint, &question).await;
            let took = began.elapsed();
            let result = result.map(|said| Reply::of(said, &target, fingerprint.as_deref()));
            Asked {
                target,
                fingerprint,
                result,
                took,
            }
        }
    }

    fn finish(&self, context: &Context, queue: &Queue<TiProxy>, schedule: &mut Schedule, asked: Asked) {
        let Asked {
            target,
            fingerprint,
            result,
            took,
        } = asked;
        let label = result.as_ref().map_or_else(AskError::as_str, |_| "ok");
        self.metrics.proxy_asked(label, took);
        if let Err(error) = &result {
            tell(&target, error, "TiProxy does not answer");
        }
        let answered = result.is_ok();
        let reply = result.ok();
        let unmarked = reply.as_ref().is_some_and(|reply| reply.unmarked);
        let is_news = context.proxies.record(
            &target.pod_uid,
            target.state.leaves,
            reply.map(|reply| reply.heard),
            context.clock.now(),
        );
        let attention = if target.state.leaves || unmarked {
            Attention::Urgent
        } else if context
            .proxies
            .is_unsettled(&target.pod_uid, fingerprint.as_deref())
        {
            Attention::Settling
        } else {
            Attention::Usual
        };
        let outcome = Outcome {
            answered,
            is_news,
            attention,
        };
        if is_news {
            queue.add(target.instance);
        }
        let most = if answered {
            self.interval
        } else {
            self.interval.max(MOST_BACKOFF)
        };
        let spread = |delay: Duration| self.jitter.between(delay / 10 * 9, delay / 10 * 11);
        schedule.finish(&target.pod_uid, outcome, most, spread, Instant::now());
    }
}

/// A TiProxy that was asked.
struct Asked {
    target: Target,
    /// A short name of what it should run with.
    fingerprint: Option<String>,
    result: Result<Reply, AskError>,
    took: Duration,
}

/// What came of it.
struct Reply {
    heard: Heard,
    /// It was told that it stays; what it says of its health is old.
    unmarked: bool,
}

impl Reply {
    fn of(said: Said, target: &Target, fingerprint: Option<&str>) -> Self {
        let Said {
            answer,
            ordered,
            config,
        } = said;
        let mut reply = Self {
            heard: Heard {
                answer,
                has_no_override: false,
                config: None,
            },
            unmarked: false,
        };
        match ordered {
            Some((Order::Unmark, Ok(Obedience::Complies))) => reply.unmarked = true,
            Some((_, Ok(Obedience::HasNoOverride))) => reply.heard.has_no_override = true,
            Some((Order::Mark, Ok(Obedience::Complies))) | None => {}
            Some((_, Err(error))) => tell(target, &error, "TiProxy's health cannot be overridden"),
        }
        match config {
            // What it says is not kept: there may be secrets in it.
            Some(Ok(toml)) => {
                let differing = target
                    .wanted
                    .as_ref()
                    .and_then(|wanted| wanted.not_in_effect(&toml));
                reply.heard.config = fingerprint.zip(differing).map(|(of, differing)| ConfigReading {
                    of: of.to_owned(),
                    differing,
                });
            }
            Some(Err(error)) => tell(target, &error, "TiProxy does not say what it runs with"),
            None => {}
        }
        reply
    }
}

fn tell(target: &Target, error: &AskError, what: &str) {
    tracing::debug!(
        namespace = target.instance.namespace.as_deref().unwrap_or_default(),
        name = target.instance.name,
        address = %target.endpoint.address,
        error = with_sources(error),
        "{what}"
    );
}
