//! Every constraint of the generated schema, found by walking it: the value at its edge is accepted, the one beyond is
//! refused, with the field and the message. A new constraint is tested as soon as it is there; one that nobody
//! taught this file fails the test.

use std::collections::BTreeSet;

use futures::StreamExt;
use kube::core::Status;
use serde_json::{Map, Value, json};
use tiproxy_operator::api::crd;
use tiproxy_operator::api::rule::rules;

use super::manifest::{Kind, documents, set};
use super::rule::assert_readable;
use crate::harness::{self, Test, objects::Keep};

/// One keyword of the schema at one field.
#[derive(Clone, Debug)]
struct Constraint {
    /// Names with dots, `[]` for the items of a list, `{}` for the values of a map.
    path: String,
    keyword: String,
    limit: Value,
    schema: Value,
}

/// One object, and what the API server is to make of it.
struct Trial {
    what: String,
    object: Value,
    /// The field and a part of the message; `None` when the object is accepted.
    refusal: Option<(String, String)>,
}

/// Edges that no object can show as accepted, since a rule of the field is narrower: the end of the path, the
/// keyword, and why.
const NEVER_ACCEPTED: &[(&str, &str, &str)] = &[
    ("version", "minLength", "the shortest version is 0.0.0"),
    (
        "loadBalancerSourceRanges[]",
        "minLength",
        "the shortest network is ::/0",
    ),
    (
        "loadBalancerSourceRanges[]",
        "maxLength",
        "the longest network has 43 characters",
    ),
    ("liveness.successThreshold", "maximum", "it must be 1"),
    ("startup.successThreshold", "maximum", "it must be 1"),
    ("schedulePolicies", "maxItems", "each type may stand there once"),
];

/// Keywords that only describe, or that the walk itself goes by.
const NO_CONSTRAINT: &[&str] = &[
    "description",
    "title",
    "default",
    "properties",
    "items",
    "additionalProperties",
    // Its range is wider than `minimum` and `maximum`, which every number of a spec has.
    "format",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    // Tables of cases of their own: `super::rule`.
    "x-kubernetes-validations",
];

fn schema(kind: Kind) -> Value {
    let definition = match kind {
        Kind::Group => crd::group(),
        Kind::Instance => crd::instance(),
    };
    let definition = serde_json::to_value(definition.expect("the definition")).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The constraints of `spec`. The status is the operator's own to write, and has no bounds.
fn constraints(kind: Kind) -> Vec<Constraint> {
    let mut found = Vec::new();
    walk("spec", &schema(kind)["properties"]["spec"], &mut found);
    found
}

fn walk(path: &str, schema: &Value, found: &mut Vec<Constraint>) {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, limit) in keywords {
        if !NO_CONSTRAINT.contains(&keyword.as_str()) {
            found.push(Constraint {
                path: path.to_owned(),
                keyword: keyword.clone(),
                limit: limit.clone(),
                schema: schema.clone(),
            });
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, found);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], found);
    }
}

/// Objects that together have every field of a kind.
fn full(kind: Kind) -> [Value; 2] {
    let mut group = documents(include_str!("full.yaml")).remove(0);
    if kind == Kind::Instance {
        let mut spec = group["spec"]["template"]["spec"].take();
        let more = json!({
            "cluster": group["spec"]["cluster"], "features": ["feature"], "topology": {"zone": "a"},
            "subdomain": "web-tiproxy-peer", "replicas": 1, "offline": false, "restartedAt": "now",
            "volumeRetention": "Delete",
            "discovery": {"pdAddrs": ["pd:2379"], "tls": false, "clusterDomain": "cluster.local"},
        });
        set(&mut spec, "", more);
        group["kind"] = json!("TiProxy");
        group["spec"] = spec;
    }
    let template = kind.place(tiproxy_operator::api::rule::Base::Template).unwrap();
    let template = format!("/{}", template.replace('.', "/"));
    let mut other = group.clone();
    let spec = other.pointer_mut(&template).expect("a template");
    spec["server"] =
        json!({"ports": {"client": {"port": 6000}, "api": {"port": 3080}, "peer": {"port": 3081}}});
    spec["resources"] = json!({"requests": {"cpu": 1}, "limits": {"memory": "2Gi"}});
    [group, other]
}

