//! Named steps at which a daemon can be made to die, for the crash tests.
//!
//! `TWINSEAL_FAILPOINT=NAME` or `NAME:COUNT` in a daemon's environment aborts it, without any clean-up, the first (or
//! the COUNT-th) time that it passes [`hit`]`(NAME)`. Without the variable a step costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Armed {
    name: String,
    left: AtomicU64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

fn armed() -> Option<&'static Armed> {
    ARMED
        .get_or_init(|| {
            let text = std::env::var("TWINSEAL_FAILPOINT").ok()?;
            let (name, count) = match text.split_once(':') {
                Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
                None => (text, 1),
            };
            Some(Armed { name, left: AtomicU64::new(count) })
        })
        .as_ref()
}

/// Passes the step `name`; aborts the process when it is the one that was asked for.
pub fn hit(name: &str) {
    if let Some(point) = armed()
        && point.name == name
        && point.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        tracing::error!(failpoint = name, "dying here, as asked");
        std::process::abort();
    }
}
