//! Where a Service leads, as kube-proxy sees it on a client's node.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio_util::task::AbortOnDropHandle;

use crate::harness::Test;
use tiproxy_standin::testing::random::Random;

const SQL_PORT: u16 = 6000;

/// The addresses behind a Service, some time after they changed; it follows them until it is dropped.
///
/// The selector is that of the Service itself. `EndpointSlices` cannot hold the loopback addresses of these Pods, so
/// their controller's rules are here: Ready and not terminating, or else, when nobody is, terminating and still Ready.
#[derive(Clone)]
pub(super) struct View {
    now: Arc<Mutex<Seen>>,
    _task: Arc<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Seen {
    number: u64,
    addresses: Vec<SocketAddr>,
}

impl View {
    /// Follows a Service.
    pub(super) fn of(test: &Test, service: &str) -> Self {
        let now = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn(follow(
            test.api(),
            test.api(),
            service.to_owned(),
            Arc::clone(&now),
        ));
        Self {
            now,
            _task: Arc::new(AbortOnDropHandle::new(task)),
        }
    }

    /// One of the addresses.
    pub(super) fn pick(&self, random: &mut Random) -> Option<SocketAddr> {
        let now = self.now.lock().unwrap();
        let count = now.addresses.len();
        (count > 0).then(|| now.addresses[random.below(count)])
    }
}

async fn follow(pods: Api<Pod>, services: Api<Service>, service: String, seen: Arc<Mutex<Seen>>) {
    let mut random = Random::default();
    let only = watcher::Config::default().fields(&format!("metadata.name={service}"));
    let mut services = pin!(watcher(services, only).default_backoff());
    let mut events = pin!(watcher(pods, watcher::Config::default()).default_backoff());
    let mut selector = None;
    let mut pods = BTreeMap::new();
    let (mut number, mut last) = (0, Vec::new());
    loop {
        tokio::select! {
            event = services.next() => match event {
                Some(Ok(Event::Apply(service) | Event::InitApply(service))) => {
                    selector = service.spec.and_then(|spec| spec.selector);
                }
                Some(Ok(Event::Delete(_))) => selector = None,
                _ => {}
            },
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    pods.insert(pod.uid(), pod);
                }
                Some(Ok(Event::Delete(pod))) => {
                    pods.remove(&pod.uid());
                }
                Some(Ok(Event::Init)) => pods.clear(),
                _ => {}
            },
        }
        let addresses = selector
            .as_ref()
            .map(|selector| endpoints(selector, pods.values()))
            .unwrap_or_default();
        if addresses == last {
            continue;
        }
        last.clone_from(&addresses);
        number += 1;
        let (seen, delay) = (Arc::clone(&seen), random.millis(300..1000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut seen = seen.lock().unwrap();
            // A later change may have been quicker.
            if number > seen.number {
                *seen = Seen { number, addresses };
            }
        });
    }
}

fn endpoints<'a>(
    selector: &BTreeMap<String, String>,
    pods: impl Iterator<Item = &'a Pod>,
) -> Vec<SocketAddr> {
    let ready: Vec<_> = pods
        .filter(|pod| {
            selector
                .iter()
                .all(|(key, value)| pod.labels().get(key) == Some(value))
        })
        .filter(|pod| is_ready(pod))
        .collect();
    let (leaving, serving): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|pod| pod.metadata.deletion_timestamp.is_some());
    let chosen = if serving.is_empty() { leaving } else { serving };
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse::<IpAddr>().ok();
    let mut addresses: Vec<_> = chosen
        .into_iter()
        .filter_map(address)
        .map(|address| SocketAddr::new(address, SQL_PORT))
        .collect();
    addresses.sort_unstable();
    addresses
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True")
}
