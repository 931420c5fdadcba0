//! The life of a group, step by step, disturbed or not, and what must hold all the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, DynamicObject};
use serde_json::json;
use tiproxy_operator::api::TiProxyGroup;

use super::proxy::{Fate, Write};
use super::snapshot::snapshot;
use super::supervised::Supervised;
use crate::harness::Test;
use crate::harness::group::{NAME, PATIENCE, edit, manifest, settled};
use crate::harness::history::{Entry, State, replay};
use crate::harness::wait::eventually;

/// How many TiProxies there are when none is added or removed.
const REPLICAS: usize = 2;
/// How many there may ever be: three after scaling out, or two and one more by surge.
const MOST: usize = 3;
const UPDATED: &str = "v1.3.1";

/// What happens to the group, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    ScaleOut,
    ScaleIn,
    Update,
    Delete,
}

pub(super) const STEPS: [Step; 5] = [
    Step::Create,
    Step::ScaleOut,
    Step::ScaleIn,
    Step::Update,
    Step::Delete,
];

/// What came of one life.
pub(super) struct Life {
    /// What there was after each step.
    pub(super) states: Vec<Vec<String>>,
    /// What was written in each step.
    pub(super) writes: Vec<Vec<Write>>,
    /// How long each step took.
    pub(super) times: Vec<Duration>,
    /// How often the operator was killed.
    pub(super) kills: usize,
}

/// Lives one life. `disturb` says what becomes of the writes of each step; with `expected`, the state after each step
/// must come to be that one.
///
/// Steps that are not wanted are left out: both of scaling, or deletion, or none.
pub(super) async fn live<P>(
    test: &Test,
    expected: Option<&Life>,
    wanted: impl Fn(Step) -> bool,
    disturb: impl Fn(Step) -> P,
) -> Life
where
    P: FnMut(&Write) -> Fate + Send + 'static,
{
    let history = test.record_history().await;
    let operator = Supervised::start(test, &[], |_| ()).await;
    let mut life = Life {
        states: Vec::new(),
        writes: Vec::new(),
        times: Vec::new(),
        kills: 0,
    };
    for (number, step) in STEPS.into_iter().enumerate() {
        if !wanted(step) {
            life.states.push(Vec::new());
            life.writes.push(Vec::new());
            life.times.push(Duration::ZERO);
            continue;
        }
        let start = Instant::now();
        operator.proxy.plan(disturb(step));
        act(test, step).await;
        arrive(test, step).await;
        let state = match expected {
            None => at_rest(test).await,
            Some(expected) => becomes(test, step, &expected.states[number]).await,
        };
        life.states.push(state);
        life.writes.push(operator.proxy.writes());
        life.times.push(start.elapsed());
    }
    check(&history.entries().await);
    life.kills = operator.kills();
    life
}

async fn act(test: &Test, step: Step) {
    match step {
        Step::Create => drop(test.apply(&manifest(2)).await),
        Step::ScaleOut => edit(test, json!({"replicas": 3})).await,
        Step::ScaleIn => edit(test, json!({"replicas": 2})).await,
        Step::Update => {
            let config = "[log]\nlevel = \"warn\"\n";
            edit(
                test,
                json!({"template": {"spec": {"version": UPDATED, "config": config}}}),
            )
            .await;
        }
        Step::Delete => {
            test.api::<TiProxyGroup>()
                .delete(NAME, &DeleteParams::background())
                .await
                .expect("the group can be deleted");
        }
    }
}

async fn arrive(test: &Test, step: Step) {
    match step {
        Step::Create | Step::ScaleIn | Step::Update => settled(test, REPLICAS).await,
        Step::ScaleOut => settled(test, REPLICAS + 1).await,
        Step::Delete => drop(becomes(test, step, &[]).await),
    }
}

/// The state when it has not changed for a while.
async fn at_rest(test: &Test) -> Vec<String> {
    let mut last = (Vec::new(), Instant::now());
    eventually(PATIENCE, "the state is at rest", async || {
        let now = snapshot(test).await;
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() < Duration::from_secs(3) {
            return Err("it changes".to_owned());
        }
        Ok(last.0.clone())
    })
    .await
}

/// Waits until the state is this one.
async fn becomes(test: &Test, step: Step, expected: &[String]) -> Vec<String> {
    let what = format!("{step:?} ends as without a disturbance");
    eventually(PATIENCE, &what, async || {
        let found = snapshot(test).await;
        if found == expected {
            return Ok(found);
        }
        let only = |these: &[String], those: &[String]| {
            let only: Vec<_> = these.iter().filter(|one| !those.contains(one)).cloned().collect();
            only.join("\n")
        };
        Err(format!(
            "only expected:\n{}\nonly found:\n{}",
            only(expected, &found),
            only(&found, expected)
        ))
    })
    .await
}

/// What must hold at every moment.
fn check(entries: &[Entry]) {
    let mut most = 0;
    replay(entries, |state, entry| {
        let mut pods = BTreeMap::<&str, usize>::new();
        for pod in of_kind(state, "Pod") {
            for owner in pod.metadata.owner_references.iter().flatten() {
                *pods.entry(&owner.uid).or_default() += 1;
            }
        }
        assert!(
            pods.values().all(|pods| *pods == 1),
            "two Pods for one TiProxy: {entry:?}"
        );
        let instances = of_kind(state, "TiProxy").count();
        most = most.max(instances);
        assert!(instances <= MOST, "{instances} TiProxies: {entry:?}");
        let group = of_kind(state, "TiProxyGroup").next();
        let updates = group.is_some_and(|group| {
            group.metadata.deletion_timestamp.is_none()
                && group.data["spec"]["template"]["spec"]["version"] == UPDATED
        });
        let serving = of_kind(state, "Pod").filter(|pod| serves(pod)).count();
        assert!(
            !updates || serving >= REPLICAS,
            "only {serving} Pods serve after {}",
            story(entries, entry)
        );
    });
    assert_eq!(most, MOST, "the history does not show what happened");
}

/// What happened up to and including an entry, a line each.
fn story(entries: &[Entry], last: &Entry) -> String {
    let told = entries
        .iter()
        .filter(|entry| entry.resource_version <= last.resource_version);
    told.flat_map(|entry| ["\n".to_owned(), entry.to_string()])
        .collect()
}

fn of_kind<'a>(state: &'a State, kind: &'a str) -> impl Iterator<Item = &'a DynamicObject> {
    state
        .iter()
        .filter(move |((found, _), _)| *found == kind)
        .map(|(_, object)| object)
}

fn serves(pod: &DynamicObject) -> bool {
    let conditions = pod.data["status"]["conditions"].as_array();
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