/// The JSON pointer of a path: the first item of each list, the first value of each map.
fn pointer(object: &Value, path: &str) -> Option<String> {
    let mut pointer = String::new();
    for name in path.replace("[]", ".[]").replace("{}", ".{}").split('.') {
        let node = object.pointer(&pointer)?;
        let step = match name {
            "[]" => "0",
            "{}" => node.as_object()?.keys().next()?,
            name => name,
        };
        pointer = format!("{pointer}/{step}");
    }
    object.pointer(&pointer).map(|_| pointer)
}

impl Constraint {
    #[expect(clippy::too_many_lines, reason = "one arm for each keyword")]
    fn trials(&self, kind: Kind) -> Vec<Trial> {
        let full = full(kind);
        let (base, pointer) = full
            .iter()
            .find_map(|object| Some((object, pointer(object, &self.path)?)))
            .unwrap_or_else(|| panic!("full.yaml has no {}", self.path));
        let with = |value: Value| {
            let mut object = base.clone();
            *object.pointer_mut(&pointer).expect("the field") = value;
            object
        };
        let field = field_name(&pointer);
        let what = format!("{kind:?} {} {}", self.path, self.keyword);
        let accepts = |object: Value| Trial {
            what: what.clone(),
            object,
            refusal: None,
        };
        let refuses_at = |object: Value, field: &str, message: &str| Trial {
            what: what.clone(),
            object,
            refusal: Some((field.to_owned(), message.to_owned())),
        };
        let refuses = |value: Value, message: &str| refuses_at(with(value), &field, message);
        let now = base.pointer(&pointer).expect("the field");
        let number = self.limit.as_f64().map(|limit| {
            #[expect(clippy::cast_possible_truncation, reason = "every bound is a whole number")]
            let number = limit as i64;
            number
        });
        let size = number.and_then(|number| usize::try_from(number).ok());
        let edge = |object: Option<Value>| object.map(accepts);
        let mut trials = Vec::new();
        match (self.keyword.as_str(), number, size) {
            ("minimum", Some(least), _) => {
                trials.extend(edge(Some(with(json!(least)))));
                let message = format!("should be greater than or equal to {least}");
                trials.push(refuses(json!(least - 1), &message));
            }
            ("maximum", Some(most), _) => {
                let reached = self.never().is_none().then(|| with(json!(most)));
                trials.extend(edge(reached));
                let message = format!("should be less than or equal to {most}");
                trials.push(refuses(json!(most + 1), &message));
            }
            ("minLength", _, Some(least)) => {
                trials.extend(edge(
                    self.text(least)
                        .map(|text| with_text(with(text.into()), &self.path)),
                ));
                let message = format!("should be at least {least} chars long");
                trials.push(refuses("a".repeat(least - 1).into(), &message));
            }
            ("maxLength", _, Some(most)) => {
                trials.extend(edge(
                    self.text(most)
                        .map(|text| with_text(with(text.into()), &self.path)),
                ));
                let message = format!("may not be more than {most} bytes");
                trials.push(refuses("a".repeat(most + 1).into(), &message));
            }
            ("minItems", _, Some(least)) => {
                trials.extend(edge(Some(with(self.items(now, least)))));
                let message = format!("should have at least {least} items");
                trials.push(refuses(self.items(now, least - 1), &message));
            }
            ("maxItems", _, Some(most)) => {
                let reached = self.never().is_none().then(|| with(self.items(now, most)));
                trials.extend(edge(reached.map(|object| with_volumes(kind, object, &self.path))));
                let message = format!("must have at most {most} items");
                trials.push(refuses(self.items(now, most + 1), &message));
            }
            ("minProperties", _, Some(least)) => {
                trials.extend(edge(Some(with(entries(now, least)))));
                let message = format!("should have at least {least} properties");
                trials.push(refuses(entries(now, least - 1), &message));
            }
            ("maxProperties", _, Some(most)) => {
                trials.extend(edge(Some(with(entries(now, most)))));
                let message = format!("must have at most {most} items");
                trials.push(refuses(entries(now, most + 1), &message));
            }
            ("enum", ..) => {
                for value in self.limit.as_array().expect("a list") {
                    let mut object = with(value.clone());
                    if self.path.ends_with("service.type") {
                        // The other fields of the Service belong to some of the types only.
                        object["spec"]["service"] = json!({"type": value});
                    }
                    trials.push(accepts(object));
                }
                trials.push(refuses(
                    json!("Other"),
                    "Unsupported value: \"Other\": supported values: ",
                ));
                trials.push(refuses(json!(""), "Unsupported value: \"\": supported values: "));
            }
            ("required", ..) => {
                trials.push(accepts(base.clone()));
                for name in self.limit.as_array().expect("a list") {
                    let name = name.as_str().expect("a name");
                    let mut object = base.clone();
                    let fields = object.pointer_mut(&pointer).and_then(Value::as_object_mut);
                    fields.expect("an object").remove(name);
                    trials.push(refuses_at(object, &format!("{field}.{name}"), "Required value"));
                }
            }
            ("type", ..) => {
                let wanted = self.limit.as_str().expect("a type");
                let wrong = match wanted {
                    "string" => vec![json!(1), json!({}), json!(["a"])],
                    "integer" => vec![json!("1"), json!(1.5), json!(true)],
                    "boolean" => vec![json!("true"), json!(1)],
                    "array" => vec![json!({}), json!("a")],
                    "object" => vec![json!([]), json!("a")],
                    other => panic!("{other}"),
                };
                trials.push(accepts(base.clone()));
                let message = format!("must be of type {wanted}");
                trials.extend(wrong.into_iter().map(|wrong| refuses(wrong, &message)));
                if wanted == "object" && self.schema["additionalProperties"].is_null() {
                    trials.extend(self.unknown_field(base, &pointer, &accepts, &refuses_at));
                }
            }
            ("pattern", ..) => {
                trials.extend(["1", "0.5", "1e3", "2Gi"].map(|good| accepts(with(good.into()))));
                trials
                    .extend(["one", "1 Gi", "2GB", "", "-"].map(|bad| refuses(bad.into(), "should match '")));
            }
            ("x-kubernetes-int-or-string", ..) => {
                trials.extend([json!(1), json!("100%")].into_iter().filter_map(|value| {
                    // A quantity has a pattern beside.
                    let is_quantity = self.schema["pattern"].is_string() && value.is_string();
                    (!is_quantity).then(|| accepts(with(value)))
                }));
                let wrong = [json!(true), json!(1.5), json!({})];
                trials.extend(wrong.map(|wrong| refuses(wrong, "must be of type ")));
            }
            ("x-kubernetes-list-type", ..) => {
                trials.push(accepts(base.clone()));
                let twice = json!([now[0], now[0]]);
                trials.push(refuses_at(with(twice), &format!("{field}[1]"), "Duplicate value"));
            }
            _ => panic!("no case for the constraint {what}: {}", self.limit),
        }
        trials
    }

