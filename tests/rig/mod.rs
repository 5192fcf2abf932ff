//! The real thing, small: the built agent in a throw-away folder, and a tiny
//! Polaris on loopback that a test leads by the hand.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(
    clippy::disallowed_methods,
    reason = "real processes take real time, and a server of the test's own"
)]
#![allow(clippy::print_stderr, reason = "a test that fails shows the agent's log")]

pub mod agent;
pub mod boot;
pub mod daemons;
pub mod pki;
pub mod plugins;
pub mod polaris;
pub mod process;

use agent::{Agent, Host};
use pki::Ca;
use polaris::{Link, Polaris};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine before a test gives it up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until there is something, and fails the test where
/// nothing ever is.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s in vain for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An agent with its link up. Fields end in this order.
pub struct Connected {
    pub link: Link,
    pub agent: Agent,
    pub host: Host,
    pub polaris: Polaris,
}

/// Starts an agent with these lines in `[exec]`, and answers its `init`.
pub fn connected(exec: &str) -> Connected {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), exec);
    let agent = host.start();
    let link = polaris.ready();
    Connected { link, agent, host, polaris }
}

/// Says what this machine did not let a test see, to people and not to the
/// test harness, which keeps what tests that pass have printed to itself.
pub fn aloud(text: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SEEN: {text}");
}

/// Only root can run commands as others; what a test can show as somebody else
/// it says aloud.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
