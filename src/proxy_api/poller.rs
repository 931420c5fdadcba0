//! Asks all running TiProxies, a bounded number at once.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::{AskError, Client, Endpoint};
use super::observation::Answer;
use super::proxies::delay_after;
use crate::api::{TiProxy, name};
use crate::context::Context;
use crate::instance::build::tls::speaks_tls_on_http;
use crate::instance::pod_state;
use crate::metrics::Metrics;
use crate::ownership;
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
                for target in targets {
                    if running.len() < MOST_AT_ONCE && schedule.start(&target.pod_uid, Instant::now()) {
                        running.spawn(self.ask(target));
                    }
                }
                let tick = sleep(TICK);
                tokio::pin!(tick);
                loop {
                    tokio::select! {
                        () = &mut tick => break,
                        Some(Ok(asked)) = running.join_next() => self.finish(&context, &queue, &mut schedule, asked),
                    }
                }
            }
        };
        shutdown.run_until_cancelled(for_ever).await;
    }

    fn ask(&self, target: Target) -> impl Future<Output = Asked> + Send + 'static {
        let client = Arc::clone(&self.client);
        async move {
            let began = Instant::now();
            let result = client.ask(target.endpoint).await;
            Asked {
                target,
                result,
                took: began.elapsed(),
            }
        }
    }

    fn finish(&self, context: &Context, queue: &Queue<TiProxy>, schedule: &mut Schedule, asked: Asked) {
        let Asked { target, result, took } = asked;
        let outcome = result.as_ref().map_or_else(AskError::as_str, |_| "ok");
        self.metrics.proxy_asked(outcome, took);
        if let Err(error) = &result {
            tracing::debug!(
                namespace = target.instance.namespace.as_deref().unwrap_or_default(),
                name = target.instance.name,
                address = %target.endpoint.address,
                error = with_sources(error),
                "TiProxy does not answer"
            );
        }
        let answered = result.is_ok();
        let is_news = context
            .proxies
            .record(&target.pod_uid, result.ok(), context.clock.now());
        if is_news {
            queue.add(target.instance);
        }
        let most = if answered {
            self.interval
        } else {
            self.interval.max(MOST_BACKOFF)
        };
        let spread = |delay: Duration| self.jitter.between(delay / 10 * 9, delay / 10 * 11);
        schedule.finish(&target.pod_uid, is_news, most, spread, Instant::now());
    }
}

/// A TiProxy that can be asked.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    pod_uid: String,
    instance: ObjectRef<TiProxy>,
    endpoint: Endpoint,
    /// A change of it makes the last answer old: whether the kubelet calls the Pod ready, and its configuration.
    state: (bool, Option<String>),
}

/// A TiProxy that was asked.
struct Asked {
    target: Target,
    result: Result<Answer, AskError>,
    took: Duration,
}

fn targets(context: &Context) -> Vec<Target> {
    let pods = context.pods.all();
    pods.iter().filter_map(|pod| target(context, pod)).collect()
}

fn target(context: &Context, pod: &Pod) -> Option<Target> {
    if pod.metadata.deletion_timestamp.is_some() || !pod_state::is_running(pod) {
        return None;
    }
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    let owner = ownership::controller(pod).filter(|owner| owner.kind == TiProxy::kind(&()))?;
    let namespace = pod.namespace().unwrap_or_default();
    let instance = context.instances.get(&namespace, &owner.name)?;
    if instance.uid().as_deref() != Some(&owner.uid) {
        return None;
    }
    Some(Target {
        pod_uid: pod.uid()?,
        endpoint: Endpoint {
            address: SocketAddr::new(address, instance.spec.template.api_port()),
            tls: speaks_tls_on_http(&instance.spec),
        },
        instance: ObjectRef::from_obj(&*instance),
        state: (
            pod_state::is_ready(pod),
            pod.annotations().get(name::ANNOTATION_CONFIG_HASH).cloned(),
        ),
    })
}

/// Who is asked when.
#[derive(Debug, Default)]
struct Schedule(HashMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    next: Instant,
    is_running: bool,
    /// How many answers in a row were alike.
    asked: u32,
    state: (bool, Option<String>),
}

impl Schedule {
    /// Takes in who is there. A new one, and one whose state changed, is asked at once.
    fn follow(&mut self, targets: &[Target], now: Instant) {
        let known: HashSet<&str> = targets.iter().map(|target| target.pod_uid.as_str()).collect();
        self.0.retain(|uid, _| known.contains(uid.as_str()));
        for target in targets {
            match self.0.get_mut(&target.pod_uid) {
                Some(entry) if entry.state == target.state => {}
                Some(entry) => {
                    entry.next = now;
                    entry.asked = 0;
                    entry.state = target.state.clone();
                }
                None => {
                    let entry = Entry {
                        next: now,
                        is_running: false,
                        asked: 0,
                        state: target.state.clone(),
                    };
                    self.0.insert(target.pod_uid.clone(), entry);
                }
            }
        }
    }

    /// Whether it is due; from then on it is being asked.
    fn start(&mut self, pod_uid: &str, now: Instant) -> bool {
        let Some(entry) = self
            .0
            .get_mut(pod_uid)
            .filter(|entry| !entry.is_running && entry.next <= now)
        else {
            return false;
        };
        // Until the answer is there; a change of its state in between makes it due again.
        entry.is_running = true;
        entry.next = now + Duration::from_hours(24);
        true
    }

    /// It was asked.
    fn finish(
        &mut self,
        pod_uid: &str,
        is_news: bool,
        most: Duration,
        spread: impl Fn(Duration) -> Duration,
        now: Instant,
    ) {
        if let Some(entry) = self.0.get_mut(pod_uid) {
            entry.is_running = false;
            entry.asked = if is_news { 0 } else { entry.asked.saturating_add(1) };
            entry.next = entry.next.min(now + spread(delay_after(entry.asked, most)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(15);

    fn target(pod_uid: &str, is_ready: bool) -> Target {
        Target {
            pod_uid: pod_uid.to_owned(),
            instance: ObjectRef::new("web-0").within("ns"),
            endpoint: Endpoint {
                address: "127.0.0.1:3080".parse().unwrap(),
                tls: false,
            },
            state: (is_ready, None),
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_one_is_asked_at_once_then_at_growing_intervals() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        let mut asked = Vec::new();
        for second in 0..60 {
            let now = after(begin, second);
            schedule.follow(&[target("a", true)], now);
            if schedule.start("a", now) {
                asked.push(second);
                assert!(!schedule.start("a", after(now, 100)), "it is being asked");
                schedule.finish("a", second == 0, MOST, |delay| delay, now);
            }
        }
        assert_eq!(asked, [0, 2, 6, 14, 29, 44, 59]);
    }

    #[test]
    fn a_change_of_the_pod_makes_it_due_also_while_it_is_being_asked() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&[target("a", false)], begin);
        assert!(schedule.start("a", begin));
        schedule.follow(&[target("a", true)], begin);
        assert!(!schedule.start("a", begin), "one at a time");
        schedule.finish("a", false, MOST, |delay| delay, begin);
        assert!(schedule.start("a", begin), "the answer is older than the change");
        schedule.finish("a", false, MOST, |delay| delay, begin);
        assert!(!schedule.start("a", begin));
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&[target("a", true), target("b", true)], begin);
        assert!(schedule.start("a", begin));
        schedule.follow(&[target("b", true)], begin);
        assert!(!schedule.start("a", begin));
        schedule.finish("a", true, MOST, |delay| delay, begin);
        assert_eq!(schedule.0.len(), 1);
    }
}
