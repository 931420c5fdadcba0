//! Validation rules (CEL) that a schema cannot say, as data.
//!
//! Each is attached to the generated schema by [`super::crd`] and tested against a real API server by its
//! [`Rule::name`]. Messages name the field, the value and what is allowed; where TiDB Operator v2 has the same rule,
//! its message is kept.

/// Where in the schema a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The whole `TiProxyGroup`.
    Group,
    /// The whole `TiProxy`.
    Instance,
    /// `spec` of both kinds.
    Spec,
    /// `spec.template.spec` of a group, `spec` of a `TiProxy`.
    Template,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A name for tests and documentation.
    pub name: &'static str,
    /// What `path` starts from.
    pub base: Base,
    /// The place of the rule: field names with dots, `[]` for the items of a list.
    pub path: &'static str,
    /// The CEL expression that must hold.
    pub rule: &'static str,
    /// What the user is told.
    pub message: Message,
}

/// What the user is told when a rule does not hold.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// A fixed text.
    Text(&'static str),
    /// A CEL expression that gives the text, and a text for when it fails.
    Expression(&'static str, &'static str),
}

use Base::{Group, Instance, Spec, Template};
use Message::{Expression, Text};

const LABEL_VALUES: &str =
    "self.all(key, self[key].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$'))";
const LABEL_KEYS: &str = r"self.all(key, key.indexOf('/') <= 253 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$'))";
const LABEL_VALUES_TEXT: Message = Expression(
    "'the label value \"' + self[self.filter(key, !self[key].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$'))[0]] + '\" is not allowed: letters, digits, \"-\", \"_\" and \".\", beginning and ending with a letter or digit'",
    "a label value holds letters, digits, \"-\", \"_\" and \".\", beginning and ending with a letter or digit",
);
const LABEL_KEYS_TEXT: Message = Text(
    "a label key is a name of letters, digits, \"-\", \"_\" and \".\", with an optional DNS prefix and \"/\" before it",
);
const PROBE_TIMING: &str = "(has(self.enabled) && self.enabled) || !(has(self.initialDelaySeconds) || has(self.timeoutSeconds) || has(self.periodSeconds) || has(self.successThreshold) || has(self.failureThreshold))";
const PROBE_SUCCESS: &str = "!has(self.successThreshold) || self.successThreshold == 1";
const VERSION: &str = r"self.matches('^v?(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?$')";
const CLUSTER_NAME: &str =
    r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
