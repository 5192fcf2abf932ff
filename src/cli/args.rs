//! The flags of interfaces.md section 2, the same for every agent.

use crate::wire::boot::BootJob;
use crate::wire::enroll::Token;
use crate::wire::server_list::{self, Server};
use getopts::{Matches, Options};
use log::LevelFilter;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The agent that looks after the others.
const BOOT: &str = "boot";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub mode: Mode,
    /// `-f`: stay in the foreground.
    pub foreground: bool,
    /// `-C`, or the default.
    pub config: PathBuf,
    /// `-C` was given, so the file must be there.
    pub config_was_named: bool,
    /// `-L`; `None` is standard error.
    pub log: Option<PathBuf>,
    /// `-P`.
    pub pid_file: PathBuf,
    /// `-l`.
    pub level: LevelFilter,
    /// `-S`, which is a server list.
    pub servers: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Mode {
    Run,
    /// `-t`
    Check,
    /// `-h`: the text to print.
    Help(String),
    /// `-V`
    Version,
    /// `--enroll HOST:PORT --token TOKEN`
    Enroll {
        server: Server,
        token: Token,
        /// `--install NAME`, as often as there are agents that the host is to have: boot alone has it.
        install: Vec<String>,
    },
    /// `--take-over PLAN`: how boot starts itself to be replaced, which is for nobody else.
    TakeOver(PathBuf),
}

/// The command line is wrong; exit status 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{program}: {reason}\nTry '{program} -h'.")]
pub struct Usage {
    pub program: String,
    pub reason: String,
}

/// Reads the arguments, without the program's name, of the agent `program`.
/// Paths become absolute.
///
/// # Errors
/// [`Usage`]
pub fn parse(program: &str, arguments: &[String]) -> Result<CommandLine, Usage> {
    let wrong = |reason: String| Usage { program: program.into(), reason };
    let shown = options(program);
    let mut known = options(program);
    if program == BOOT {
        // The one flag that is in no help.
        known.optopt("", "take-over", "", "PLAN");
    }
    let matches = known.parse(arguments).map_err(|e| wrong(e.to_string()))?;
    if let Some(stray) = matches.free.first() {
        return Err(wrong(format!("unexpected argument {stray:?}")));
    }
    let path = |flag: &str, default: &str| -> Result<PathBuf, Usage> {
        let given = matches.opt_str(flag).unwrap_or_else(|| default.into());
        std::path::absolute(&given).map_err(|e| wrong(format!("-{flag} {given:?}: {e}")))
    };
    let foreground = matches.opt_present("f");
    let log = match matches.opt_str("L").as_deref() {
        Some("-") => None,
        _ => Some(path("L", &format!("/var/log/cargo/{program}.log"))?),
    };
    let mode = mode(program, &matches, &shown).map_err(wrong)?;
    let runs = mode == Mode::Run || program == BOOT && matches!(mode, Mode::Enroll { .. });
    if runs && log.is_none() && !foreground {
        return Err(wrong("-L - needs -f: a daemon has no standard error".into()));
    }
    let servers = matches.opt_str("S");
    if let Some(list) = &servers {
        server_list::parse(list).map_err(|e| wrong(format!("-S: {e}")))?;
    }
    Ok(CommandLine {
        mode,
        foreground,
        config: path("C", &format!("/etc/cargo/{program}.conf"))?,
        config_was_named: matches.opt_present("C"),
        log,
        pid_file: path("P", &format!("/var/run/cargo/{program}.pid"))?,
        level: level(matches.opt_str("l").as_deref()).map_err(wrong)?,
        servers,
    })
}

fn mode(program: &str, matches: &Matches, options: &Options) -> Result<Mode, String> {
    if matches.opt_present("h") {
        return Ok(Mode::Help(help(program, options)));
    }
    if matches.opt_present("V") {
        return Ok(Mode::Version);
    }
    if program == BOOT
        && let Some(plan) = matches.opt_str("take-over")
    {
        return Ok(Mode::TakeOver(plan.into()));
    }
    let install = if program == BOOT { matches.opt_strs("install") } else { Vec::new() };
    match (matches.opt_str("enroll"), matches.opt_str("token")) {
        (Some(server), Some(token)) => Ok(Mode::Enroll {
            server: server_list::entry(&server).map_err(|e| format!("--enroll: {e}"))?,
            token: token.parse().map_err(|e| format!("--token: {e}"))?,
            install: install.into_iter().map(agent).collect::<Result<_, _>>()?,
        }),
        (None, None) if !install.is_empty() => Err("--install goes with --enroll".into()),
        (Some(_), None) => Err("--enroll needs --token".into()),
        (None, Some(_)) => Err("--token goes with --enroll".into()),
        (None, None) if matches.opt_present("t") => Ok(Mode::Check),
        (None, None) => Ok(Mode::Run),
    }
}

