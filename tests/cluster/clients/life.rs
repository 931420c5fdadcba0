//! The life of a Pod on the test's own node: as the kubelet leads it, with a process for its container.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::container::{self, container, seconds};
use super::program::Program;

/// How soon a change of a ConfigMap reaches the files when nothing about the Pod changes.
const SYNC: Duration = Duration::from_mins(1);
/// How soon it is tried again when something is missing.
const RETRY: Duration = Duration::from_millis(500);
/// Between an end and the next start; it doubles each time.
const BACK_OFF: Duration = Duration::from_secs(1);
/// What is left for the container at least when its hook took all the time.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// A Pod, and what is known of it.
pub(super) struct Life {
    pub(super) pods: Api<Pod>,
    pub(super) config_maps: Api<ConfigMap>,
    pub(super) program: Program,
    /// The Pod as it is now.
    pub(super) pod: watch::Receiver<Pod>,
    pub(super) address: Ipv4Addr,
    /// Names in its files, and what they lead to.
    pub(super) names: Vec<(String, String)>,
    /// Where its files are.
    pub(super) root: PathBuf,
    /// What its log files begin with.
    pub(super) log: PathBuf,
    pub(super) told: Told,
}

/// What the API server was told last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    started: Timestamp,
    ready: bool,
    ready_since: Timestamp,
    restarts: u32,
    state: Value,
    last_state: Value,
}

impl Told {
    pub(super) fn nothing() -> Self {
        let now = Timestamp::now();
        Self {
            started: now,
            ready: false,
            ready_since: now,
            restarts: 0,
            state: json!({"waiting": {"reason": "ContainerCreating"}}),
            last_state: json!({}),
        }
    }
}

