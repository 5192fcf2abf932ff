//! What every agent's program has in common: flags, the log, the pid file,
//! going to the background, enrolment, and what it asks of its host.

mod args;
mod daemonize;
mod enrolment;
mod first_config;
mod host;
mod logging;
mod pid_file;
mod program;

pub use args::{CommandLine, Mode, Usage, parse};
pub use enrolment::enroll;
pub use first_config::{first_config, room_for_config};
pub use host::{boot_id, node_name, own_identity};
pub use program::{execute_again, main, room_for, run, say, verdict};
