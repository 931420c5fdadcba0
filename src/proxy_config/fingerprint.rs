//! A short name for a configuration file.

use sha2::{Digest, Sha256};

/// A short text that two files share only if they are the same, byte for byte.
#[must_use]
pub fn fingerprint(toml: &str) -> String {
    let digest = Sha256::digest(toml);
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:016x}")
}
