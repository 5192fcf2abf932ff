//! gearctl, the host's own command line. See gearctl(1).

use anyhow::Context as _;
use aspire::gearctl::{self, Asked, CommandLine, Doing};
use aspire::reactor::{Clock, Reactor, wall_clock};
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into()).collect();
    let text = match gearctl::parse(&arguments) {
        Ok(Asked::Help(text)) => text.trim_end().to_owned(),
        Ok(Asked::Version) => gearctl::version(),
        Ok(Asked::Command(line)) => match answer(&line) {
            Ok(answer) => answer,
            Err(reason) => return complain(&format!("gearctl: {reason:#}"), ExitCode::FAILURE),
        },
        Err(usage) => return complain(&usage.to_string(), ExitCode::from(2)),
    };
    match writeln!(std::io::stdout(), "{text}") {
        // A reader that has gone is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("gearctl: standard output: {error}"), ExitCode::FAILURE)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn answer(line: &CommandLine) -> anyhow::Result<String> {
    match gearctl::run(wall_clock(), line)? {
        Doing::Answer(answer) => Ok(answer),
        Doing::Ask(mut asking) => {
            let reactor =
                Reactor::new(Clock::new(), Box::new(|| {})).context("cannot make the event loop")?;
            reactor.run(&mut *asking)?;
            Ok(asking.answer()?)
        }
    }
}

fn complain(text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}
