//! Kubernetes Events: for people, at transitions. They are sent by a task of their own, so that nothing waits for
//! them, and one that cannot be sent is counted and forgotten.
//!
//! kube's `Recorder` keeps the first note of a series for six minutes; here a changed note is a new Event, and only an
//! exact repetition is left out.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use crate::metrics::Metrics;

/// How many notices may wait to be sent.
/// Who tells.
const AUTHOR: &str = "tiproxy-operator";
const QUEUE: usize = 256;
/// How many sent notices are remembered, to leave out their repetition.
const MEMORY: usize = 256;
const REPEAT_AFTER: Duration = Duration::from_mins(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long notices that wait at the shutdown may take.
const GRACE: Duration = Duration::from_secs(1);
/// The API server's limits, in bytes.
const MOST_NOTE: usize = 1024;
const MOST_WORD: usize = 128;
/// Leaves room for the rest of an Event's name.
const MOST_NAME: usize = 220;

/// How serious a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Things take their course.
    Normal,
    /// Someone may have to look.
    Warning,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The object that it is about, as `Resource::object_ref` gives it.
    pub regarding: ObjectReference,
    /// How serious it is.
    pub severity: Severity,
    /// Why, as one word in `CamelCase`.
    pub reason: String,
    /// What was done, as one word in `CamelCase`.
    pub action: String,
    /// The same for people; cut to 1 KiB.
    pub note: String,
}

/// Takes notices. A clone feeds the same task.
#[derive(Debug, Clone)]
pub struct Events {
    sender: Sender<Notice>,
    metrics: Metrics,
}

impl Events {
    /// Starts the task that sends notices with this client, until the shutdown. `instance` says which replica of the
    /// operator speaks, such as the name of its Pod.
    #[must_use]
    pub fn spawn(
        client: Client,
        instance: &str,
        metrics: Metrics,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (events, receiver) = Self::channel(metrics.clone());
        let instance = truncated(instance, MOST_WORD);
        let speaker = Speaker {
            client,
            instance,
            metrics,
            clock,
            sent: VecDeque::new(),
        };
        (events, tokio::spawn(speaker.run(receiver, shutdown)))
    }

    /// Notices that go to the receiver; for tests.
    #[must_use]
    pub fn channel(metrics: Metrics) -> (Self, Receiver<Notice>) {
        let (sender, receiver) = channel(QUEUE);
        (Self { sender, metrics }, receiver)
    }

    /// Tells something. It never waits and never fails; a notice too many is dropped and counted.
    pub fn publish(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.metrics.event_dropped();
        }
    }
}

struct Speaker {
    client: Client,
    instance: String,
    metrics: Metrics,
    clock: Clock,
    /// What was sent and when, the oldest first.
    sent: VecDeque<(Duration, Notice)>,
}

impl Speaker {
    async fn run(mut self, mut notices: Receiver<Notice>, shutdown: CancellationToken) {
        while let Some(Some(notice)) = shutdown.run_until_cancelled(notices.recv()).await {
            self.speak(notice).await;
        }
        notices.close();
        let rest = async {
            while let Some(notice) = notices.recv().await {
                self.speak(notice).await;
            }
        };
        if timeout(GRACE, rest).await.is_err() {
            tracing::debug!("some events were not sent before the stop");
        }
    }

    async fn speak(&mut self, notice: Notice) {
        if self.is_repetition(&notice) {
            return;
        }
        let event = self.event(&notice);
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams {
            field_manager: Some(AUTHOR.to_owned()),
            ..PostParams::default()
        };
        match timeout(SEND_TIMEOUT, api.create(&params, &event)).await {
            Ok(Ok(_)) => self.remember(notice),
            Ok(Err(error)) => self.dropped(&notice, &error.to_string()),
            Err(_elapsed) => self.dropped(&notice, "it took too long"),
        }
    }

    fn dropped(&self, notice: &Notice, error: &str) {
        self.metrics.event_dropped();
        tracing::debug!(
            reason = notice.reason,
            note = notice.note,
            error,
            "an event was not sent"
        );
    }

    fn is_repetition(&mut self, notice: &Notice) -> bool {
        let now = self.clock.elapsed();
        while self
            .sent
            .front()
            .is_some_and(|(sent, _)| *sent + REPEAT_AFTER <= now)
        {
            self.sent.pop_front();
        }
        self.sent.iter().any(|(_, sent)| sent == notice)
    }

    fn remember(&mut self, notice: Notice) {
        if self.sent.len() >= MEMORY {
            self.sent.pop_front();
        }
        self.sent.push_back((self.clock.elapsed(), notice));
    }

    fn event(&self, notice: &Notice) -> Event {
        let now = self.clock.now();
        let object = notice.regarding.name.as_deref().unwrap_or(AUTHOR);
        let name = format!(
            "{}.{:x}",
            cut(object, MOST_NAME).trim_end_matches(['.', '-']),
            now.as_nanosecond()
        );
        let namespace = notice
            .regarding
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        Event {
            action: Some(truncated(&notice.action, MOST_WORD)),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            note: Some(truncated(&notice.note, MOST_NOTE)),
            reason: Some(truncated(&notice.reason, MOST_WORD)),
            regarding: Some(notice.regarding.clone()),
            reporting_controller: Some(AUTHOR.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(match notice.severity {
                Severity::Normal => "Normal".to_owned(),
                Severity::Warning => "Warning".to_owned(),
            }),
            ..Event::default()
        }
    }
}

/// At most so many bytes of the text; what is cut off leaves three dots.
fn truncated(text: &str, most: usize) -> String {
    const DOTS: &str = "...";
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}{DOTS}", cut(text, most.saturating_sub(DOTS.len())))
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::jiff::Timestamp;
    use kube::Resource;

