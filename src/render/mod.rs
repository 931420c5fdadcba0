//! What the operator would write and say, without a cluster: manifests in, `config.toml` and diagnoses out.
//!
//! The way from a group to the text is the operator's own (discovery, validation, instance, `ConfigMap`); only the
//! objects come from files instead of caches. What needs an API server stays its business: the rules of
//! [`crate::api::rule`] and patterns are not judged here.

mod check;
mod manifest;

use std::fmt;

use kube::{Resource, ResourceExt};

use self::manifest::{Manifests, Object};
use crate::api::{Cluster, Discovery, TiProxy, TiProxyGroup};
use crate::group;
use crate::group::discovery::NotFound;
use crate::instance::build::config_map::{CONFIG_FILE, config_map, rendered};
use crate::instance::build::tls::tls;
use crate::instance::location::{Labels, Location};
use crate::instance::validate::{self as instance_validate, Instance};
use crate::proxy_config::Diagnosis;

/// The address that stands for PD's where nothing tells it. Names below `.invalid` never exist.
pub const PD_PLACEHOLDER: &str = "pd-placeholder.invalid:2379";

/// A text with manifests, and the name that messages give it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name.
    pub name: String,
    /// Its content, YAML or JSON.
    pub text: String,
}

/// What the manifests do not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of PD that stand for all others.
    pub pd_addrs: Vec<String>,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Which TiProxy of a group.
    pub ordinal: u32,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// One for each group and TiProxy without an error, in the order of the input.
    pub configs: Vec<Config>,
    /// What there is to tell.
    pub messages: Vec<Message>,
}

/// The configuration of one TiProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The object that it was made from, such as `TiProxyGroup web`.
    pub object: String,
    /// The Pod that gets it.
    pub pod: String,
    /// The text of `config.toml`, byte for byte.
    pub toml: String,
}

/// One line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub level: Level,
    /// The file or object that it is about.
    pub about: String,
    /// What to know and to do.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The operator would carry nothing out.
    Error,
    /// It would, and something has another effect than it seems.
    Warning,
    /// About the input of this command alone.
    Note,
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        write!(formatter, "{level}: {}: {}", self.about, self.text)
    }
}

