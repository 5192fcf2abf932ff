use super::*;

pub fn settings() -> DaemonSettings {
    DaemonSettings {
        dir: "/var/lib/cargo/daemon".into(),
        log: "/var/log/cargo".into(),
        run: "/var/run/cargo".into(),
        shell: "/bin/bash".into(),
        output_limit: 10 << 20,
        output_files: 4,
        servers: Vec::new(),
        tls: "/etc/cargo/pki".into(),
    }
}