    /// A field that the schema does not have is refused where fields are known, and kept where they are free.
    fn unknown_field(
        &self,
        base: &Value,
        pointer: &str,
        accepts: &impl Fn(Value) -> Trial,
        refuses_at: &impl Fn(Value, &str, &str) -> Trial,
    ) -> Option<Trial> {
        let mut object = base.clone();
        object.pointer_mut(pointer)?["typo"] = json!(1);
        Some(if self.schema["x-kubernetes-preserve-unknown-fields"] == true {
            accepts(object)
        } else {
            let field = format!("{}.typo", field_name(pointer));
            let message = format!("strict decoding error: unknown field \"{field}\"");
            refuses_at(object, "", &message)
        })
    }

    fn never(&self) -> Option<&'static (&'static str, &'static str, &'static str)> {
        NEVER_ACCEPTED
            .iter()
            .find(|(path, keyword, _)| *keyword == self.keyword && self.path.ends_with(path))
    }

    /// A text of a length that the rules of the field accept.
    fn text(&self, length: usize) -> Option<String> {
        if self.never().is_some() {
            return None;
        }
        let path = self.path.as_str();
        let (before, after) = match path.rsplit(['.', '}']).next().unwrap_or(path) {
            "version" => ("1.2.3-", ""),
            "pdAddrs[]" if path.contains("discovery") => ("", ""),
            "pdAddrs[]" if length < 10 => ("", ":1"),
            "pdAddrs[]" => ("", ":65535"),
            "mountPath" => ("/", ""),
            _ => ("", ""),
        };
        let filling = if self.schema["pattern"].is_string() {
            "1"
        } else {
            "a"
        };
        let filled = length.checked_sub(before.len() + after.len())?;
        Some(format!("{before}{}{after}", filling.repeat(filled)))
    }

    /// As many items, each made different from the first.
    fn items(&self, now: &Value, count: usize) -> Value {
        let name = self.path.rsplit('.').next().unwrap_or_default();
        let item = |index: usize| {
            let mut item = now[0].clone();
            match name {
                _ if index == 0 => {}
                "pdAddrs" => item = json!(format!("pd-{index}:1")),
                "loadBalancerSourceRanges" => item = json!(format!("10.0.0.{index}/32")),
                "features" => item = json!(format!("feature-{index}")),
                "topologies" => item["topology"] = json!({"zone": index.to_string()}),
                "mounts" => item["mountPath"] = json!(format!("/{index}")),
                "volumes" | "volumeClaims" => item["name"] = json!(format!("v{index}")),
                "schedulePolicies" => {}
                other => panic!("no different items for {other}"),
            }
            item
        };
        (0..count).map(item).collect()
    }
}