/// A name that a job for an agent may have.
fn agent(name: String) -> Result<String, String> {
    let job = json!({"id": "install", "action": "start", "name": name});
    BootJob::parse(&job.to_string()).map_err(|bad| format!("--install: {bad}"))?;
    Ok(name)
}

fn options(program: &str) -> Options {
    let mut options = Options::new();
    options.optflag("f", "", "don't fork to the background");
    options.optopt("C", "", &format!("configuration (/etc/cargo/{program}.conf)"), "FILE");
    let log = format!("log, '-' is standard error (/var/log/cargo/{program}.log); re-opened on SIGHUP");
    options.optopt("L", "", &log, "FILE");
    options.optopt("P", "", &format!("pid file (/var/run/cargo/{program}.pid)"), "FILE");
    options.optopt("l", "", "error, warn, info, debug or trace (info)", "LEVEL");
    options.optopt("S", "", "host[:port],host[:port] instead of the configured servers", "LIST");
    options.optflag("t", "", "check the configuration: Success or Failed!!!");
    options.optflag("h", "", "this help");
    options.optflag("V", "", "version");
    options.optopt("", "enroll", "ask this server for the host's certificate, with --token", "HOST:PORT");
    options.optopt("", "token", "what `polarisctl token create` printed", "TOKEN");
    if program == BOOT {
        let install = "have the server's newest package of this agent installed, with --enroll; repeatable";
        options.optmulti("", "install", install, "NAME");
    }
    options
}

fn help(program: &str, options: &Options) -> String {
    let install = if program == BOOT { " [--install NAME]... [-f]" } else { "" };
    let brief = format!(
        "Usage: {program} [-f] [-C FILE] [-L FILE] [-P FILE] [-l LEVEL] [-S LIST] [-t] [-h] [-V]\n       \
         {program} --enroll HOST:PORT --token TOKEN [-C FILE]{install}"
    );
    format!(
        "{}\nSIGTERM and SIGINT end it, SIGHUP re-reads the configuration and re-opens the log,\n\
         SIGUSR1 logs its state. See {program}(8).\n",
        options.usage(&brief)
    )
}

fn level(name: Option<&str>) -> Result<LevelFilter, String> {
    match name {
        None | Some("info") => Ok(LevelFilter::Info),
        Some("error") => Ok(LevelFilter::Error),
        Some("warn") => Ok(LevelFilter::Warn),
        Some("debug") => Ok(LevelFilter::Debug),
        Some("trace") => Ok(LevelFilter::Trace),
        Some(other) => Err(format!("-l {other:?}: the levels are error, warn, info, debug and trace")),
    }
}

impl CommandLine {
    /// Arguments that start the agent again as it runs now: what it was started for besides, such as
    /// enrolment, is done.
    pub fn again(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec!["-P".to_owned(), text(&self.pid_file)];
        words.extend(["-L".to_owned(), self.log.as_deref().map_or_else(|| "-".to_owned(), text)]);
        words.extend(["-l".to_owned(), self.level.as_str().to_ascii_lowercase()]);
        if self.config_was_named {
            words.extend(["-C".to_owned(), text(&self.config)]);
        }
        if let Some(servers) = &self.servers {
            words.extend(["-S".to_owned(), servers.clone()]);
        }
        if self.foreground {
            words.push("-f".to_owned());
        }
        words
    }

