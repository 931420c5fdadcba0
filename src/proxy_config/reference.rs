//! `docs/reference/configuration.md`, written from the key table. `./hack/generate.sh` writes the page, and the test
//! here fails when it is not what the table says.

use std::fmt::Write as _;

use super::key::{Effect, Key};
use super::key_table::KEYS;
use super::text::{MAX_CONFIG_BYTES, MAX_NESTING};
use super::version::Since;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/configuration.md");
/// With this variable the test writes the page instead of comparing it.
const WRITE: &str = "TIPROXY_OPERATOR_WRITE_REFERENCE";

/// The versions that are asked for what they run with.
const V1_3: &str = "v1.3.2";
const V26: &str = "v26.3.1";
/// Keys that fields set, and whose change a running TiProxy takes over.
const FOLLOWED_FIELDS: [&str; 3] = ["labels", "balance.label-name", "enable-traffic-replay"];

/// The sections as they stand on the page, with what is said before their table.
const SECTIONS: &[(&str, &str)] = &[
    ("proxy", ""),
    ("api", ""),
    ("log", ""),
    ("labels", ""),
    ("balance", ""),
    ("enable-traffic-replay", ""),
    ("security", ""),
    (
        "metering",
        "Values of these keys may be secrets, so they stand in no message. They are in the ConfigMap as written.",
    ),
    ("ha", ""),
];

fn page() -> String {
    let mut page = format!(
        "<!-- Written by ./hack/generate.sh from src/proxy_config/key_table.rs; do not edit. -->\n\
         # TiProxy's configuration\n\
         \n\
         `spec.template.spec.config` is TOML, the base of `config.toml`. The operator checks it, lays its own keys over \
         it, and writes\nthe result into the ConfigMap of each TiProxy. \
         `tiproxy-operator render -f group.yaml` shows the result and everything\nthat would be said of it, without a \
         cluster.\n\
         \n\
         - **An error** (not TOML, a wrong type, a value out of range, settings that do not go together) stalls the \
         group with the\n  reason `InvalidSpec`, with line and column. Running Pods keep what they have.\n\
         - **A warning** stands in the condition `ConfigWarnings`: a key that the operator overrides, that no TiProxy \
         knows, or\n  that has no effect.\n\
         - At most {} KiB, and tables and arrays at most {MAX_NESTING} deep in one another.\n\
         - TOML 1.1 is read, and TOML 1.0 is written, which every TiProxy understands.\n\
         \n\
         *A change* tells what the operator does for a new value: `reload` (the running process takes it over), `new\nconnections` \
         (it does, and connections made afterwards have it), `new Pod` (it is read once, at the start), or `nothing` \
         (it has no\neffect). A key that is removed goes back to its default in the same way. Where several keys change, \
         one that needs a new Pod\ndecides. Keys that no known TiProxy reads ask for nothing. With \
         `updateStrategy.config: Restart`, `reload` and `new\nconnections` ask for a new Pod as well.\n\
         \n\
         *In effect afterwards* names the versions that were asked for what they run with after a change, the way back, and the\nremoval \
         of the key: {V1_3} and {V26}, each by the process that had run before or by a new one, as the column before \
         says.\nThe test is `tests/standin/tests/conformance/key.rs`; a version that is not named does not know the key.\n",
        MAX_CONFIG_BYTES / 1024,
    );
    for (section, text) in SECTIONS {
        let keys = KEYS.iter().filter(|key| !key.dead && section_of(key) == *section);
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {section}\n\n");
        if !text.is_empty() {
            let _ = write!(page, "{text}\n\n");
        }
        page.push_str("| Key | Takes | Default | A change | In effect afterwards | TiProxy | Notes |\n|---|---|---|---|---|---|---|\n");
        for key in keys {
            let _ = writeln!(page, "{}", row(key));
        }
    }
    page.push_str(
        "\n## Keys of the past\n\nThey are warned about, and remain in the text as written.\n\n| Key | Why |\n|---|---|\n",
    );
    for key in KEYS.iter().filter(|key| key.dead) {
        let _ = writeln!(page, "| `{}` | {} |", key.path, key.note);
    }
    page
}

fn section_of(key: &Key) -> &'static str {
    key.path.split_once('.').map_or(key.path, |(section, _)| section)
}

/// What a change of the key asks for, by way of the field that sets it if one does.
fn change(key: &Key) -> &'static str {
    let by_field = key.managed.is_some() && !FOLLOWED_FIELDS.contains(&key.path);
    match key.effect {
        _ if key.ineffective.is_some() => "nothing",
        Effect::Start => "new Pod",
        Effect::Hot | Effect::NewConnections if by_field => "new Pod",
        Effect::Hot => "reload",
        Effect::NewConnections => "new connections",
    }
}

/// The versions in which the new value was found.
fn in_effect(key: &Key) -> String {
    let knows = |version: &&str| key.since.is_in(version) == Some(true);
    let versions: Vec<&str> = [V1_3, V26].into_iter().filter(knows).collect();
    if versions.is_empty() || key.ineffective.is_some() {
        "—".to_owned()
    } else {
        versions.join(", ")
    }
}

fn row(key: &Key) -> String {
    let versions = if key.since == Since::V1_0 {
        "all"
    } else {
        key.since.versions()
    };
    let managed = key.managed.map(|field| match field {
        "" => "Set by the operator, to the DNS name of each Pod.".to_owned(),
        field if field.starts_with("spec.") && !field.contains(' ') => {
            format!("Set by the operator: use `{field}`.")
        }
        field => format!("Set by the operator: use {field}."),
    });
    let ineffective = key.ineffective.map(|why| format!("Has no effect: {why}."));
    let note = Some(key.note.to_owned()).filter(|note| !note.is_empty());
    let notes: Vec<String> = [managed, ineffective, note].into_iter().flatten().collect();
    format!(
        "| `{}` | {} | `{}` | {} | {} | {versions} | {} |",
        key.path,
        key.kind.allowed(),
        key.default,
        change(key),
        in_effect(key),
        notes.join(" "),
    )
}

#[test]
fn the_page_is_what_the_table_says() {
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PAGE, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    for (number, (is, should)) in written.lines().zip(page.lines()).enumerate() {
        let line = number + 1;
        assert_eq!(is, should, "line {line} of {PAGE}: run ./hack/generate.sh");
    }
    assert!(written == page, "{PAGE} is not complete: run ./hack/generate.sh");
}

#[test]
fn every_section_of_the_table_is_on_the_page() {
    for key in KEYS.iter().filter(|key| !key.dead) {
        let section = section_of(key);
        assert!(SECTIONS.iter().any(|(name, _)| *name == section), "{section}");
    }
}