/// As many entries, each with the value of the first.
fn entries(now: &Value, count: usize) -> Value {
    let first = now.as_object().and_then(|entries| entries.iter().next());
    let (name, value) = first.expect("an entry");
    let names = std::iter::once(name.clone()).chain((1..).map(|index| format!("k{index}")));
    let entries: Map<String, Value> = names.take(count).map(|name| (name, value.clone())).collect();
    entries.into()
}

/// Fields that have to follow when a text changes: the overlay names a volume.
fn with_text(mut object: Value, path: &str) -> Value {
    let (of, to) = if path.ends_with("volumes[].name") {
        ("/volumes/0/name", "/overlay/volumeClaims/0/name")
    } else if path.ends_with("volumeClaims[].name") {
        ("/overlay/volumeClaims/0/name", "/volumes/0/name")
    } else {
        return object;
    };
    let base = path
        .split_once("volumes[]")
        .or_else(|| path.split_once("overlay."))
        .map_or("", |(base, _)| base.trim_end_matches('.'));
    let base = format!("/{}", base.replace('.', "/"));
    let name = object.pointer(&format!("{base}{of}")).cloned().expect("a name");
    *object.pointer_mut(&format!("{base}{to}")).expect("a name") = name;
    object
}

/// As many volumes as there are claims in the overlay.
fn with_volumes(kind: Kind, mut object: Value, path: &str) -> Value {
    if path.ends_with("volumeClaims") {
        let template = match kind {
            Kind::Group => &mut object["spec"]["template"]["spec"],
            Kind::Instance => &mut object["spec"],
        };
        let volume = template["volumes"][0].clone();
        let names = template["overlay"]["volumeClaims"].as_array().expect("claims");
        let volumes = names.iter().map(|claim| {
            let mut volume = volume.clone();
            volume["name"] = claim["name"].clone();
            volume
        });
        template["volumes"] = volumes.collect();
    }
    object
}

