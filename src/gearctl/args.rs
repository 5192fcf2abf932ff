//! gearctl's command line.

use super::{COMMANDS, Command};
use crate::cli::Usage;
use getopts::Options;
use std::path::PathBuf;

const PROGRAM: &str = "gearctl";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// `-h`: the text to print.
    Help(String),
    /// `-V`
    Version,
    Command(CommandLine),
}

#[derive(Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// `-c`, which may be no command's name.
    pub command: String,
    /// `-a`
    pub arguments: Option<String>,
    /// `-C`: gearman's configuration.
    pub config: Option<PathBuf>,
    /// `-s`: the agent's control socket.
    pub socket: Option<PathBuf>,
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// [`Usage`]
pub fn parse(arguments: &[String]) -> Result<Asked, Usage> {
    let wrong = |reason: String| Usage { program: PROGRAM.into(), reason };
    let options = options();
    let matches = options.parse(arguments).map_err(|e| wrong(e.to_string()))?;
    if let Some(stray) = matches.free.first() {
        return Err(wrong(format!("unexpected argument {stray:?}")));
    }
    if matches.opt_present("h") {
        return Ok(Asked::Help(help(&options)));
    }
    if matches.opt_present("V") {
        return Ok(Asked::Version);
    }
    Ok(Asked::Command(CommandLine {
        command: matches.opt_str("c").ok_or_else(|| wrong("-c COMMAND is missing".into()))?,
        arguments: matches.opt_str("a"),
        config: matches.opt_str("C").map(PathBuf::from),
        socket: matches.opt_str("s").map(PathBuf::from),
    }))
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("C", "", "gearman's configuration (/etc/cargo/gearman.conf)", "FILE");
    options.optopt("c", "", "what to do", "COMMAND");
    options.optopt("a", "", "what the command asks for", "ARGUMENTS");
    options.optopt("s", "", "the agent's control socket, instead of the configured one", "SOCKET");
    options.optflag("h", "", "this help");
    options.optflag("V", "", "version");
    options
}

fn help(options: &Options) -> String {
    let brief = format!("Usage: {PROGRAM} [-C FILE] -c COMMAND [-a ARGUMENTS] [-s SOCKET] [-h] [-V]");
    let line = |name: &str, summary: &str| format!("    {name:14}{summary}\n");
    let commands: String = COMMANDS.iter().map(|Command { name, summary, .. }| line(name, summary)).collect();
    let query = line("getinfo.NAME", "what the host is: users, kernel, disk, ...; see cargo-getinfo(5)");
    format!("{}\nCommands:\n{query}{commands}\nSee {PROGRAM}(1).\n", options.usage(&brief))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Asked, Usage> {
        parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn every_flag_is_taken() {
        let line = asked(&["-C", "/c", "-c", "cron.next", "-a", "* * * * *", "-s", "/s"]).unwrap();
        let expected = CommandLine {
            command: "cron.next".into(),
            arguments: Some("* * * * *".into()),
            config: Some("/c".into()),
            socket: Some("/s".into()),
        };
        assert_eq!(line, Asked::Command(expected));
        assert_eq!(asked(&["-V"]).unwrap(), Asked::Version);
        let Asked::Help(help) = asked(&["-h"]).unwrap() else { panic!("no help") };
        for word in ["-C", "-c", "-a", "-s", "-h", "-V", "cron.next"] {
            assert!(help.contains(word), "{word} is not in the help");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, word) in
            [(&[][..], "-c"), (&["-x"], "x"), (&["-c"], "c"), (&["-c", "cron.next", "stray"], "stray")]
        {
            let error = asked(arguments).unwrap_err().to_string();
            assert!(error.starts_with("gearctl: ") && error.contains(word), "{arguments:?}: {error}");
        }
    }
}
