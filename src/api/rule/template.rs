//! Rules of the template, which both kinds have.

use super::Base::Template;
use super::Message::{Expression, Text};
use super::{LABEL_KEYS, LABEL_KEYS_TEXT, LABEL_VALUES, LABEL_VALUES_TEXT, Rule};

const PROBE_TIMING: &str = "(has(self.enabled) && self.enabled) || !(has(self.initialDelaySeconds) || has(self.timeoutSeconds) || has(self.periodSeconds) || has(self.successThreshold) || has(self.failureThreshold))";
const PROBE_SUCCESS: &str = "!has(self.successThreshold) || self.successThreshold == 1";
const VERSION: &str = r"self.matches('^v?(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?$')";
const PORTS_DIFFER: &str = "(has(self.port) ? (has(self.port.sql) ? self.port.sql : 6000) : (has(self.ports) && has(self.ports.client) ? self.ports.client.port : 6000)) != (has(self.port) ? (has(self.port.api) ? self.port.api : 3080) : (has(self.ports) && has(self.ports.api) ? self.ports.api.port : 3080))";
const PORTS_DIFFER_TEXT: &str = "'the SQL port and the API port must differ, both are %d (defaults: SQL 6000, API 3080)'.format([has(self.port) ? (has(self.port.sql) ? self.port.sql : 6000) : (has(self.ports) && has(self.ports.client) ? self.ports.client.port : 6000)])";

pub(super) const RULES: &[Rule] = &[
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