impl Output {
    /// Whether the operator would refuse something.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.messages.iter().any(|message| message.level == Level::Error)
    }

    /// The configurations as one text: a single one as it is, several under a comment each.
    #[must_use]
    pub fn text(&self) -> String {
        if let [config] = self.configs.as_slice() {
            return config.toml.clone();
        }
        let texts = self.configs.iter().map(|config| {
            let Config { object, pod, toml } = config;
            format!("# {object}: {CONFIG_FILE} of Pod {pod}\n{toml}")
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    fn tell(&mut self, level: Level, about: &str, text: impl Into<String>) {
        self.messages.push(Message {
            level,
            about: about.to_owned(),
            text: text.into(),
        });
    }
}

/// Renders the configuration of each group and TiProxy.
#[must_use]
pub fn render(sources: &[Source], options: &Options) -> Output {
    let mut output = Output::default();
    let manifests = Manifests::read(sources, &options.namespace, &mut output);
    for object in &manifests.objects {
        match object {
            Object::Group(group) => render_group(group, &manifests, options, &mut output),
            Object::Instance(instance) => render_instance(instance, options, &mut output),
        }
    }
    if manifests.objects.is_empty() && !output.has_errors() {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let text = "there is no TiProxyGroup and no TiProxy to render";
        output.tell(Level::Error, &names.join(", "), text);
    }
    output
}

fn render_group(object: &TiProxyGroup, manifests: &Manifests, options: &Options, output: &mut Output) {
    let about = named(object);
    let valid = match group::validate::validate(object) {
        Ok(valid) => valid,
        Err(group::validate::Invalid::Config(diagnoses)) => return tell_errors(&diagnoses, &about, output),
        Err(invalid @ (group::validate::Invalid::Limits(_) | group::validate::Invalid::Volume(_))) => {
            return output.tell(Level::Error, &about, invalid.to_string());
        }
    };
    let cluster = manifests.cluster_of(object);
    let (discovery, not_found) = discovery(object, cluster, manifests, &options.pd_addrs);
    if let Some(not_found) = not_found {
        output.tell(Level::Note, &about, unknown_pd(&not_found));
    }
    let instance = group::build::instance::instance(&valid, &discovery, options.ordinal, None);
    match instance_validate::validate(&instance) {
        Ok(instance) => {
            for warning in group::warnings::warnings(&valid, &discovery) {
                output.tell(Level::Warning, &about, in_config(&warning));
            }
            output.push(&instance, &about);
        }
        Err(invalid) => output.tell(Level::Error, &about, invalid.to_string()),
    }
    for field in group::unsupported::fields(object) {
        output.tell(Level::Warning, &about, format!("without effect: {field}"));
    }
}

fn render_instance(object: &TiProxy, options: &Options, output: &mut Output) {
    let about = named(object);
    let mut object = object.clone();
    if !options.pd_addrs.is_empty() {
        let discovery = object.spec.discovery.get_or_insert_default();
        discovery.pd_addrs.clone_from(&options.pd_addrs);
    }
    match instance_validate::validate(&object) {
        Ok(instance) => {
            for warning in rendered(&instance, &tls(&instance), &Labels::new()).warnings {
                output.tell(Level::Warning, &about, in_config(&warning.to_string()));
            }
            output.push(&instance, &about);
        }
        Err(instance_validate::Invalid::Config(diagnoses)) => tell_errors(&diagnoses, &about, output),
        Err(invalid) => output.tell(Level::Error, &about, invalid.to_string()),
    }
}

impl Output {
    fn push(&mut self, instance: &Instance, object: &str) {
        let data = config_map(instance, &tls(instance), &Location::of(instance, None, None))
            .data
            .unwrap_or_default();
        self.configs.push(Config {
            object: object.to_owned(),
            pod: instance.pod_name.clone(),
            toml: data.get(CONFIG_FILE).cloned().unwrap_or_default(),
        });
    }
}

/// Where PD is, as the operator finds it; with addresses from outside, or a placeholder, in the place of what the
/// Cluster would say, so that its TLS and its domain count all the same.
fn discovery(
    group: &TiProxyGroup,
    cluster: Option<&Cluster>,
    manifests: &Manifests,
    pd_addrs: &[String],
) -> (Discovery, Option<NotFound>) {
    let with = |addresses: &[String]| {
        let mut group = group.clone();
        if group.spec.cluster.pd_addrs.is_some() {
            group.spec.cluster.pd_addrs = Some(addresses.to_vec());
        }
        let mut cluster = cluster.cloned().unwrap_or_default();
        cluster.status.get_or_insert_default().pd = Some(addresses.join(","));
        group::discovery::discover(&group, Some(&cluster), &[]).unwrap_or_default()
    };
    if !pd_addrs.is_empty() {
        return (with(pd_addrs), None);
    }
    match group::discovery::discover(group, cluster, &manifests.services_of(group)) {
        Ok(discovery) => (discovery, None),
        Err(not_found) => (with(&[PD_PLACEHOLDER.to_owned()]), Some(not_found)),
    }
}

fn unknown_pd(not_found: &NotFound) -> String {
    let (what, cluster) = match not_found {
        NotFound::Cluster(name) => (
            format!(
                "there is no Cluster {name} in the input, so TLS within the cluster is taken for off and"
            ),
            name,
        ),
        NotFound::Pd(name) => (
            format!("neither the Cluster {name} nor a Service in the input says where PD is, so"),
            name,
        ),
    };
    format!(
        "{what} proxy.pd-addrs is the placeholder {PD_PLACEHOLDER}; add the Cluster {cluster} to the input, as \
         `kubectl get cluster {cluster} -o yaml` prints it, or give --pd-addrs"
    )
}

fn tell_errors(diagnoses: &[Diagnosis], about: &str, output: &mut Output) {
    for diagnosis in diagnoses {
        output.tell(Level::Error, about, in_config(&diagnosis.to_string()));
    }
}

fn in_config(text: &str) -> String {
    format!("spec.template.spec.config: {text}")
}

fn named<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
}

#[cfg(test)]
mod tests;