const PD_ADDRESS: &str = r"self.matches('^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535";
const PORTS_DIFFER: &str = "(has(self.port) ? (has(self.port.sql) ? self.port.sql : 6000) : (has(self.ports) && has(self.ports.client) ? self.ports.client.port : 6000)) != (has(self.port) ? (has(self.port.api) ? self.port.api : 3080) : (has(self.ports) && has(self.ports.api) ? self.ports.api.port : 3080))";
const PORTS_DIFFER_TEXT: &str = "'the SQL port and the API port must differ, both are %d (defaults: SQL 6000, API 3080)'.format([has(self.port) ? (has(self.port.sql) ? self.port.sql : 6000) : (has(self.ports) && has(self.ports.client) ? self.ports.client.port : 6000)])";

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "group-name-length",
        base: Group,
        path: "",
        rule: "self.metadata.name.size() <= 40",
        message: Text("name must not exceed 40 characters"),
    },
    Rule {
        name: "group-name-label",
        base: Group,
        path: "",
        rule: "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: Expression(
            "'name \"' + self.metadata.name + '\" must begin with a lower-case letter and hold only lower-case letters, digits and \"-\", since Services are named after it'",
            "name must begin with a lower-case letter and hold only lower-case letters, digits and \"-\"",
        ),
    },
    Rule {
        name: "instance-name-length",
        base: Instance,
        path: "",
        rule: "self.metadata.name.size() <= 47",
        message: Text("name must not exceed 47 characters"),
    },
    Rule {
        name: "cluster-name",
        base: Spec,
        path: "cluster.name",
        rule: CLUSTER_NAME,
        message: Expression(
            "'cluster name \"' + self + '\" is not a DNS name: lower-case letters, digits, \"-\" and \".\", beginning and ending with a letter or digit'",
            "cluster name must be a DNS name of lower-case letters, digits, \"-\" and \".\"",
        ),
    },
    Rule {
        name: "cluster-name-immutable",
        base: Spec,
        path: "cluster.name",
        rule: "self == oldSelf",
        message: Text("cluster name is immutable"),
    },
    Rule {
        name: "pd-address",
        base: Spec,
        path: "cluster.pdAddrs[]",
        rule: PD_ADDRESS,
        message: Expression(
            "'pdAddrs: \"' + self + '\" must be host:port with a port from 1 to 65535 and no scheme, such as pd.example:2379'",
            "pdAddrs must be host:port with a port from 1 to 65535 and no scheme, such as pd.example:2379",
        ),
    },
    Rule {
        name: "max-surge",
        base: Group,
        path: "spec.maxSurge",
        rule: "type(self) == int ? self >= 0 && self <= 100000 : self.matches('^[0-9]{1,3}%$')",
        message: Expression(
            "'maxSurge: %s must be a number from 0 to 100000 or a percentage such as \"25%%\"'.format([self])",
            "maxSurge must be a number from 0 to 100000 or a percentage such as \"25%\"",
        ),
    },
    Rule {
        name: "max-unavailable",
        base: Group,
        path: "spec.maxUnavailable",
        rule: "type(self) == int ? self >= 0 && self <= 100000 : self.matches('^(100|[0-9]{1,2})%$')",
        message: Expression(
            "'maxUnavailable: %s must be a number from 0 to 100000 or a percentage from \"0%%\" to \"100%%\"'.format([self])",
            "maxUnavailable must be a number from 0 to 100000 or a percentage from \"0%\" to \"100%\"",
        ),
    },
    Rule {
        name: "progress-deadline",
        base: Group,
        path: "spec",
        // Only when it is given: a manifest of TiDB Operator may have any minReadySeconds.
        rule: "!has(self.progressDeadlineSeconds) || self.progressDeadlineSeconds > (has(self.minReadySeconds) ? self.minReadySeconds : 10)",
        message: Expression(
            "'progressDeadlineSeconds (%d) must be more than minReadySeconds (%d)'.format([self.progressDeadlineSeconds, has(self.minReadySeconds) ? self.minReadySeconds : 10])",
            "progressDeadlineSeconds must be more than minReadySeconds",
        ),
    },
    Rule {
        name: "evenly-spread",
        base: Group,
        path: "spec.schedulePolicies[]",
        rule: "self.type != 'EvenlySpread' || has(self.evenlySpread)",
        message: Text("schedulePolicies: type EvenlySpread needs the field evenlySpread with its topologies"),
    },
    Rule {
        name: "topology-twice",
        base: Group,
        path: "spec.schedulePolicies[].evenlySpread.topologies",
        rule: "self.all(one, self.exists_one(other, other.topology == one.topology))",
        message: Text("topologies: each topology may stand in the list only once"),
    },
    Rule {
        name: "service-load-balancer-class",
        base: Group,
        path: "spec.service",
        rule: "!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')",
        message: Text("service: loadBalancerClass needs type LoadBalancer"),
    },
    Rule {
        name: "service-source-ranges",
        base: Group,
        path: "spec.service",
        rule: "!has(self.loadBalancerSourceRanges) || (has(self.type) && self.type == 'LoadBalancer')",
        message: Text("service: loadBalancerSourceRanges needs type LoadBalancer"),
    },
    Rule {
        name: "service-source-range",
        base: Group,
        path: "spec.service.loadBalancerSourceRanges[]",
        rule: "isCIDR(self)",
        message: Expression(
            "'loadBalancerSourceRanges: \"' + self + '\" is not a network such as 10.0.0.0/8'",
            "loadBalancerSourceRanges must be networks such as 10.0.0.0/8",
        ),
    },
    Rule {
        name: "service-external-traffic",
        base: Group,
        path: "spec.service",
        rule: "!has(self.externalTrafficPolicy) || (has(self.type) && self.type in ['NodePort', 'LoadBalancer'])",
        message: Text("service: externalTrafficPolicy needs type NodePort or LoadBalancer"),
    },
    Rule {
        name: "service-node-ports",
        base: Group,
        path: "spec.service",
        rule: "!has(self.nodePorts) || (has(self.type) && self.type in ['NodePort', 'LoadBalancer'])",
        message: Text("service: nodePorts needs type NodePort or LoadBalancer"),
    },
    Rule {
        name: "service-label-keys",
        base: Group,
        path: "spec.service.labels",
        rule: LABEL_KEYS,
        message: LABEL_KEYS_TEXT,
    },
    Rule {
        name: "service-label-values",
        base: Group,
        path: "spec.service.labels",
        rule: LABEL_VALUES,
        message: LABEL_VALUES_TEXT,
    },
    Rule {
        name: "template-label-keys",
        base: Group,
        path: "spec.template.metadata.labels",
        rule: LABEL_KEYS,
        message: LABEL_KEYS_TEXT,
    },
    Rule {
        name: "template-label-values",
        base: Group,
        path: "spec.template.metadata.labels",
        rule: LABEL_VALUES,
        message: LABEL_VALUES_TEXT,
    },
    Rule {
        name: "topology-immutable",
        base: Instance,
        path: "spec.topology",
        rule: "self == oldSelf",
        message: Text("topology is immutable"),
    },
    Rule {
        name: "topology-at-creation",
        base: Instance,
        path: "spec",
        rule: "has(self.topology) == has(oldSelf.topology)",
        message: Text("topology can only be set when creating"),
    },
    Rule {
        name: "subdomain-immutable",
        base: Instance,
        path: "spec.subdomain",
        rule: "self == oldSelf",
        message: Text("subdomain is immutable"),
    },
    Rule {
        name: "version",
        base: Template,
        path: "version",
        rule: VERSION,
        message: Expression(
            "'version: \"' + self + '\" must be a semantic version that can be an image tag, such as v1.3.2, without \"+\"'",
            "version must be a semantic version that can be an image tag, such as v1.3.2, without \"+\"",
        ),
    },
    Rule {
        name: "image",
        base: Template,
        path: "image",
        rule: r"!self.matches('\\s')",
        message: Text("image must not hold white space"),
    },
    Rule {
        name: "server-port-forms",
        base: Template,
        path: "server",
        rule: "!(has(self.port) && has(self.ports))",
        message: Text("server: give either port or ports, not both"),
    },
    Rule {
        name: "server-ports-differ",
        base: Template,
        path: "server",
        rule: PORTS_DIFFER,
        message: Expression(
            PORTS_DIFFER_TEXT,
            "the SQL port and the API port must differ (defaults: SQL 6000, API 3080)",
        ),
    },
    Rule {
        name: "server-labels",
        base: Template,
        path: "server.labels",
        rule: "self.all(key, !(key in ['host', 'region', 'zone']))",
        message: Text("labels cannot contain 'host', 'region', or 'zone' keys"),
    },
    Rule {
        name: "resources-forms",
        base: Template,
        path: "resources",
        rule: "!((has(self.cpu) || has(self.memory)) && (has(self.requests) || has(self.limits)))",
        message: Text("resources: give either cpu and memory, or requests and limits, not both"),
    },
    Rule {
        name: "volume-name",
        base: Template,
        path: "volumes[].name",
        rule: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        message: Expression(
            "'volume name \"' + self + '\" must hold only lower-case letters, digits and \"-\", beginning and ending with a letter or digit'",
            "a volume name must hold only lower-case letters, digits and \"-\"",
        ),
    },
    Rule {
        name: "volume-storage",
        base: Template,
        path: "volumes[].storage",
        rule: "type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",
        message: Expression(
            "'storage: ' + string(self) + ' must be more than 0'",
            "Volume storage must be greater than 0 for all volumes",
        ),
    },
    Rule {
        name: "volume-shrink",
        base: Template,
        path: "volumes[].storage",
        rule: "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
        message: Expression(
            "'storage: a volume can only grow, from ' + string(oldSelf) + ' to ' + string(self) + ' it would shrink'",
            "storage: a volume can only grow",
        ),
    },
    Rule {
        name: "volume-attributes-class",
        base: Template,
        path: "volumes[]",
        rule: "!has(oldSelf.volumeAttributesClassName) || has(self.volumeAttributesClassName)",
        message: Text("VolumeAttributesClassName cannot be changed from non-nil to nil"),
    },
    Rule {
        name: "volume-mount-path",
        base: Template,
        path: "volumes[].mounts[].mountPath",
        rule: "self.startsWith('/') && !self.contains(':')",
        message: Expression(
            "'mountPath: \"' + self + '\" must be an absolute path without \":\"'",
            "mountPath must be an absolute path without \":\"",
        ),
    },
    Rule {
        name: "volume-sub-path",
        base: Template,
        path: "volumes[].mounts[].subPath",
        rule: "!self.startsWith('/') && self != '..' && !self.startsWith('../') && !self.endsWith('/..') && !self.contains('/../')",
        message: Expression(
            "'subPath: \"' + self + '\" must be a relative path without \"..\"'",
            "subPath must be a relative path without \"..\"",
        ),
    },
    Rule {
        name: "liveness-timing",
        base: Template,
        path: "probes.liveness",
        rule: PROBE_TIMING,
        message: Text("probes.liveness: timing fields need enabled: true"),
    },
    Rule {
        name: "liveness-success",
        base: Template,
        path: "probes.liveness",
        rule: PROBE_SUCCESS,
        message: Text("probes.liveness: successThreshold must be 1"),
    },
    Rule {
        name: "startup-timing",
        base: Template,
        path: "probes.startup",
        rule: PROBE_TIMING,
        message: Text("probes.startup: timing fields need enabled: true"),
    },
    Rule {
        name: "startup-success",
        base: Template,
        path: "probes.startup",
        rule: PROBE_SUCCESS,
        message: Text("probes.startup: successThreshold must be 1"),
    },
    Rule {
        name: "overlay-volume-claims",
        base: Template,
        path: "",
        rule: "!has(self.overlay) || !has(self.overlay.volumeClaims) || self.overlay.volumeClaims.all(claim, has(self.volumes) && self.volumes.exists(volume, volume.name == claim.name))",
        message: Text("overlay volumeClaims names must exist in volumes"),
    },
    Rule {
        name: "overlay-pod-labels",
        base: Template,
        path: "overlay.pod.metadata.labels",
        rule: "self.all(key, !key.startsWith('pingcap.com/'))",
        message: Text("cannot overlay pod labels starting with 'pingcap.com/'"),
    },
    Rule {
        name: "overlay-pod-serving",
        base: Template,
        path: "overlay.pod.metadata.labels",
        rule: "self.all(key, !key.startsWith('core.pingcap.com/'))",
        message: Text("cannot overlay pod labels starting with 'core.pingcap.com/'"),
    },
    Rule {
        name: "overlay-label-keys",
        base: Template,
        path: "overlay.pod.metadata.labels",
        rule: LABEL_KEYS,
        message: LABEL_KEYS_TEXT,
    },
    Rule {
        name: "overlay-label-values",
        base: Template,
        path: "overlay.pod.metadata.labels",
        rule: LABEL_VALUES,
        message: LABEL_VALUES_TEXT,
    },
];
