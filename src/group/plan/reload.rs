//! What needs no new Pod is changed in place; another configuration goes to one instance first.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::leave::Departures;
use super::roster::{Member, Roster, Standing};
use super::{Change, Config, Instance, Wait};
use crate::runtime::time::elapsed;

/// How long the first instance that gets another configuration is watched, at most. The kubelet brings the file at once
/// and TiProxy looks at it every two seconds.
const TRIAL: Duration = Duration::from_secs(10);

/// Who gets the template now, and whether the others wait for one of those that have it.
#[derive(Debug, Default)]
pub(super) struct Reload<'a> {
    pub(super) update: Vec<&'a Instance>,
    pub(super) wait: Option<Wait>,
}

/// How far an instance that has the template's configuration is.
enum Trial {
    Proven,
    /// What is left of [`TRIAL`] when it serves.
    Goes(Option<Duration>),
}

/// Changes members that stay and differ in what needs no new Pod.
pub(super) fn reload<'a>(roster: &Roster<'a>, departures: &Departures<'_>, now: Timestamp) -> Reload<'a> {
    if !roster.may_change() {
        return Reload::default();
    }
    let stay = |member: &&Member<'a>| !departures.contains(member.instance);
    let of = |change: Change| -> Vec<&Member<'a>> {
        let members = roster.members.iter().filter(stay);
        members
            .filter(|member| member.instance.change == change)
            .collect()
    };
    let mut reload = Reload {
        update: of(Change::InPlace).iter().map(|member| member.instance).collect(),
        wait: None,
    };
    // Who takes no clients has none to lose.
    let (careful, at_once): (Vec<&Member<'a>>, Vec<&Member<'a>>) = of(Change::Reload)
        .into_iter()
        .partition(|member| member.serves() || member.standing == Standing::Unobserved);
    let instances =
        |members: &[&Member<'a>]| members.iter().map(|member| member.instance).collect::<Vec<_>>();
    reload.update.extend(instances(&at_once));
    let trials = [of(Change::None), of(Change::InPlace)].concat();
    let trials = trials
        .iter()
        .filter(|member| member.standing != Standing::NotRunning);
    let mut goes: Vec<(Option<Duration>, &Instance)> = Vec::new();
    for member in trials {
        match trial(member, now) {
            Trial::Proven => {
                reload.update.extend(instances(&careful));
                return reload;
            }
            Trial::Goes(remaining) => goes.push((remaining, member.instance)),
        }
    }
    let Some(first) = careful.iter().find(|member| member.serves()) else {
        return reload;
    };
    // The one that can be proven by time alone, and soonest.
    let next = goes
        .into_iter()
        .min_by_key(|(remaining, _)| (remaining.is_none(), *remaining));
    match next {
        Some((remaining, instance)) => {
            reload.wait = Some(Wait::Trial {
                name: instance.name.clone(),
                remaining,
            });
        }
        None => reload.update.push(first.instance),
    }
    reload
}

fn trial(member: &Member<'_>, now: Timestamp) -> Trial {
    if !member.serves() {
        return Trial::Goes(None);
    }
    match member.instance.config {
        Config::InEffect => Trial::Proven,
        Config::Open { since } => match TRIAL.saturating_sub(elapsed(since, now)) {
            Duration::ZERO => Trial::Proven,
            left => Trial::Goes(Some(left)),
        },
    }
}
