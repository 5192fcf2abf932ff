//! What `completion` prints, tried in the shells themselves: each reads the
//! script, is given the beginning of a line, and says how it goes on.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const PROGRAMS: [(&str, &str); 2] =
    [("polarisctl", env!("CARGO_BIN_EXE_polarisctl")), ("polaris", env!("CARGO_BIN_EXE_polaris"))];

/// The scripts of both programs for one shell, as files. None of them asks for a server.
fn scripts(dir: &Path, shell: &str) -> Vec<PathBuf> {
    let script = |(name, program): (&str, &str)| {
        let output = Command::new(program).args(["completion", shell]).env_clear().output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let path = dir.join(name);
        std::fs::write(&path, output.stdout).unwrap();
        path
    };
    PROGRAMS.map(script).to_vec()
}

/// What the shell says.
fn run(shell: &str, flags: &[&str], program: &str, home: &Path) -> String {
    let mut command = Command::new("timeout");
    command.arg("60").arg(shell).args(flags).arg(program).env("HOME", home).env("TERM", "dumb");
    let output = command.output().unwrap();
    let (said, reason) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let hint = "tests/run installs bash, zsh and fish (apt-get install zsh fish)";
    assert!(output.status.success(), "{shell}: {said}{reason}\n{hint}");
    said.into_owned()
}

/// Lines to complete, and what must be among the answers.
const LINES: [(&str, &str, &str); 5] = [
    ("polarisctl", "req", "requests"),
    ("polarisctl", "run --dead", "--deadline"),
    ("polarisctl", "requests can", "cancel"),
    ("polarisctl", "boot upg", "upgrade"),
    ("polaris", "serve --dat", "--data"),
];

#[test]
fn bash_completes() {
    let dir = TempDir::new().unwrap();
    let scripts = scripts(dir.path(), "bash");
    for (name, line, expected) in LINES {
        let script = scripts.iter().find(|script| script.ends_with(name)).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let [.., last] = &words[..] else { panic!("{line}") };
        let before = words.len().checked_sub(2).map_or(name, |n| words[n]);
        let program = format!(
            "source '{}'; COMP_WORDS=({name} {line}); COMP_CWORD={}; _{name} {name} '{last}' '{before}'; \
             complete -p {name} >/dev/null && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.len(),
        );
        let said = run("bash", &["--norc", "-c"], &program, dir.path());
        assert!(said.lines().any(|word| word == expected), "{name} {line}: {said}");
    }
}

#[test]
fn zsh_completes() {
    let dir = TempDir::new().unwrap();
    let scripts = scripts(dir.path(), "zsh");
    for (name, line, expected) in LINES {
        let script = scripts.iter().find(|script| script.ends_with(name)).unwrap();
        // An interactive shell on a terminal of its own, in which somebody presses Tab.
        let completed = format!("{} {expected}", [name, line].join(" ").rsplit_once(' ').unwrap().0);
        let program = format!(
            "zmodload zsh/zpty; zpty shell zsh -f -i; zpty -w shell 'PS1=; autoload -Uz compinit; \
             compinit -D -u; source {}; print rea\"\"dy'; zpty -r shell said '*ready*'; \
             zpty -w -n shell $'{name} {line}\\t'; zpty -r shell said '*{completed}*' && print completed",
            script.display(),
        );
        let said = run("zsh", &["-f", "-c"], &program, dir.path());
        assert_eq!(said, "completed\n", "{name} {line}");
    }
}

#[test]
fn fish_completes() {
    let dir = TempDir::new().unwrap();
    let scripts = scripts(dir.path(), "fish");
    for (name, line, expected) in LINES {
        let script = scripts.iter().find(|script| script.ends_with(name)).unwrap();
        let program = format!("source '{}'; complete -C '{name} {line}'", script.display());
        let said = run("fish", &["--no-config", "-c"], &program, dir.path());
        let mut words = said.lines().filter_map(|line| line.split('\t').next());
        assert!(words.any(|word| word == expected), "{name} {line}: {said}");
    }
}
