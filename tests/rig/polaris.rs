//! A Polaris of one thread: the test's own, which says what it does and when.

use super::pki::{Ca, HOST_ID, Identity, Role};
use super::{PATIENCE, until};
use aspire::wire::session::{ALPN_HTTP, ALPN_LINK};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub struct Polaris {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    pub address: SocketAddr,
}

/// An accepted connection, TLS done.
pub struct Link {
    stream: BufReader<StreamOwned<ServerConnection, TcpStream>>,
}

impl Polaris {
    pub fn start(ca: &Ca) -> Polaris {
        Self::at("127.0.0.1:0".parse().unwrap(), ca).unwrap()
    }

    pub fn at(address: SocketAddr, ca: &Ca) -> io::Result<Polaris> {
        Self::bind(address, link_config(ca, &ca.issue(Role::Server, "polaris")))
    }

    /// The short exchanges: no client certificate, and the CA is in the chain.
    pub fn http(ca: &Ca) -> Polaris {
        let identity = ca.issue(Role::Server, "polaris");
        let mut config = builder()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert_der(), ca.der()], identity.key_der())
            .unwrap();
        config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        Self::bind("127.0.0.1:0".parse().unwrap(), config).unwrap()
    }

    /// The short exchanges of hosts: both sides show a certificate.
    pub fn exchanges(ca: &Ca) -> Polaris {
        let mut config = link_config(ca, &ca.issue(Role::Server, "polaris"));
        config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        Self::bind("127.0.0.1:0".parse().unwrap(), config).unwrap()
    }

    fn bind(address: SocketAddr, config: ServerConfig) -> io::Result<Polaris> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Polaris { address: listener.local_addr()?, listener, config: Arc::new(config) })
    }

    /// Shows this certificate from now on, to hosts of `ca`.
    pub fn show(&mut self, ca: &Ca, identity: &Identity) {
        self.config = Arc::new(link_config(ca, identity));
    }

    /// As a server list names it.
    pub fn server(&self) -> String {
        self.address.to_string()
    }

    pub fn has_caller(&self) -> Option<TcpStream> {
        match self.listener.accept() {
            Ok((socket, _)) => Some(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    /// The next caller, or why its handshake failed.
    pub fn try_accept(&self) -> io::Result<Link> {
        self.shake_hands(until("an agent to call", || self.has_caller()))
    }

    /// TLS with a caller.
    pub fn shake_hands(&self, socket: TcpStream) -> io::Result<Link> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut stream =
            StreamOwned::new(ServerConnection::new(self.config.clone()).map_err(io::Error::other)?, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Link { stream: BufReader::new(stream) })
    }

    pub fn accept(&self) -> Link {
        self.try_accept().unwrap()
    }

    /// The next caller with its `init`.
    pub fn greeted(&self) -> (Link, Value) {
        let mut link = self.accept();
        let init = link.receive();
        assert_eq!((&init["method"], &init["hostname"]), (&json!("init"), &json!(HOST_ID)), "{init}");
        (link, init)
    }

    /// The next caller, told that it is welcome. Its pings are a long time off.
    pub fn ready(&self) -> Link {
        let (mut link, _) = self.greeted();
        link.send(&json!({"method": "ready", "heartbeat": 3600}));
        link
    }
}

impl Link {
    pub fn send(&mut self, frame: &Value) {
        self.send_bytes(format!("{frame}\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).unwrap();
    }

    /// As [`Link::send_bytes`], to an agent that may hang up before it has heard it all. Whether it is
    /// there still.
    pub fn send_what_goes(&mut self, bytes: &[u8]) -> bool {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
    }

    /// The next frame.
    pub fn receive(&mut self) -> Value {
        self.next().expect("a frame, and not the end of the link")
    }

    /// The next frame; `None` where the agent has hung up. That a host has no daemons is told at the
    /// beginning of each link, and passed over.
    pub fn next(&mut self) -> Option<Value> {
        loop {
            match self.try_next() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing came for {} s", PATIENCE.as_secs())
                }
                Ok(Some(frame)) if frame["method"] == "daemons" && frame["daemons"] == json!([]) => {}
                next => return next.ok().flatten(),
            }
        }
    }

    /// As [`Link::next`], to a caller who can say better what did not come.
    pub fn try_next(&mut self) -> io::Result<Option<Value>> {
        let mut line = String::new();
        Ok(match self.stream.read_line(&mut line)? {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))),
        })
    }

    /// Waits for a frame, and hands over all that have arrived whole, as they
    /// came. False where the link has ended or was silent for too long.
    pub fn take_lines(&mut self, mut take: impl FnMut(&[u8])) -> bool {
        let mut line = Vec::new();
        loop {
            match self.stream.read_until(b'\n', &mut line) {
                Ok(length) if length > 0 => take(&line),
                _ => return false,
            }
            line.clear();
            if !self.stream.buffer().contains(&b'\n') {
                return true;
            }
        }
    }

    /// Everything that still comes, to the end of the link.
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// What an HTTP client sends: its head, and the body that this announces.
    pub fn http_request(&mut self) -> (String, Vec<u8>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "cut short: {head:?}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    /// As [`Link::http_request`], of a client that may end before it has sent it all.
    pub fn try_http_request(&mut self) -> Option<(String, Vec<u8>)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            self.stream.read_line(&mut head).ok().filter(|length| *length > 0)?;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        self.stream.read_exact(&mut body).ok()?;
        Some((head, body))
    }

    /// Asks for a command to be run.
    pub fn bash(&mut self, id: &str, cmd: &str) {
        self.send(&json!({"id": id, "method": "sync.bash", "cmd": cmd}));
    }

    /// Sends a request and waits for its reply, the only one under way. What is told of jobs
    /// meanwhile is passed over.
    pub fn ask(&mut self, request: &Value) -> Value {
        self.send(request);
        loop {
            let reply = self.receive();
            if reply["method"] != "job" {
                assert_eq!(reply["id"], request["id"], "{reply}");
                return reply;
            }
        }
    }

    /// Runs a command and returns its reply.
    pub fn run(&mut self, cmd: &str) -> Value {
        self.run_with(json!({"cmd": cmd}))
    }

    /// As [`Link::run`], with these arguments.
    pub fn run_with(&mut self, arguments: Value) -> Value {
        let Value::Object(mut request) = arguments else { panic!("not an object: {arguments}") };
        let id = format!("{:016x}", fastrand::u64(..));
        request.extend([("id".into(), id.into()), ("method".into(), "sync.bash".into())]);
        self.ask(&request.into())
    }

    /// What a command that must succeed writes.
    pub fn output_of(&mut self, cmd: &str) -> String {
        let reply = self.run(cmd);
        assert_eq!(reply["retcode"], 2, "{cmd}: {reply}");
        reply["data"].as_str().unwrap().to_owned()
    }

    /// The protocol that both sides chose, and the certificate that the agent showed.
    pub fn session(&self) -> &ServerConnection {
        &self.stream.get_ref().conn
    }

    /// Closes with bytes unread, at which the system resets the connection.
    pub fn reset(self) {
        let socket = &self.stream.get_ref().sock;
        assert_eq!(socket.peek(&mut [0]).expect("the agent to send something"), 1);
    }

    /// Ends the connection in order.
    pub fn hang_up(mut self) {
        let stream = self.stream.get_mut();
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap()
}

fn link_config(ca: &Ca, identity: &Identity) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let hosts = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let mut config = builder()
        .with_client_cert_verifier(hosts)
        .with_single_cert(vec![identity.cert_der()], identity.key_der())
        .unwrap();
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    config
}
