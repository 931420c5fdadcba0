//! Which versions of TiProxy know a key.
//!
//! The version numbers mislead: v1.3.x up to v1.3.2 and the branch `release-1.3` are one line,
//! v1.3.3-beta.2 was cut from `main`, v1.4.0-beta.1 is older than v1.3.1 in several features, and the newest line is
//! called v26. This table was read from the `toml` tags of `lib/config` at each tag.

/// From where on a key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Since {
    /// In every version.
    V1_0,
    /// v1.1.0.
    V1_1,
    /// v1.2.0.
    V1_2,
    /// v1.3.1.
    V1_3_1,
    /// v1.4.0-beta.1, the v1.4.0-nextgen line and v26, but not the v1.3 line.
    V1_4Beta,
    /// v1.4.0-nextgen.202510.0 and v26, but not the v1.3 line.
    Nextgen,
    /// v1.4.0-nextgen.202510.2 and v26, but not the v1.3 line.
    Nextgen2,
    /// v1.4.0-nextgen.202510.4, v26 and the v1.3 line after v1.3.2.
    Nextgen4AndV1_3_3,
    /// v1.4.0-nextgen.202510.5, v26 and the v1.3 line after v1.3.2.
    Nextgen5AndV1_3_3,
    /// v1.4.0-nextgen.202510.7 and v26, but not the v1.3 line.
    Nextgen7,
    /// v1.4.0-nextgen.202510.7, v26 and the v1.3 line after v1.3.2.
    Nextgen7AndV1_3_3,
    /// v26.3.0 and the v1.3 line after v1.3.2.
    V26AndV1_3_3,
    /// The line after v26.3.1 and the v1.3 line after v1.3.2.
    AfterV26_3_1,
}

impl Since {
    /// The versions as they stand in a sentence after "needs TiProxy".
    #[must_use]
    pub fn versions(self) -> &'static str {
        match self {
            Self::V1_0 => "v1.0.0 or later",
            Self::V1_1 => "v1.1.0 or later",
            Self::V1_2 => "v1.2.0 or later",
            Self::V1_3_1 => "v1.3.1 or later",
            Self::V1_4Beta => "v1.4.0-beta.1, v1.4.0-nextgen.202510.0, or v26.3.0 or later",
            Self::Nextgen => "v1.4.0-nextgen.202510.0, or v26.3.0 or later",
            Self::Nextgen2 => "v1.4.0-nextgen.202510.2, or v26.3.0 or later",
            Self::Nextgen4AndV1_3_3 => "v1.4.0-nextgen.202510.4, v1.3.3, or v26.3.0 or later",
            Self::Nextgen5AndV1_3_3 => "v1.4.0-nextgen.202510.5, v1.3.3, or v26.3.0 or later",
            Self::Nextgen7 => "v1.4.0-nextgen.202510.7, or v26.3.0 or later",
            Self::Nextgen7AndV1_3_3 => "v1.4.0-nextgen.202510.7, v1.3.3, or v26.3.0 or later",
            Self::V26AndV1_3_3 => "v1.3.3, or v26.3.0 or later",
            Self::AfterV26_3_1 => "v1.3.3, or later than v26.3.1",
        }
    }

    /// Whether a version such as `v1.3.2` knows the key. None where that cannot be told from the number: a version
    /// that did not exist when this table was made, or none at all.
    #[must_use]
    pub fn is_in(self, version: &str) -> Option<bool> {
        let version = Version::parse(version)?;
        match version.line()? {
            Line::V1 => Some(match self {
                Self::V1_0 => true,
                Self::V1_1 => version.number >= (1, 1, 0),
                Self::V1_2 => version.number >= (1, 2, 0),
                Self::V1_3_1 => version.number >= (1, 3, 1),
                Self::Nextgen4AndV1_3_3
                | Self::Nextgen5AndV1_3_3
                | Self::Nextgen7AndV1_3_3
                | Self::V26AndV1_3_3
                | Self::AfterV26_3_1 => version.number >= (1, 3, 3),
                Self::V1_4Beta | Self::Nextgen | Self::Nextgen2 | Self::Nextgen7 => false,
            }),
            Line::V1_4Beta => Some(self <= Self::V1_4Beta),
            Line::Nextgen(build) => Some(match self {
                Self::Nextgen2 => build >= 2,
                Self::Nextgen4AndV1_3_3 => build >= 4,
                Self::Nextgen5AndV1_3_3 => build >= 5,
                Self::Nextgen7 | Self::Nextgen7AndV1_3_3 => build >= 7,
                Self::V26AndV1_3_3 | Self::AfterV26_3_1 => false,
                Self::V1_0 | Self::V1_1 | Self::V1_2 | Self::V1_3_1 | Self::V1_4Beta | Self::Nextgen => true,
            }),
            Line::V26 if self == Self::AfterV26_3_1 => (version.number <= (26, 3, 1)).then_some(false),
            Line::V26 => Some(true),
        }
    }
}

