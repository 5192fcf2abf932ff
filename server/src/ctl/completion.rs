//! `polarisctl completion`: what a shell needs to complete words and options.

use super::args::Args;
use super::error::Error;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::{self, Write as _};

#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell
    pub shell: Shell,
}

impl Completion {
    /// Prints the script, for which no server is needed.
    pub fn print(&self) -> Result<bool, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "polarisctl", &mut script);
        io::stdout().write_all(&script)?;
        Ok(true)
    }
}
