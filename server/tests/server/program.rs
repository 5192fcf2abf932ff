//! The real program, as an operator starts it.

use crate::common::{Rest, config, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed when it is dropped.
pub struct Program {
    pub child: Child,
    pub agents: SocketAddr,
    pub rest: Rest,
}

impl Program {
    pub async fn start(dir: &Path) -> Program {
        Program::with_log(dir, Stdio::null()).await
    }

    /// `log` is its standard error.
    pub async fn with_log(dir: &Path, log: Stdio) -> Program {
        Program::configured(dir, "", log).await
    }

    /// `toml` is the configuration file.
    pub async fn configured(dir: &Path, toml: &str, log: Stdio) -> Program {
        let data = dir.join("data");
        // Where there is one already, it says the same.
        config(dir, toml);
        let child = Command::new(env!("CARGO_BIN_EXE_polaris"))
            .args(["serve", "--web", "127.0.0.1:0", "--agents", "127.0.0.1:0", "--data"])
            .arg(&data)
            .arg("--config")
            .arg(dir.join("polaris.conf"))
            .env_remove("RUST_LOG")
            .stderr(log)
            .spawn()
            .unwrap();
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
