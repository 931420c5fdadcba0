//! How each field of a Pod's spec is merged, as data.
//!
//! From `patchStrategy`, `patchMergeKey` and `listMapKey` in `k8s.io/api/core/v1/types.go` of Kubernetes 1.34. Where a
//! list has more than one `listMapKey`, all of them tell its items apart, as in server-side apply; the strategic merge of
//! kubectl takes only the first, and could not tell UDP from TCP. What is not listed has no merge key: objects are merged
//! field by field, and everything else is replaced.

/// How one field is merged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Objects field by field; lists and scalars are replaced.
    Object(&'static Shape),
    /// A list of objects that these fields tell apart.
    Keyed(&'static [Key], &'static Shape),
    /// Replaced as a whole, even if it is an object.
    Whole,
}

/// A field that tells the items of a list apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What the API server sets where an item does not say it.
    pub(super) default: Option<&'static str>,
}

/// How the fields of an object are merged.
#[derive(Debug)]
pub(super) struct Shape {
    /// The fields that are not merged the usual way.
    pub(super) fields: &'static [(&'static str, Rule)],
    /// The fields of which only one may be set.
    pub(super) one_of: OneOf,
}

/// Fields of which only one may be set: naming one drops the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum OneOf {
    Nothing,
    These(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

impl Shape {
    /// How a field is merged.
    pub(super) fn rule(&self, field: &str) -> Rule {
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map_or(Rule::Object(&PLAIN), |(_, rule)| *rule)
    }

    /// Whether a field is one of those of which only one may be set.
    pub(super) fn is_choice(&self, field: &str) -> bool {
        match self.one_of {
            OneOf::Nothing => false,
            OneOf::These(fields) => fields.contains(&field),
            OneOf::AllBut(fields) => !fields.contains(&field),
        }
    }
}

const fn key(name: &'static str) -> Key {
    Key { name, default: None }
}

const fn shape(fields: &'static [(&'static str, Rule)]) -> Shape {
    Shape {
        fields,
        one_of: OneOf::Nothing,
    }
}

const NAME: &[Key] = &[key("name")];

/// Merged field by field.
pub(super) static PLAIN: Shape = shape(&[]);

/// The spec of a Pod.
pub(super) static POD_SPEC: Shape = shape(&[
    ("containers", Rule::Keyed(NAME, &CONTAINER)),
    ("initContainers", Rule::Keyed(NAME, &CONTAINER)),
    ("ephemeralContainers", Rule::Keyed(NAME, &CONTAINER)),
    ("volumes", Rule::Keyed(NAME, &VOLUME)),
    ("imagePullSecrets", Rule::Keyed(NAME, &PLAIN)),
    ("hostAliases", Rule::Keyed(&[key("ip")], &PLAIN)),
    (
        "topologySpreadConstraints",
        Rule::Keyed(&[key("topologyKey"), key("whenUnsatisfiable")], &PLAIN),
    ),
    ("schedulingGates", Rule::Keyed(NAME, &PLAIN)),
    ("resourceClaims", Rule::Keyed(NAME, &RESOURCE_CLAIM)),
    ("resources", Rule::Object(&RESOURCES)),
]);

static CONTAINER: Shape = shape(&[
    ("ports", Rule::Keyed(PORT, &PLAIN)),
    ("env", Rule::Keyed(NAME, &ENV)),
    ("volumeMounts", Rule::Keyed(&[key("mountPath")], &VOLUME_MOUNT)),
    ("volumeDevices", Rule::Keyed(&[key("devicePath")], &PLAIN)),
    ("resources", Rule::Object(&RESOURCES)),
    ("readinessProbe", Rule::Object(&HANDLER)),
    ("livenessProbe", Rule::Object(&HANDLER)),
    ("startupProbe", Rule::Object(&HANDLER)),
    ("lifecycle", Rule::Object(&LIFECYCLE)),
]);

const PORT: &[Key] = &[
    key("containerPort"),
    Key {
        name: "protocol",
        default: Some("TCP"),
    },
];

/// A volume has a name and one source.
static VOLUME: Shape = Shape {
    fields: &[],
    one_of: OneOf::AllBut(&["name"]),
};

static VOLUME_MOUNT: Shape = Shape {
    fields: &[],
    one_of: OneOf::These(&["subPath", "subPathExpr"]),
};

static ENV: Shape = Shape {
    fields: &[("valueFrom", Rule::Whole)],
    one_of: OneOf::These(&["value", "valueFrom"]),
};

static RESOURCES: Shape = shape(&[("claims", Rule::Keyed(NAME, &PLAIN))]);

static RESOURCE_CLAIM: Shape = Shape {
    fields: &[],
    one_of: OneOf::These(&["resourceClaimName", "resourceClaimTemplateName"]),
};

static LIFECYCLE: Shape = shape(&[
    ("preStop", Rule::Object(&HANDLER)),
    ("postStart", Rule::Object(&HANDLER)),
]);

/// Probes and lifecycle handlers: the handler is replaced whole, and the times beside it are merged.
static HANDLER: Shape = Shape {
    fields: &[
        ("exec", Rule::Whole),
        ("httpGet", Rule::Whole),
        ("tcpSocket", Rule::Whole),
        ("grpc", Rule::Whole),
        ("sleep", Rule::Whole),
    ],
    one_of: OneOf::These(&["exec", "httpGet", "tcpSocket", "grpc", "sleep"]),
};
