//! The watches of kinds that the operator can do without: one whose `CustomResourceDefinition` may be missing in the
//! cluster, and one that it may have no right to read.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ClusterResourceScope, DeserializeGuard, ObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::fault::{Complaints, Fault};
use super::feed::Decoded;
use super::watch::{Driver, Pace, Watch, convert};

/// How long to wait before a kind is tried again that is missing where definitions may not be read, or forbidden.
const LEAST_RETRY: Duration = Duration::from_mins(2);
const MOST_RETRY: Duration = Duration::from_mins(5);

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// As [`Watch::spawn_guarded`], for a kind that may not exist in the cluster. `definition` is the name of its
    /// `CustomResourceDefinition`, `<plural>.<group>`, which is watched with `client`.
    ///
    /// The kind's own watch runs only while the definition is established. Without it the cache is warm and empty;
    /// when it vanishes, the cached objects are dropped and touched. Where definitions may not be read, the kind is
    /// tried every 2 to 5 minutes until it is there. A kind that exists but may not be read leaves the cache cold:
    /// "there are none" would be a guess.
    pub fn spawn_optional(
        self,
        api: Api<DeserializeGuard<K>>,
        client: Client,
        definition: &str,
        touch: impl Fn(&K) + Send + Sync + 'static,
    ) -> JoinHandle<()> {
        let definition = definition.to_owned();
        tokio::spawn(async move {
            let mut driver = Driver::new(&self, Arc::new(touch));
            let for_ever = async {
                loop {
                    let (sender, receiver) = channel(Served::Unknown);
                    tokio::select! {
                        () = self.follow_definition(&client, &definition, &sender) => {}
                        () = self.run_while_served(&api, &mut driver, receiver) => {}
                    }
                    self.run_without_definition(&api, &mut driver).await;
                }
            };
            self.shutdown.run_until_cancelled(for_ever).await;
        })
    }

    /// Starts the watch of a kind of Kubernetes itself that the operator can do without. Where it may not be read, the
    /// cache is warm with what it holds, and the right is looked for again every 2 to 5 minutes.
    pub fn spawn_if_allowed(self, api: Api<K>, touch: impl Fn(&K) + Send + Sync + 'static) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut driver = Driver::new(&self, Arc::new(touch));
            let for_ever = async {
                loop {
                    let mut events = watcher(api.clone(), self.config.clone())
                        .map(|event| event.map(|event| convert(event, Decoded::Object)))
                        .boxed();
                    loop {
                        let fault = driver.run(&mut events).await;
                        if fault == Fault::Forbidden {
                            driver.go_on_without();
                            break;
                        }
                        tokio::time::sleep(driver.delay_after(fault)).await;
                    }
                    tokio::time::sleep(self.jitter.between(LEAST_RETRY, MOST_RETRY)).await;
                }
            };
            self.shutdown.run_until_cancelled(for_ever).await;
        })
    }

    /// Says whether the kind is served, until definitions may not be read.
    async fn follow_definition(&self, client: &Client, name: &str, served: &Sender<Served>) {
        let config = watcher::Config {
            timeout: self.config.timeout,
            ..watcher::Config::default()
        };
        let api: Api<Definition> = Api::all(client.clone());
        let mut events = watcher(api, config.fields(&format!("metadata.name={name}"))).boxed();
        let metrics = self.metrics.watch(&Definition::kind(&()));
        let (mut complaints, mut pace) = (Complaints::default(), Pace::new(self.jitter.clone()));
        let mut list = Served::Absent;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => list = Served::Absent,
                Ok(Event::InitApply(definition)) => list = definition.served(),
                Ok(event) => {
                    complaints.works(&Definition::kind(&()));
                    pace.works();
                    let news = match event {
                        Event::Apply(definition) => definition.served(),
                        Event::InitDone => list.clone(),
                        Event::Delete(_) | Event::Init | Event::InitApply(_) => Served::Absent,
                    };
                    served.send_if_modified(|served| served.take_news(news));
                }
                Err(error) => {
                    let fault = Fault::of(&error);
                    metrics.error(fault.as_str());
                    complaints.failed(&Definition::kind(&()), fault, &error);
                    if fault == Fault::Forbidden {
                        return;
                    }
                    tokio::time::sleep(pace.delay_after(fault)).await;
                }
            }
        }
    }

    async fn run_while_served(
        &self,
        api: &Api<DeserializeGuard<K>>,
        driver: &mut Driver<K>,
        mut served: Receiver<Served>,
    ) {
        loop {
            let now = served.borrow_and_update().clone();
            let changed = served.changed();
            let is_over = match now {
                Served::Unknown => changed.await.is_err(),
                Served::Absent => {
                    driver.kind_is_absent();
                    changed.await.is_err()
                }
                Served::By { .. } => {
                    // A new watcher lists: objects of a definition that was replaced meanwhile are noticed.
                    let mut events = self.guarded_events(api.clone());
                    tokio::select! {
                        changed = changed => changed.is_err(),
                        () = driver.run_for_ever(&mut events) => false,
                    }
                }
            };
            if is_over {
                return;
            }
        }
    }

    /// Runs the kind's watch, if the kind can be watched; else returns after a long wait.
    async fn run_without_definition(&self, api: &Api<DeserializeGuard<K>>, driver: &mut Driver<K>) {
        let mut events = self.guarded_events(api.clone());
        loop {
            let fault = driver.run(&mut events).await;
            if fault == Fault::NotServed {
                driver.kind_is_absent();
            }
            if matches!(fault, Fault::NotServed | Fault::Forbidden) {
                tokio::time::sleep(self.jitter.between(LEAST_RETRY, MOST_RETRY)).await;
                return;
            }
            tokio::time::sleep(driver.delay_after(fault)).await;
        }
    }
}

/// Whether the cluster serves a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Served {
    Unknown,
    Absent,
    By { definition_uid: Option<String> },
}

impl Served {
    /// Takes the news and says whether something changed.
    fn take_news(&mut self, news: Self) -> bool {
        let changed = *self != news;
        *self = news;
        changed
    }
}

/// Of a `CustomResourceDefinition` only what tells whether it is in force: the schemas can be very large.
#[derive(Debug, Clone, Deserialize)]
struct Definition {
    metadata: ObjectMeta,
    status: Option<DefinitionStatus>,
}

#[derive(Debug, Clone, Deserialize)]
struct DefinitionStatus {
    /// `null` until the API server has looked at a new definition.
    conditions: Option<Vec<DefinitionCondition>>,
}

#[derive(Debug, Clone, Deserialize)]
struct DefinitionCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Definition {
    fn served(&self) -> Served {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        if conditions.any(|condition| condition.type_ == "Established" && condition.status == "True") {
            Served::By {
                definition_uid: self.metadata.uid.clone(),
            }
        } else {
            Served::Absent
        }
    }
}

impl Resource for Definition {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'static, str> {
        CustomResourceDefinition::kind(&())
    }

    fn group((): &()) -> Cow<'static, str> {
        CustomResourceDefinition::group(&())
    }

    fn version((): &()) -> Cow<'static, str> {
        CustomResourceDefinition::version(&())
    }

    fn plural((): &()) -> Cow<'static, str> {
        CustomResourceDefinition::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
