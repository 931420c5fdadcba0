//! What can go wrong with a watch, and how often it is said.

use std::fmt;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;
use tokio::time::Instant;

use super::error_chain::with_sources;

/// How long the same fault may go on before it is logged again.
const REPEAT_AFTER: Duration = Duration::from_mins(10);

/// Why a watch does not work, from the view of whoever must mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server no longer has the events that we missed. A list follows: the normal course of things.
    Expired,
    /// Our service account lacks a right.
    Forbidden,
    /// The credentials were refused.
    Unauthorized,
    /// The server does not know the kind.
    NotServed,
    /// What the server sent could not be understood.
    Undecodable,
    /// The server was not reached, or the connection broke.
    Unreachable,
    /// The server answered with another error.
    Server,
}

impl Fault {
    pub(crate) fn of(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of_client(error),
            watcher::Error::WatchError(status) => Self::of_code(status.code),
            watcher::Error::NoResourceVersion => Self::Undecodable,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other errors of the client are failures to reach the server"
    )]
    fn of_client(error: &kube::Error) -> Self {
        match error {
            // kube takes any object that it cannot read off a watch for a status, and finds an empty one.
            kube::Error::Api(status) if **status == Status::default() => Self::Undecodable,
            kube::Error::Api(status) => Self::of_code(status.code),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Undecodable,
            _ => Self::Unreachable,
        }
    }

    fn of_code(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotServed,
            410 => Self::Expired,
            _ => Self::Server,
        }
    }

    /// The label of this fault in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::NotServed => "not_served",
            Self::Undecodable => "undecodable",
            Self::Unreachable => "unreachable",
            Self::Server => "server",
        }
    }

    /// What the reader of the log can do.
    fn advice(self) -> &'static str {
        match self {
            Self::Expired => "nothing to do: all objects are listed again",
            Self::Forbidden => {
                "grant the operator's service account the verbs get, list and watch on this resource (see config/rbac)"
            }
            Self::Unauthorized => "check the operator's credentials and the clock of its node",
            Self::NotServed => "install the CustomResourceDefinition of this kind",
            Self::Undecodable => {
                "check that the operator's version fits the installed CustomResourceDefinitions"
            }
            Self::Unreachable => "check that the API server is up and that the operator may reach it",
            Self::Server => "see the API server's message",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Says each fault of one watch once, when it begins, and again only when it has gone on for long.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    last: Option<(Fault, Instant)>,
}

impl Complaints {
    /// Whether this fault is worth a line in the log.
    fn is_news(&mut self, fault: Fault, now: Instant) -> bool {
        let known = self
            .last
            .is_some_and(|(last, said)| last == fault && now < said + REPEAT_AFTER);
        if !known {
            self.last = Some((fault, now));
        }
        !known
    }

    /// Logs the error if it is news.
    pub(crate) fn failed(&mut self, kind: &str, fault: Fault, error: &watcher::Error) {
        let is_news = self.is_news(fault, Instant::now());
        if !is_news || fault == Fault::Expired {
            tracing::debug!(kind, reason = %fault, %error, "watch failed");
        } else {
            tracing::warn!(kind, reason = %fault, advice = fault.advice(), error = message(error), "watch failed");
        }
    }

    /// Notes that the watch delivers again, and logs it if a fault was logged before.
    pub(crate) fn works(&mut self, kind: &str) {
        if self.last.take().is_some_and(|(fault, _)| fault != Fault::Expired) {
            tracing::info!(kind, "watch works again");
        }
    }
}

/// The server's own words where there are some: kube's `Display` of them adds a debug dump.
fn message(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => with_sources(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        let list = |code| watcher::Error::InitialListFailed(kube::Error::Api(status(code)));
        let status_of_watch = |code| watcher::Error::WatchError(status(code));
        let undecodable = serde_json::from_str::<u8>("x").unwrap_err();
        for (error, expected) in [
            (list(401), Fault::Unauthorized),
            (list(403), Fault::Forbidden),
            (list(404), Fault::NotServed),
            (list(500), Fault::Server),
            (status_of_watch(410), Fault::Expired),
            (
                watcher::Error::WatchFailed(kube::Error::Api(Box::default())),
                Fault::Undecodable,
            ),
            (
                watcher::Error::WatchFailed(kube::Error::SerdeError(undecodable)),
                Fault::Undecodable,
            ),
            (
                watcher::Error::WatchStartFailed(kube::Error::Service("refused".into())),
                Fault::Unreachable,
            ),
        ] {
            assert_eq!(Fault::of(&error), expected, "{error}");
            assert!(!expected.advice().is_empty());
        }
        assert_eq!(message(&list(403)), "the server's words");
    }

    fn status(code: u16) -> Box<Status> {
        Status::failure("the server's words", "").with_code(code).boxed()
    }

    #[test]
    fn a_fault_is_said_once_until_it_changes_or_goes_on_for_long() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut is_news = |fault, seconds| complaints.is_news(fault, start + Duration::from_secs(seconds));
        assert!(is_news(Fault::Forbidden, 0));
        assert!(!is_news(Fault::Forbidden, 30));
        assert!(is_news(Fault::Unreachable, 60));
        assert!(is_news(Fault::Forbidden, 90));
        assert!(!is_news(Fault::Forbidden, 600));
        assert!(is_news(Fault::Forbidden, 690));
    }
}
