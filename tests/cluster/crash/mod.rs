//! The operator is killed, and the API server fails, at every write: the end is that of an undisturbed run.

mod fault;
mod life;
mod proxy;
mod snapshot;
mod supervised;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::harness;
use life::{Life, STEPS, Step, live};
use proxy::{Fate, Write};

/// How many lives go on at the same time.
const PARALLEL: usize = 6;
/// By how many writes a step of one life may exceed that of another.
const SPARE: usize = 4;
const ONE_LIFE: Duration = Duration::from_secs(280);

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn killed_before_every_write() {
    killed_at_every_write("before", &Fate::KillBefore);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn killed_between_every_write_and_its_answer() {
    killed_at_every_write("between", &Fate::KillBetween);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn killed_after_every_write() {
    killed_at_every_write("after", &Fate::KillAfter);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn every_write_is_refused_once() {
    // Every fifth of the writes, beginning with each of five.
    const STRIDE: usize = 5;
    let codes = [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::CONFLICT,
    ];
    let undisturbed = undisturbed();
    in_parallel("refused", |number| {
        let code = codes.get(number / STRIDE)?;
        let mut refused = 0;
        harness::run_within(ONE_LIFE, async |test| {
            let life = live(
                test,
                Some(undisturbed),
                |_| true,
                |_| {
                    let code = *code;
                    move |write: &Write| {
                        if write.number % STRIDE == number % STRIDE {
                            Fate::Refuse(code)
                        } else {
                            Fate::Pass
                        }
                    }
                },
            )
            .await;
            refused = life.writes.iter().map(Vec::len).sum::<usize>() / STRIDE;
        });
        Some(format!("{code} {refused} times"))
    });
}

/// In the n-th life the operator is killed at the n-th write of each step; until no step has so many.
fn killed_at_every_write(when: &str, fate: &Fate) {
    let undisturbed = undisturbed();
    in_parallel(when, |number| {
        let mut steps = 0;
        let mut times = Vec::new();
        let write = number + 1;
        harness::run_within(ONE_LIFE, async |test| {
            let life = live(
                test,
                Some(undisturbed),
                |step| wanted(step, write),
                |_| {
                    let fate = fate.clone();
                    move |found: &Write| {
                        if found.number == write {
                            fate.clone()
                        } else {
                            Fate::Pass
                        }
                    }
                },
            )
            .await;
            steps = life.writes.iter().filter(|writes| writes.len() >= write).count();
            times = life.times;
        });
        (steps > 0).then(|| format!("write {write} of {steps} steps, {times:.1?}"))
    });
}

/// Whether a step may have so many writes: how often a status is written depends on what happens first.
fn wanted(step: Step, write: usize) -> bool {
    let may_have = |step: Step| {
        let place = STEPS.iter().position(|one| *one == step);
        let writes = &undisturbed().writes[place.expect("all steps are among them")];
        write <= writes.len() + SPARE
    };
    match step {
        Step::Create | Step::Update => true,
        Step::ScaleOut | Step::ScaleIn => may_have(Step::ScaleOut) || may_have(Step::ScaleIn),
        Step::Delete => may_have(step),
    }
}

/// One life of which nobody disturbs anything.
fn undisturbed() -> &'static Life {
    static LIFE: OnceLock<Life> = OnceLock::new();
    LIFE.get_or_init(|| {
        let mut result = None;
        harness::run_within(ONE_LIFE, async |test| {
            result = Some(live(test, None, |_| true, |_| |_: &Write| Fate::Pass).await);
        });
        let life = result.expect("it was lived");
        for (number, step) in STEPS.into_iter().enumerate() {
            println!(
                "undisturbed: {step:?}: {} writes, {} objects, {:.1?}",
                life.writes[number].len(),
                life.states[number].len(),
                life.times[number]
            );
        }
        life
    })
}

/// Calls `act` with 0, 1, 2 and so on, several at the same time, until it says that there is no more.
fn in_parallel(what: &str, act: impl Fn(usize) -> Option<String> + Sync) {
    let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let done = Mutex::new(Vec::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let began = Instant::now();
                    let Some(text) = act(number) else {
                        end.fetch_min(number, Ordering::Relaxed);
                        return;
                    };
                    println!("{what}: {text}, {:.1?}", began.elapsed());
                    done.lock().expect("nobody panicked with the lock").push(number);
                }
            });
        }
    });
    let done = done.into_inner().expect("nobody panicked with the lock").len();
    println!("{what}: {done} lives, {:.1?}", start.elapsed());
    assert!(done > 0, "nothing was disturbed");
}
