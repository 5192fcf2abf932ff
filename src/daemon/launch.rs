//! From a definition's commands to programs with nothing left to look up.

use super::one::Place;
use crate::machine::{FAMILY_VARIABLE, Identity, Lasting, Launch, Process, Program};
use crate::wire::{DaemonInit, Limits};

/// The daemon itself.
pub fn daemon(init: &DaemonInit, identity: &Identity, place: &Place, family: &str) -> Program {
    let settings = &place.settings;
    let lasting = Lasting {
        family: family.to_owned(),
        output: settings.output(&init.name),
        cpu_max: init.limits.cpu_max,
        memory_max: init.limits.memory_max,
    };
    let mut launch = launch(&init.start, init, identity, place);
    if init.heartbeat > 0 {
        let path = settings.heartbeat(&init.name).display().to_string();
        launch.env.push(("NOTIFY_SOCKET".into(), path));
        launch.env.push(("WATCHDOG_USEC".into(), (init.heartbeat * 1_000_000).to_string()));
    }
    launch.lasting = Some(lasting);
    launch.remembered = true;
    Program::Exec(Box::new(launch))
}

/// A name for the processes of one start, which no other start has.
pub fn family(name: &str, chance: &mut fastrand::Rng) -> String {
    format!("{name}.{:012x}", chance.u64(..1 << 48))
}

/// Whose processes these are.
pub fn name_in(family: &str) -> &str {
    family.rsplit_once('.').map_or(family, |(name, _)| name)
}

/// A command that comes to its end: a precheck, a check.
pub fn script(
    command: &str,
    init: &DaemonInit,
    identity: &Identity,
    place: &Place,
    main: Option<Process>,
) -> Program {
    let mut launch = launch(command, init, identity, place);
    launch.env.extend(main.map(|main| ("MAINPID".into(), main.pid.to_string())));
    Program::Exec(Box::new(launch))
}

/// One that ends it. It is of the family, so that no later agent starts it again while somebody is
/// there who may end that one, too.
pub fn stop(
    command: &str,
    init: &DaemonInit,
    identity: &Identity,
    place: &Place,
    main: Option<Process>,
    family: &str,
) -> Program {
    let mut program = script(command, init, identity, place, main);
    if let Program::Exec(launch) = &mut program {
        launch.env.retain(|(name, _)| name != FAMILY_VARIABLE);
        launch.env.push((FAMILY_VARIABLE.into(), family.into()));
    }
    program
}

fn launch(command: &str, init: &DaemonInit, identity: &Identity, place: &Place) -> Launch {
    let settings = &place.settings;
    let mut env = identity.environment(&settings.shell);
    env.extend(init.env.clone());
    Launch {
        argv: argv(command, &settings.shell),
        env: env.into_iter().collect(),
        cwd: settings.cwd(init).display().to_string(),
        credentials: identity.credentials(&place.own),
        limits: Limits::default(),
        remembered: false,
        lasting: None,
    }
}

/// Plain words of which the first is a path are a program and its arguments: no shell is started for
/// them. Anything else is a line for the shell, which goes on as the program where it is only one.
fn argv(command: &str, shell: &str) -> Vec<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./- \t".contains(&b);
    let words = || command.split_ascii_whitespace();
    let is_path = words().next().is_some_and(|first| first.contains('/') && !first.contains('='));
    if is_path && command.bytes().all(plain) {
        words().map(str::to_owned).collect()
    } else {
        vec![shell.to_owned(), "-c".into(), command.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::argv;

    #[test]
    fn no_shell_is_started_where_none_is_asked_for() {
        for (command, words) in [
            ("/usr/sbin/nginx", &["/usr/sbin/nginx"][..]),
            ("/opt/x -f  --level=3 /etc/x.conf", &["/opt/x", "-f", "--level=3", "/etc/x.conf"]),
            ("./bin/web -p 80", &["./bin/web", "-p", "80"]),
            ("web -p 80", &["/bin/bash", "-c", "web -p 80"]),
            ("/opt/x > /dev/null", &["/bin/bash", "-c", "/opt/x > /dev/null"]),
            ("A=/x web", &["/bin/bash", "-c", "A=/x web"]),
            ("/opt/x $HOME", &["/bin/bash", "-c", "/opt/x $HOME"]),
            ("/opt/x 'a b'", &["/bin/bash", "-c", "/opt/x 'a b'"]),
            ("/opt/x\n/opt/y", &["/bin/bash", "-c", "/opt/x\n/opt/y"]),
        ] {
            assert_eq!(argv(command, "/bin/bash"), words, "{command}");
        }
    }
}