impl Life {
    /// From its first process until it is gone.
    pub(super) async fn lead(mut self) {
        let mut pause = BACK_OFF;
        while !self.is_deleted() {
            if !self.write_files().await {
                self.rest(RETRY).await;
                continue;
            }
            let log = self.log.with_extension(format!("{}.log", self.told.restarts));
            let pod = self.pod.borrow().clone();
            let process = container::start(&self.program, &pod, &self.root, &log);
            let mut process = process.unwrap_or_else(|error| panic!("{}: {error}", pod.name_any()));
            self.tell(json!({"running": {"startedAt": second(Timestamp::now())}}), false)
                .await;
            if !self.run(&mut process).await {
                self.end(process).await;
                break;
            }
            self.told.last_state = terminated(&mut process).await;
            self.told.restarts += 1;
            self.tell(
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "its process has ended"}}),
                false,
            )
            .await;
            self.rest(pause).await;
            pause *= 2;
        }
        self.remove().await;
    }

    fn is_deleted(&self) -> bool {
        self.pod.borrow().metadata.deletion_timestamp.is_some()
    }

    async fn write_files(&self) -> bool {
        let pod = self.pod.borrow().clone();
        container::write_files(&pod, &self.config_maps, &self.root, self.address, &self.names).await
    }

    /// Waits, or until the Pod is deleted.
    async fn rest(&mut self, pause: Duration) {
        let deleted = self.pod.wait_for(|pod| pod.metadata.deletion_timestamp.is_some());
        // The Pod may be gone for good: then this life ends from outside.
        let _ = tokio::time::timeout(pause, deleted).await;
    }

    /// Looks after a process until it ends by itself (true) or the Pod is deleted (false).
    async fn run(&mut self, process: &mut Child) -> bool {
        let probe = container(&self.pod.borrow()).readiness_probe.clone();
        let period = probe
            .as_ref()
            .map_or(SYNC, |probe| seconds(probe.period_seconds, 10));
        let delay = probe
            .as_ref()
            .map_or(SYNC, |probe| seconds(probe.initial_delay_seconds, 0));
        let mut probes = tokio::time::interval_at(Instant::now() + delay, period);
        probes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sync = tokio::time::interval(SYNC);
        // How often the probe gave another result than what counts now.
        let mut other = 0;
        let mut annotations = self.pod.borrow().annotations().clone();
        if probe.is_none() {
            self.tell_ready(true).await;
        }
        loop {
            tokio::select! {
                _ = process.wait() => return true,
                changed = self.pod.changed() => {
                    if changed.is_err() || self.is_deleted() {
                        return false;
                    }
                    let now = self.pod.borrow().annotations().clone();
                    // The kubelet syncs a Pod that changes at once, and its volumes with it.
                    if now != annotations {
                        self.write_files().await;
                        annotations = now;
                    }
                }
                _ = sync.tick() => {
                    self.write_files().await;
                }
                _ = probes.tick() => {
                    let Some(probe) = &probe else { continue };
                    let pod = self.pod.borrow().clone();
                    let passes = container::passes(probe, &pod, self.address).await;
                    other = if passes == self.told.ready { 0 } else { other + 1 };
                    let threshold = if passes {
                        probe.success_threshold.unwrap_or(1)
                    } else {
                        probe.failure_threshold.unwrap_or(3)
                    };
                    if other >= threshold {
                        other = 0;
                        self.tell_ready(passes).await;
                    }
                }
            }
        }
    }

    /// The hook, the signal, and the kill when the Pod's time is over.
    async fn end(&mut self, mut process: Child) {
        let begin = Instant::now();
        let hook = |pod: &Pod| {
            let sleep = container(pod).lifecycle.as_ref();
            let sleep = sleep.and_then(|lifecycle| lifecycle.pre_stop.as_ref()?.sleep.as_ref());
            let sleep = sleep.map_or(0, |sleep| sleep.seconds);
            grace(pod).min(Duration::from_secs(sleep.try_into().unwrap_or(0)))
        };
        if !self.ends_within(&mut process, begin, hook).await {
            if let Some(id) = process.id() {
                let signal = Command::new("sh")
                    .args(["-c", "kill -TERM \"$0\"", &id.to_string()])
                    .status();
                signal.await.expect("a shell can be started");
            }
            let least = begin.elapsed() + LEAST_GRACE;
            if !self
                .ends_within(&mut process, begin, |pod| grace(pod).max(least))
                .await
            {
                process.kill().await.expect("a child can be killed");
            }
        }
        let state = terminated(&mut process).await;
        self.tell(state, false).await;
    }

    /// Whether the process ends before a time after the begin, which the Pod says and may change.
    async fn ends_within(
        &mut self,
        process: &mut Child,
        begin: Instant,
        time: impl Fn(&Pod) -> Duration,
    ) -> bool {
        loop {
            let until = begin + time(&self.pod.borrow());
            tokio::select! {
                _ = process.wait() => return true,
                () = tokio::time::sleep_until(until) => return false,
                changed = self.pod.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// Takes the Pod out of the API server.
    async fn remove(&self) {
        let pod = self.pod.borrow().clone();
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        // Somebody else may have done so.
        let _ = self.pods.delete(&pod.name_any(), &parameters).await;
    }

    async fn tell_ready(&mut self, ready: bool) {
        let state = self.told.state.clone();
        self.tell(state, ready).await;
    }

    /// Writes the Pod's status.
    async fn tell(&mut self, state: Value, ready: bool) {
        if ready != self.told.ready {
            self.told.ready_since = Timestamp::now();
        }
        self.told.ready = ready;
        self.told.state = state;
        let pod = self.pod.borrow().clone();
        let patch = Patch::Strategic(status(&pod, self.address, &self.told));
        for _ in 0..10 {
            let written = self
                .pods
                .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                .await;
            match written {
                Ok(_) => return,
                // It is gone, or another one has its name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => println!("the status of {} cannot be written: {error}", pod.name_any()),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// The state of a container whose process has ended.
async fn terminated(process: &mut Child) -> Value {
    let status = process.wait().await.ok();
    // Killed by a signal, as a shell says it.
    let code = status.and_then(|status| status.code()).unwrap_or(137);
    json!({"terminated": {
        "exitCode": code,
        "reason": if code == 0 { "Completed" } else { "Error" },
        "finishedAt": second(Timestamp::now()),
    }})
}

fn grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
    Duration::from_secs(seconds.try_into().unwrap_or(0))
}

fn status(pod: &Pod, address: Ipv4Addr, told: &Told) -> Value {
    let container = container(pod);
    let condition = |kind: &str, holds: bool, since: Timestamp| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": second(since)})
    };
    let is_over = told.state.get("terminated").is_some();
    let is_running = told.state.get("running").is_some();
    let phase = match (is_over, is_running || told.restarts > 0) {
        (true, _) => "Succeeded",
        (false, true) => "Running",
        (false, false) => "Pending",
    };
    json!({
        "metadata": {"uid": pod.uid()},
        "status": {
            "phase": phase,
            "startTime": second(told.started),
            "hostIP": "127.0.0.1",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                condition("Initialized", true, told.started),
                condition("ContainersReady", told.ready, told.ready_since),
                condition("Ready", told.ready, told.ready_since),
            ],
            "containerStatuses": [{
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": told.ready,
                "started": is_running,
                "restartCount": told.restarts,
                "state": told.state,
                "lastState": told.last_state,
            }],
        },
    })
}

/// The API server knows no fractions of a second here.
fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| time.to_string(), |time| time.to_string())
}
