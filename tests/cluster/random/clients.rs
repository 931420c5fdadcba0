//! Clients of the Pods of a group: some Pods have none, some have a few that leave soon, some have one that stays, and
//! some do not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio_util::task::AbortOnDropHandle;

use crate::harness::responder::{Mark, Responder, Says};
use tiproxy_standin::testing::random::Random;

/// How often it is looked for new Pods, and how often clients come and go.
const PAUSE: Duration = Duration::from_millis(300);

/// Answers for the Pods of a namespace until it is dropped.
pub(super) struct Clients(AbortOnDropHandle<()>);

/// What the clients of a Pod do.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Absent,
    Leaving,
    Staying,
    ComingAndGoing,
}

struct Answered {
    responder: Option<Responder>,
    habit: Habit,
    mark: Mark,
    now: u32,
    ever: u32,
}

impl Clients {
    pub(super) fn start(client: Client, namespace: &str, mut random: Random) -> Self {
        let pods = Api::<Pod>::namespaced(client, namespace);
        let task = tokio::spawn(async move {
            let mut answered: BTreeMap<String, Answered> = BTreeMap::new();
            loop {
                if let Ok(list) = pods.list(&ListParams::default()).await {
                    let there: Vec<_> = list.iter().filter_map(ResourceExt::uid).collect();
                    answered.retain(|uid, _| there.contains(uid));
                    for pod in &list {
                        follow(&mut answered, pod, &mut random).await;
                    }
                }
                for one in answered.values_mut() {
                    one.go_on();
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self(AbortOnDropHandle::new(task))
    }

    /// Whether somebody still answers.
    pub(super) fn are_there(&self) -> bool {
        !self.0.is_finished()
    }
}

async fn follow(answered: &mut BTreeMap<String, Answered>, pod: &Pod, random: &mut Random) {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let (Some(address), Some(uid)) = (address, pod.uid()) else {
        return;
    };
    if answered.contains_key(&uid) {
        return;
    }
    let habits = [
        Habit::Absent,
        Habit::Absent,
        Habit::Leaving,
        Habit::Leaving,
        Habit::Staying,
        Habit::ComingAndGoing,
    ];
    let (habit, mark) = (
        random.one_of(&habits),
        random.one_of(&[Mark::Kept, Mark::Unknown]),
    );
    let mut one = Answered {
        responder: None,
        habit,
        mark,
        now: 4,
        ever: 4,
    };
    if !random.once_in(4) {
        let address = address.parse().expect("an address");
        one.responder = Some(Responder::start(address, 3080, one.says()).await);
    }
    answered.insert(uid, one);
}

impl Answered {
    fn says(&self) -> Says {
        Says {
            mark: self.mark,
            ..Says::connected(self.now, self.ever)
        }
    }

    fn go_on(&mut self) {
        (self.now, self.ever) = match self.habit {
            Habit::Absent => (0, 4),
            Habit::Leaving => (self.now.saturating_sub(1), 4),
            Habit::Staying => (1, 4),
            Habit::ComingAndGoing => (self.now ^ 1, self.ever + 1),
        };
        let says = self.says();
        if let Some(responder) = &self.responder {
            responder.say(says);
        }
    }
}
