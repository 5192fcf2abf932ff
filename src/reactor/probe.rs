//! Whether something of this host takes connections or answers. Runs as a task: whoever waits for the
//! answer has a deadline.

use crate::machine::Probe;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// # Errors
/// What is not well, and why.
pub(super) fn probe(what: &Probe) -> Result<(), String> {
    match what {
        Probe::Unix(path) => {
            UnixStream::connect(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
        }
        // Each address of a name is tried, one of which may not be served.
        Probe::Tcp(server) => TcpStream::connect((server.host.as_str(), server.port))
            .map(drop)
            .map_err(|error| format!("{server}: {error}")),
        Probe::Http(url) => aspire_package::answers(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::server_list::Server;
    use std::net::TcpListener;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn a_socket_that_takes_connections_is_well_and_one_that_nobody_serves_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let there = Probe::Unix(path.clone());
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(probe(&there), Ok(()));
        drop(listener);
        let error = probe(&there).unwrap_err();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains("refused"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = probe(&there).unwrap_err();
        assert!(error.contains("No such file"), "{error}");
        let _other = UnixDatagram::bind(&path).unwrap();
        let error = probe(&there).unwrap_err();
        assert!(error.contains("wrong type"), "{error}");
    }

    #[test]
    fn a_port_is_tried_at_each_address_of_its_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(probe(&Probe::Tcp(Server { host: host.into(), port })), Ok(()));
        }
        drop(listener);
        let error = probe(&Probe::Tcp(Server { host: "127.0.0.1".into(), port })).unwrap_err();
        assert!(error.starts_with(&format!("127.0.0.1:{port}: Connection refused")), "{error}");
    }
}
