//! TiProxy's configuration file: the user's TOML, checked, with the operator's part laid over it.
//!
//! [`parse`] reads the user's text and says what is wrong with it; [`render`] adds what is [`Managed`] and gives the
//! text for `config.toml`, always the same for the same content. Nothing here knows Kubernetes, and nothing here can
//! fail once a document is parsed.
//!
//! Three facts about TiProxy shape all of it: it ignores unknown keys without a word, so they
//! are warned about; it merges what it reads into what it runs with, so every managed key is always written and
//! [`tombstones`] stand in for keys that vanished; and it drops a file that it cannot use as a whole, so a document is
//! refused before it is written.

mod change;
mod check;
mod check_value;
mod combination;
mod diagnosis;
mod fingerprint;
mod hint;
mod in_effect;
mod index;
mod key;
mod key_table;
mod meaning;
mod overlay;
mod parse;
#[cfg(test)]
mod reference;
mod suggest;
mod text;
mod tombstone;
mod tree;
mod version;
mod write;

pub use change::{ConfigChange, classify};
pub use diagnosis::{Diagnosis, DiagnosisKind, Severity};
pub use fingerprint::fingerprint;
pub use in_effect::not_in_effect;
pub use key::{Effect, Key, Kind};
pub use key_table::KEYS;
pub use meaning::{label_path, meaning, text_in_meaning};
pub use overlay::{Managed, Tls, TlsFiles};
pub use text::MAX_CONFIG_BYTES;
pub use tombstone::{Tombstones, tombstones};
pub use version::{Since, isolates_by_label};

use diagnosis::Diagnoses;
use tree::Table;

/// A user's document that passed every check. Two are equal when they say the same, however they are written.
#[derive(Debug, Clone)]
pub struct UserConfig {
    root: Table,
    warnings: Vec<Diagnosis>,
}

impl PartialEq for UserConfig {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl UserConfig {
    /// What is ignored in the document, as far as the document alone tells. [`render`] knows more.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnosis] {
        &self.warnings
    }

    /// How long TiProxy waits after SIGTERM before it closes its SQL port (`proxy.graceful-wait-before-shutdown`).
    #[must_use]
    pub fn graceful_wait_seconds(&self) -> u32 {
        self.seconds("proxy.graceful-wait-before-shutdown", 0)
    }

    /// How long it then waits for transactions to end (`proxy.graceful-close-conn-timeout`).
    #[must_use]
    pub fn graceful_close_seconds(&self) -> u32 {
        self.seconds("proxy.graceful-close-conn-timeout", 15)
    }

    /// The file that TiProxy logs to, if not to its output. It has to be on a volume where the root is read-only.
    #[must_use]
    pub fn log_file(&self) -> Option<&str> {
        let name = tree::get(&self.root, "log.log-file.filename")?.value.as_text()?;
        (!name.is_empty()).then_some(name)
    }

    /// The label by which TiDBs are chosen (`balance.label-name`), if the document sets one.
    #[must_use]
    pub fn label_name(&self) -> Option<&str> {
        let name = tree::get(&self.root, "balance.label-name")?.value.as_text()?;
        (!name.is_empty()).then_some(name)
    }

    /// One of the labels that the document sets.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        tree::get(&self.root, "labels")?
            .value
            .as_table()?
            .get(name)?
            .value
            .as_text()
    }

    fn seconds(&self, path: &str, default: u32) -> u32 {
        let given = tree::get(&self.root, path).and_then(|node| node.value.as_integer());
        // TiProxy takes less than 0 as 0.
        given.map_or(default, |seconds| {
            u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
        })
    }
}

/// A configuration file and what to tell its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text of `config.toml`: TOML 1.0, every managed key in it.
    pub toml: String,
    /// What of the user's document is overridden or has no effect.
    pub warnings: Vec<Diagnosis>,
}

/// Reads a user's document.
///
/// # Errors
///
/// All that is wrong with it, in the order of the text: syntax (only the first fault), types, ranges and combinations
/// with which TiProxy would not start or would do harm. Positions are in the given text.
pub fn parse(text: &str) -> Result<UserConfig, Vec<Diagnosis>> {
    let mut root = parse::document(text).map_err(|error| vec![error])?;
    let mut found = Diagnoses::default();
    check::check(&mut root, &mut found);
    combination::check(&root, &mut found);
    let warnings = found.into_result()?;
    Ok(UserConfig { root, warnings })
}

/// The configuration file for one TiProxy. A pure function of its inputs, byte for byte.
#[must_use]
pub fn render(user: &UserConfig, managed: &Managed) -> Rendered {
    let mut found = Diagnoses::default();
    let mut whole = user.root.clone();
    overlay::overlay(&mut whole, managed, &mut found);
    combination::warn(&user.root, &whole, managed, &mut found);
    let warnings = found.into_warnings(&user.warnings);
    Rendered {
        toml: write::document(&whole),
        warnings,
    }
}
