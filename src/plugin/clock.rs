//! The one place where plugins read the clock: a query is asked once, by a
//! process of its own, so its edge hands the time to what works with it.

use std::time::SystemTime;

#[allow(clippy::disallowed_methods, reason = "this is the plugins' one place")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
