//! Rules of the two kinds themselves, outside of the template that they share.

use super::Base::{Group, Instance, Spec};
use super::Message::{Expression, Text};
use super::{LABEL_KEYS, LABEL_KEYS_TEXT, LABEL_VALUES, LABEL_VALUES_TEXT, Rule};

const CLUSTER_NAME: &str =
    r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
const PD_ADDRESS: &str = r"self.matches('^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535";

pub(super) const RULES: &[Rule] = &[
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
];