    use super::*;
    use crate::runtime::testing::{Call, Reply, config_map, fake_api};

    fn notice(reason: &str, note: &str) -> Notice {
        Notice {
            regarding: config_map("a", "1", 1).object_ref(&()),
            severity: Severity::Warning,
            reason: reason.to_owned(),
            action: "Create".to_owned(),
            note: note.to_owned(),
        }
    }

    struct Started {
        events: Events,
        calls: Arc<Mutex<Vec<Call>>>,
        clock: Clock,
        metrics: Metrics,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    fn start(handler: impl FnMut(&Call) -> Reply + Send + 'static) -> Started {
        let (calls, client) = fake_api(handler);
        let (metrics, clock) = (Metrics::new().unwrap(), Clock::manual(Timestamp::UNIX_EPOCH));
        let shutdown = CancellationToken::new();
        let (events, task) = Events::spawn(client, "pod-1", metrics.clone(), clock.clone(), shutdown.clone());
        Started {
            events,
            calls,
            clock,
            metrics,
            shutdown,
            task,
        }
    }

    fn created(call: &Call) -> Reply {
        Reply::Json(201, call.body.clone())
    }

    impl Started {
        async fn notes(&self) -> Vec<String> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let calls = self.calls.lock().unwrap();
            calls
                .iter()
                .map(|call| call.body["note"].as_str().unwrap().to_owned())
                .collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_becomes_an_event() {
        let started = start(created);
        started.clock.advance(Duration::from_secs(1));
        started.events.publish(notice("NameConflict", "someone else's"));
        assert_eq!(started.notes().await, ["someone else's"]);
        let call = started.calls.lock().unwrap()[0].clone();
        assert_eq!(call.method, "POST");
        assert!(
            call.uri
                .starts_with("/apis/events.k8s.io/v1/namespaces/ns/events?"),
            "{}",
            call.uri
        );
        let event: Event = serde_json::from_value(call.body).unwrap();
        assert_eq!(event.metadata.name.as_deref(), Some("a.3b9aca00"));
        let [type_, reason, action, controller, instance] = [
            event.type_,
            event.reason,
            event.action,
            event.reporting_controller,
            event.reporting_instance,
        ]
        .map(Option::unwrap);
        assert_eq!([type_, reason, action], ["Warning", "NameConflict", "Create"]);
        assert_eq!([controller, instance], ["tiproxy-operator", "pod-1"]);
        assert_eq!(event.regarding.unwrap().uid.as_deref(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exact_repetition_is_left_out_for_a_while_and_a_changed_note_is_not() {
        let started = start(created);
        for note in ["one", "one", "two", "one"] {
            started.events.publish(notice("Reason", note));
        }
        assert_eq!(started.notes().await, ["one", "two"]);
        started.clock.advance(REPEAT_AFTER);
        started.events.publish(notice("Reason", "one"));
        assert_eq!(started.notes().await, ["one", "two", "one"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_sent_is_counted_and_forgotten() {
        let mut refusals = [true].into_iter();
        let started = start(move |call| {
            if refusals.next().is_some() {
                Reply::status(403, "Forbidden", "no")
            } else {
                created(call)
            }
        });
        started.events.publish(notice("Reason", "refused"));
        started.events.publish(notice("Reason", "accepted"));
        assert_eq!(started.notes().await.len(), 2);
        let text = started.metrics.encode().unwrap();
        assert!(text.contains("tiproxy_operator_events_dropped_total 1"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_at_once_are_dropped_and_never_block() {
        let metrics = Metrics::new().unwrap();
        let (events, receiver) = Events::channel(metrics.clone());
        for number in 0..QUEUE + 3 {
            events.publish(notice("Reason", &number.to_string()));
        }
        assert_eq!(receiver.len(), QUEUE);
        assert!(
            metrics
                .encode()
                .unwrap()
                .contains("tiproxy_operator_events_dropped_total 3")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_at_the_shutdown_is_still_sent() {
        let started = start(created);
        started.events.publish(notice("Reason", "last"));
        started.shutdown.cancel();
        started.task.await.unwrap();
        assert_eq!(started.calls.lock().unwrap().len(), 1);
        started.events.publish(notice("Reason", "too late"));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(truncated("short", 8), "short");
        assert_eq!(truncated("long enough", 8), "long ...");
        assert_eq!(truncated("äöüäöü", 8), "äö...");
        let speaker = |name: &str| {
            let (_, client) = fake_api(created);
            let (clock, metrics) = (Clock::manual(Timestamp::UNIX_EPOCH), Metrics::new().unwrap());
            let instance = "pod-1".to_owned();
            let speaker = Speaker {
                client,
                instance,
                metrics,
                clock,
                sent: VecDeque::new(),
            };
            let mut notice = notice("Reason", &"ö".repeat(1000));
            notice.regarding = ConfigMap::default().object_ref(&());
            notice.regarding.name = Some(name.to_owned());
            speaker.event(&notice)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let event = runtime.block_on(async { speaker(&format!("{}-.x", "n".repeat(218))) });
        assert_eq!(event.note.unwrap().len(), 1023);
        assert_eq!(event.metadata.name.unwrap(), format!("{}.0", "n".repeat(218)));
        assert_eq!(event.metadata.namespace.unwrap(), "default");
    }
}
