//! From a request's command to a program with nothing left to look up.

use super::{ExecSettings, Wanted};
use crate::machine::{Identity, Launch};

/// The program: `bash -c CMD` with the documented environment.
pub fn launch(wanted: Wanted, identity: &Identity, own: &Identity, settings: &ExecSettings) -> Launch {
    let Wanted { command, remembered } = wanted;
    let mut env = identity.environment(&settings.shell);
    env.extend(command.env);
    Launch {
        argv: vec![settings.shell.clone(), "-c".into(), command.cmd],
        env: env.into_iter().collect(),
        limits: command.limits,
        remembered,
        lasting: None,
        cwd: command.cwd.unwrap_or_else(|| "/".into()),
        credentials: identity.credentials(own),
    }
}
