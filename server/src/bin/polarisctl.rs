//! `polarisctl`: an operator's command line. See [`polaris::ctl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    polaris::ctl::main()
}
