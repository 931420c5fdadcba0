//! Waiting for something to come true.

use std::time::{Duration, Instant};

/// Between two looks at first; it grows, because many tests that look often slow each other down.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_millis(400);

/// Looks again and again until `look` gives a value; after `limit` the test fails with what was seen last.
///
/// `look` returns the value, or as an error a text that describes what it saw instead.
pub(crate) async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    let mut pause = LEAST_PAUSE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() >= limit => {
                panic!("not within {limit:?}: {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 5 / 4).min(MOST_PAUSE);
    }
}

/// The value when a condition holds, else what was seen: the usual end of a `look` of [`eventually`].
pub(crate) fn expect<T: std::fmt::Debug>(holds: bool, seen: T) -> Result<T, String> {
    if holds { Ok(seen) } else { Err(format!("{seen:?}")) }
}
