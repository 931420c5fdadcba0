//! The order of resourceVersions.

/// A resourceVersion that has an order. Kubernetes promises one since 1.35 and always had it for what etcd holds;
/// an aggregated API server may do otherwise, and then there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceVersion(u64);

impl ResourceVersion {
    /// `None` when the text is no number, so that nothing is concluded from it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // `u64::from_str` also takes a leading `+`, which no server writes.
        if text.starts_with('+') {
            None
        } else {
            text.parse().ok().map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_an_order_and_the_rest_has_none() {
        assert!(ResourceVersion::parse("9") < ResourceVersion::parse("10"));
        assert_eq!(
            ResourceVersion::parse("18446744073709551615"),
            Some(ResourceVersion(u64::MAX))
        );
        for text in ["", "abc", "+1", "-1", "1.5", "18446744073709551616"] {
            assert_eq!(ResourceVersion::parse(text), None, "{text}");
        }
    }
}