/// A field as the API server writes it.
fn field_name(pointer: &str) -> String {
    let mut field = String::new();
    for name in pointer.split('/').skip(1) {
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            field = format!("{field}[{name}]");
        } else if field.is_empty() {
            name.clone_into(&mut field);
        } else {
            field = format!("{field}.{name}");
        }
    }
    field
}

#[test]
fn every_constraint_has_an_accepted_and_a_refused_case() {
    let mut used = BTreeSet::new();
    for kind in Kind::BOTH {
        let constraints = constraints(kind);
        let (mut accepted, mut refused) = (0, 0);
        for constraint in &constraints {
            let trials = constraint.trials(kind);
            let refusals = trials.iter().filter(|trial| trial.refusal.is_some()).count();
            let is_free = constraint.schema["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(refusals > 0 || is_free, "{constraint:?}");
            match constraint.never() {
                Some(never) if trials.len() == refusals => {
                    used.insert(never);
                }
                _ => assert!(trials.len() > refusals, "{constraint:?} is accepted nowhere"),
            }
            accepted += trials.len() - refusals;
            refused += refusals;
        }
        println!(
            "{kind:?}: {} constraints, {accepted} accepted and {refused} refused objects",
            constraints.len()
        );
    }
    let all: BTreeSet<_> = NEVER_ACCEPTED.iter().collect();
    let spare: Vec<_> = all.difference(&used).collect();
    assert!(spare.is_empty(), "exceptions that nothing needs: {spare:?}");
}

/// A rule that stands in the schema without being in the table would have no case in `super::rule`.
#[test]
fn every_rule_of_the_schema_is_in_the_table() {
    fn collect(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                for rule in fields
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    found.insert(rule["rule"].as_str().expect("a rule").to_owned());
                }
                fields.values().for_each(|field| collect(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    for kind in Kind::BOTH {
        collect(&schema(kind), &mut found);
    }
    let table: BTreeSet<String> = rules().map(|rule| rule.rule.to_owned()).collect();
    assert_eq!(found, table);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn every_constraint_accepts_and_refuses_at_its_edge() {
    harness::run(async |test| {
        for kind in Kind::BOTH {
            for object in full(kind) {
                let kept = test.create(&object, Keep::No).await;
                let kept = kept.unwrap_or_else(|status| panic!("{kind:?}: {}", status.message));
                assert_readable(kind, &serde_json::to_value(kept).unwrap());
            }
            let trials: Vec<Trial> = constraints(kind)
                .iter()
                .flat_map(|constraint| constraint.trials(kind))
                .collect();
            let wrong: Vec<String> = futures::stream::iter(&trials)
                .map(|trial| attempt(test, kind, trial))
                .buffer_unordered(16)
                .filter_map(std::future::ready)
                .collect()
                .await;
            println!("{kind:?}: {} objects judged", trials.len());
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    });
}

/// What is wrong with the answer, if anything.
async fn attempt(test: &Test, kind: Kind, trial: &Trial) -> Option<String> {
    let Trial {
        what,
        object,
        refusal,
    } = trial;
    match (test.create(object, Keep::No).await, refusal) {
        (Ok(stored), None) => {
            assert_readable(kind, &serde_json::to_value(stored).unwrap());
            None
        }
        (Ok(_), Some((field, message))) => Some(format!("{what}: accepted, no \"{message}\" at {field}")),
        (Err(status), None) => Some(format!("{what}: {}", status.message)),
        (Err(status), Some((field, message))) => {
            let told = says(&status, field, message);
            (!told).then(|| format!("{what}: no \"{message}\" at {field}, but {}", status.message))
        }
    }
}

fn says(status: &Status, field: &str, message: &str) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice());
    let at_field = |causes: &[kube::core::response::StatusCause]| {
        causes
            .iter()
            .any(|cause| cause.field == field && cause.message.contains(message))
    };
    causes.is_some_and(at_field) || (field.is_empty() && status.message.contains(message))
}