/// Whether a version such as `v1.3.2` keeps clients from TiDBs that do not carry its label (`balance.label-name`);
/// older ones only prefer those that do. A version that cannot be told counts as a newer one.
#[must_use]
pub fn isolates_by_label(version: &str) -> bool {
    let Some(version) = Version::parse(version) else {
        return true;
    };
    match version.line() {
        Some(Line::V1) => version.number >= (1, 3, 1),
        Some(Line::V1_4Beta) => false,
        Some(Line::Nextgen(_) | Line::V26) | None => true,
    }
}

/// The lines of development that a version number can belong to.
enum Line {
    /// v1.0 to v1.3, released versions only.
    V1,
    V1_4Beta,
    /// v1.4.0-nextgen.202510.N.
    Nextgen(u64),
    V26,
}

struct Version<'text> {
    number: (u64, u64, u64),
    pre_release: &'text str,
}

impl<'text> Version<'text> {
    fn parse(text: &'text str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let (number, pre_release) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = number.split('.').map(|part| part.parse().ok());
        let number = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Self { number, pre_release })
    }

    fn line(&self) -> Option<Line> {
        match (self.number, self.pre_release) {
            ((1, 0..=3, _), "") => Some(Line::V1),
            ((1, 4, 0), "beta.1") => Some(Line::V1_4Beta),
            ((1, 4, 0), nextgen) => Some(Line::Nextgen(
                nextgen.strip_prefix("nextgen.202510.")?.parse().ok()?,
            )),
            (number, "") if number >= (26, 3, 0) => Some(Line::V26),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_isolates_from_v1_3_1_on() {
        for (version, isolates) in [
            ("v1.1.0", false),
            ("v1.3.0", false),
            ("v1.3.1", true),
            ("v1.3.2", true),
            ("v1.4.0-beta.1", false),
            ("v1.4.0-nextgen.202510.0", true),
            ("v26.3.1", true),
            ("nightly", true),
        ] {
            assert_eq!(isolates_by_label(version), isolates, "{version}");
        }
    }

    #[test]
    fn the_lines_are_told_apart() {
        use Since::*;
        for (since, version, known) in [
            (V1_0, "v1.0.0", Some(true)),
            (V1_1, "v1.0.0", Some(false)),
            (V1_3_1, "1.3.2", Some(true)),
            (V1_3_1, "v1.4.0-beta.1", Some(true)),
            (V1_4Beta, "v1.3.2", Some(false)),
            (V1_4Beta, "v1.4.0-beta.1", Some(true)),
            (Nextgen, "v1.4.0-beta.1", Some(false)),
            (Nextgen, "v1.4.0-nextgen.202510.3", Some(true)),
            (Nextgen2, "v1.4.0-nextgen.202510.1", Some(false)),
            (Nextgen2, "v1.4.0-nextgen.202510.2", Some(true)),
            (Nextgen2, "v1.3.3", Some(false)),
            (Nextgen4AndV1_3_3, "v1.4.0-nextgen.202510.3", Some(false)),
            (Nextgen4AndV1_3_3, "v1.4.0-nextgen.202510.4", Some(true)),
            (Nextgen4AndV1_3_3, "v1.4.0-beta.1", Some(false)),
            (Nextgen5AndV1_3_3, "v1.4.0-nextgen.202510.4", Some(false)),
            (Nextgen5AndV1_3_3, "v1.4.0-nextgen.202510.5", Some(true)),
            (Nextgen5AndV1_3_3, "v1.3.3", Some(true)),
            (Nextgen5AndV1_3_3, "v26.3.0", Some(true)),
            (Nextgen7, "v1.4.0-nextgen.202510.3", Some(false)),
            (Nextgen7, "v1.4.0-nextgen.202510.7", Some(true)),
            (Nextgen7, "v26.3.0", Some(true)),
            (Nextgen7AndV1_3_3, "v1.3.2", Some(false)),
            (Nextgen7AndV1_3_3, "v1.3.3", Some(true)),
            (V26AndV1_3_3, "v1.4.0-nextgen.202510.7", Some(false)),
            (AfterV26_3_1, "v26.3.1", Some(false)),
            (AfterV26_3_1, "v26.4.0", None),
            (V1_1, "v1.3.3-beta.2", None),
            (V1_0, "nightly", None),
            (V1_0, "v1.3", None),
            (V1_0, "v2.0.0", None),
            (V1_0, "", None),
        ] {
            assert_eq!(since.is_in(version), known, "{since:?} in {version}");
        }
    }
}
