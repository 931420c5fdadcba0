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
         *A change* tells what TiProxy needs to take a new value over: `reload` (the running process takes it over), \
         `new\nconnections` (connections made afterwards have it), or `new Pod` (it is read once, at the start). This \
         version of the\noperator replaces the Pod for each of them; see `UnsupportedFields`.\n",
        MAX_CONFIG_BYTES / 1024,
    );
    for (section, text) in SECTIONS {
        let keys = KEYS.iter().filter(|key| !key.dead && section_of(key) == *section);
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {section}\n\n");
        if !text.is_empty() {
            let _ = write!(page, "{text}\n\n");
        }
        page.push_str("| Key | Takes | Default | A change | TiProxy | Notes |\n|---|---|---|---|---|---|\n");
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

fn row(key: &Key) -> String {
    let effect = match key.effect {
        Effect::Hot => "reload",
        Effect::NewConnections => "new connections",
        Effect::Start => "new Pod",
    };
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
        "| `{}` | {} | `{}` | {effect} | {versions} | {} |",
        key.path,
        key.kind.allowed(),
        key.default,
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
