//! What every agent's command line has in common: flags, the log, the pid
//! file, and going to the background.

mod args;
mod daemonize;
mod logging;
mod pid_file;

pub use args::{CommandLine, Mode, Usage, parse};
pub use daemonize::{Readiness, Side, daemonize, tighten_umask};
pub use logging::{LogFile, start as start_log};
pub use pid_file::PidFile;
