//! Waiting for something to come true.

use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until it is so, and returns what was found; the error says what was seen instead.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > PATIENCE => {
                panic!("not within {PATIENCE:?}: {what}; seen: {seen}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The value when it is as it should be, else what it is.
pub fn expect<T: std::fmt::Debug>(holds: bool, seen: T) -> Result<T, String> {
    if holds { Ok(seen) } else { Err(format!("{seen:?}")) }
}
