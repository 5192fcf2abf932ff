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

/// The shell executes it, and what is only one program goes on in the shell's place. Executed by
/// ourselves, a program on a file system that does not answer would hold up the agent.
fn argv(command: &str, shell: &str) -> Vec<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./- \t".contains(&b);
    let first = command.split_ascii_whitespace().next().unwrap_or_default();
    let is_program = first.contains('/') && !first.contains('=') && command.bytes().all(plain);
    let line = if is_program { format!("exec {command}") } else { command.to_owned() };
    vec![shell.to_owned(), "-c".into(), line]
}

#[cfg(test)]
mod tests {
    use super::argv;

    #[test]
    fn what_is_one_program_is_the_process_that_is_started() {
        for (command, line) in [
            ("/usr/sbin/nginx", "exec /usr/sbin/nginx"),
            ("./bin/web  -p=80", "exec ./bin/web  -p=80"),
            ("web -p 80", "web -p 80"),
            ("/opt/x > /dev/null", "/opt/x > /dev/null"),
            ("A=/x web", "A=/x web"),
            ("/opt/x $HOME", "/opt/x $HOME"),
            ("/opt/x; /opt/y", "/opt/x; /opt/y"),
            ("/opt/x\n/opt/y", "/opt/x\n/opt/y"),
        ] {
            assert_eq!(argv(command, "/bin/bash"), ["/bin/bash", "-c", line], "{command}");
        }
    }
}