    /// The configuration's text. Without `-C` a file that is not there is an empty one.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub fn read_config(&self) -> Result<String, String> {
        match std::fs::read_to_string(&self.config) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.config_was_named => {
                Ok(String::new())
            }
            other => other.map_err(|e| format!("{}: {e}", shown(&self.config))),
        }
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(arguments: &[&str]) -> Result<CommandLine, Usage> {
        parse("gearman", &arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_defaults_are_the_documented_paths() {
        let line = command_line(&[]).unwrap();
        assert_eq!(line.mode, Mode::Run);
        assert_eq!(line.config, Path::new("/etc/cargo/gearman.conf"));
        assert_eq!(line.log.as_deref(), Some(Path::new("/var/log/cargo/gearman.log")));
        assert_eq!(line.pid_file, Path::new("/var/run/cargo/gearman.pid"));
        assert_eq!((line.level, line.foreground), (LevelFilter::Info, false));
    }

    #[test]
    fn every_flag_is_taken() {
        let line =
            command_line(&["-f", "-C", "/c", "-L", "-", "-P", "/p", "-l", "debug", "-S", "a,b:1"]).unwrap();
        assert!(line.foreground && line.config_was_named && line.log.is_none());
        assert_eq!((line.level, line.servers.as_deref()), (LevelFilter::Debug, Some("a,b:1")));
        assert_eq!(command_line(&["-t"]).unwrap().mode, Mode::Check);
        assert_eq!(command_line(&["-V"]).unwrap().mode, Mode::Version);
        let Mode::Help(help) = command_line(&["-h"]).unwrap().mode else { panic!("no help") };
        for flag in ["-f", "-C", "-L", "-P", "-l", "-S", "-t", "-h", "-V", "--enroll", "--token"] {
            assert!(help.contains(flag), "{flag} is not in the help");
        }
        let token = Token { secret: [1; 32], fingerprint: [2; 32] };
        let enroll = command_line(&["--enroll", "h:1", "--token", &token.to_string()]).unwrap().mode;
        let server = Server { host: "h".into(), port: 1 };
        assert_eq!(enroll, Mode::Enroll { server, token, install: vec![] });
    }

    fn boot(arguments: &[&str]) -> Result<CommandLine, Usage> {
        parse("boot", &arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn boot_alone_installs_and_takes_over() {
        let token = Token { secret: [1; 32], fingerprint: [2; 32] }.to_string();
        let enroll = ["--enroll", "h:1", "--token", &token];
        let line = boot(&[&enroll[..], &["--install", "gearman", "--install", "LogAgent"]].concat()).unwrap();
        let Mode::Enroll { install, .. } = line.mode else { panic!("{line:?}") };
        assert_eq!(install, ["gearman", "LogAgent"]);
        assert_eq!(line.config, Path::new("/etc/cargo/boot.conf"));
        assert_eq!(boot(&["--take-over", "/plan"]).unwrap().mode, Mode::TakeOver("/plan".into()));
        let Mode::Help(help) = boot(&["-h"]).unwrap().mode else { panic!("no help") };
        assert!(help.contains("--install NAME") && !help.contains("take-over"), "{help}");
        for stranger in [&["--install", "gearman"][..], &["--take-over", "/plan"]] {
            assert!(command_line(stranger).unwrap_err().reason.contains("option"), "{stranger:?}");
        }
    }

    #[test]
    fn what_boot_cannot_install_is_refused_before_the_token_is_used() {
        let token = Token { secret: [1; 32], fingerprint: [2; 32] }.to_string();
        for (more, reason) in [
            (&["--install", "../x"][..], "--install: name: must be of letters"),
            (&["--install", ""], "--install: name: "),
            (&["--install", "boot"], "--install: name: boot can be upgraded"),
            (&["-L", "-"], "-f"),
        ] {
            let arguments = [&["--enroll", "h:1", "--token", &token], more].concat();
            let error = boot(&arguments).unwrap_err().reason;
            assert!(error.contains(reason), "{more:?}: {error}");
        }
        let error = boot(&["--install", "gearman"]).unwrap_err().reason;
        assert_eq!(error, "--install goes with --enroll");
    }

    #[test]
    fn an_agent_is_started_again_as_it_runs() {
        let enrolled = ["--enroll", "h:1", "--token"].map(str::to_owned);
        let token = Token { secret: [1; 32], fingerprint: [2; 32] }.to_string();
        let given =
            ["-f", "-C", "/c", "-L", "-", "-P", "/p", "-l", "debug", "-S", "a,b:1"].map(str::to_owned);
        let line = parse(BOOT, &[given.to_vec(), enrolled.to_vec(), vec![token.clone()]].concat()).unwrap();
        assert!(!line.again().contains(&token));
        let again = parse(BOOT, &line.again()).unwrap();
        assert_eq!(again, CommandLine { mode: Mode::Run, ..line });
        let defaults = parse(BOOT, &[]).unwrap();
        assert_eq!(parse(BOOT, &defaults.again()).unwrap(), defaults);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, word) in [
            (&["-x"][..], "x"),
            (&["-l", "loud"], "loud"),
            (&["stray"], "stray"),
            (&["-C"], "C"),
            (&["--enroll", "h"], "--token"),
            (&["--token", "t"], "--enroll"),
            (&["--enroll", "h:0", "--token", "t"], "port"),
            (&["--enroll", "h:1", "--token", "t"], "damaged"),
            (&["-L", "-"], "-f"),
            (&["-S", "a,b:0"], "-S: \"b:0\": the port"),
        ] {
            let error = command_line(arguments).unwrap_err().to_string();
            assert!(error.starts_with("gearman: ") && error.contains(word), "{arguments:?}: {error}");
        }
    }
}
