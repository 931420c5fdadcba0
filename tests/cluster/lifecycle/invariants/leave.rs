//! How Pods leave: out of the Services first, then deleted, and no clients lose the time that they are given.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;
use tiproxy_operator::api::name::{ANNOTATION_DRAIN_BEGIN, LABEL_SERVING};

use super::view::{has_ended, is_leaving, is_marked, owner, time_of};
use super::{IN_FLIGHT, describe, uid};
use crate::harness::history::{Change, Entry};

const DEFAULT_TIMEOUT: i64 = 60;
const DEFAULT_QUIET: i64 = 15;

/// The least of the times that a TiProxy ever gave to clients, in seconds: whoever decides may know any of them.
#[derive(Clone, Copy, Debug)]
struct Times {
    timeout: i64,
    quiet: i64,
}

/// Every Pod that was taken from its clients too early, and every mark that came or went without its label.
pub(super) fn violations(entries: &[Entry], outside: &std::collections::BTreeSet<String>) -> Vec<String> {
    let mut clock = 0;
    let mut times: BTreeMap<String, Times> = BTreeMap::new();
    let mut pods: BTreeMap<String, &DynamicObject> = BTreeMap::new();
    let mut running_since: BTreeMap<String, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        let object = &entry.object;
        clock = clock.max(time_of(object));
        if entry.kind == "TiProxy" {
            note_times(&mut times, entry);
        }
        if entry.kind != "Pod" {
            continue;
        }
        let since = running_since.get(&uid(object)).copied();
        if since.is_none() && is_running(object) {
            running_since.insert(uid(object), clock);
        }
        let Some(previous) = pods.insert(uid(object), object) else {
            continue;
        };
        let mut report = |why: &str| found.push(format!("(leave) {}: {why}", describe(entry)));
        if is_marked(previous) != is_marked(object) && is_marked(object) == serves(object) {
            report("the begin of its leave and the label of those who serve do not change together");
        }
        let goes = !is_leaving(previous) && (is_leaving(object) || entry.change == Change::Deleted);
        let times = owner(object).and_then(|owner| times.get(&owner.uid));
        let (true, Some(times), Some(since)) = (goes, times, since) else {
            continue;
        };
        let has_clients = is_running(previous) && !has_ended(previous) && clock - since > IN_FLIGHT;
        if outside.contains(&uid(object)) || times.timeout == 0 || !has_clients {
            continue;
        }
        let Some(begin) = begin(previous) else {
            report("its clients were given no time");
            continue;
        };
        let earliest = begin + times.timeout.min(times.quiet);
        let deleted = object.metadata.deletion_timestamp.as_ref();
        let grace = object.metadata.deletion_grace_period_seconds.unwrap_or_default();
        let deleted = deleted.map_or(clock, |deleted| deleted.0.as_second() - grace);
        if serves(previous) || deleted < earliest {
            report(&format!(
                "it serves: {}, and was deleted {} s after the begin of its leave",
                serves(previous),
                deleted - begin
            ));
        }
    }
    found
}

fn note_times(times: &mut BTreeMap<String, Times>, entry: &Entry) {
    if entry.change == Change::Deleted {
        // From now on the garbage collector may take its Pod.
        times.remove(&uid(&entry.object));
        return;
    }
    let drain = &entry.object.data["spec"]["drain"];
    let seconds = |field: &str, default: i64| drain[field].as_i64().unwrap_or(default);
    let now = Times {
        timeout: seconds("timeoutSeconds", DEFAULT_TIMEOUT),
        quiet: seconds("quietSeconds", DEFAULT_QUIET),
    };
    let least = times.entry(uid(&entry.object)).or_insert(now);
    least.timeout = least.timeout.min(now.timeout);
    least.quiet = least.quiet.min(now.quiet);
}

fn begin(pod: &DynamicObject) -> Option<i64> {
    let begin: Timestamp = pod.annotations().get(ANNOTATION_DRAIN_BEGIN)?.parse().ok()?;
    Some(begin.as_second())
}

fn serves(pod: &DynamicObject) -> bool {
    pod.labels().contains_key(LABEL_SERVING)
}

fn is_running(pod: &DynamicObject) -> bool {
    let statuses = pod.data["status"]["containerStatuses"].as_array();
    statuses
        .into_iter()
        .flatten()
        .any(|status| status["name"] == "tiproxy" && status["state"]["running"] != Value::Null)
}
