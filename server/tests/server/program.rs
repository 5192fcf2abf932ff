//! The real program, as an operator starts it.

use crate::common::{CONFIG, Rest, config, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed when it is dropped.
pub struct Program {
    pub child: Child,
    pub agents: SocketAddr,
    pub rest: Rest,
}

#[allow(dead_code, reason = "each suite uses its own part")]
impl Program {
    pub async fn start(dir: &Path) -> Program {
        Program::with_log(dir, Stdio::null()).await
    }

    /// `toml` is its configuration file, `log` its standard error.
    pub async fn configured(dir: &Path, toml: &str, log: Stdio) -> Program {
        Program::configure(dir, toml);
        Program::with_log(dir, log).await
    }

    /// `log` is its standard error. Where a configuration is there already, it is that one's.
    pub async fn with_log(dir: &Path, log: Stdio) -> Program {
        if !dir.join(CONFIG).exists() {
            Program::configure(dir, "");
        }
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Program::listening(dir, [free, free], log).await
    }

    /// What the next start reads.
    pub fn configure(dir: &Path, toml: &str) {
        config(dir, toml);
    }

    /// kill -9, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it on the same folder and ports, once it has ended.
    pub async fn start_again(&mut self, dir: &Path) {
        *self = Program::listening(dir, [self.rest.web, self.agents], Stdio::null()).await;
    }

    async fn listening(dir: &Path, [web, agents]: [SocketAddr; 2], log: Stdio) -> Program {
        let data = dir.join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_polaris"));
        command.arg("serve").arg("--data").arg(&data).env_remove("RUST_LOG").stderr(log);
        command.args(["--web", &web.to_string(), "--agents", &agents.to_string()]);
        command.arg("--config").arg(dir.join(CONFIG));
        let child = command.spawn().unwrap();
        let listen = eventually("listen.json", async || {
            let listen: Value =
                serde_json::from_slice(&std::fs::read(data.join("listen.json")).ok()?).ok()?;
            (listen["pid"] == child.id()).then_some(listen)
        })
        .await;
        let address =
            |key: &str| listen[key].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned();
        Program { agents: address("agents"), rest: Rest { web: address("web"), token }, child }
    }

    /// Sends SIGTERM and sees that it ends well.
    pub async fn terminate(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let status = eventually("the end", async || self.child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
