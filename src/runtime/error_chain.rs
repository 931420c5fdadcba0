//! Errors with their causes.

/// The error and all its sources, in one line. What a message has told already is not told again.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // kube's own messages repeat their source.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn all_causes_are_told_once() {
        let root = Layer("connection refused", None);
        let repeated = Layer("client error (Connect)", Some(Box::new(root)));
        let error = Layer("no answer: client error (Connect)", Some(Box::new(repeated)));
        assert_eq!(
            with_sources(&error),
            "no answer: client error (Connect): connection refused"
        );
    }
}
