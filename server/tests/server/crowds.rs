//! The agents' port keeps room for others, whatever one address does.

use crate::agent::{Identity, builder, enrolled, linked, secure};
use crate::common::{PATIENCE, Server};
use polaris::config::Room;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::RootCertStore;

/// Never, for a test.
const NEVER: Duration = Duration::from_hours(1);

/// A connection from this address of the machine.
async fn from(last: u8, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(server.agents()).await.unwrap()
}

/// An exchange that is not begun, of somebody who shows this certificate or none.
async fn exchange(last: u8, server: &Server, ca: &Identity, shows: bool) -> TlsStream<TcpStream> {
    let mut config = if shows {
        (*ca.config).clone()
    } else {
        let mut roots = RootCertStore::empty();
        roots.add(ca.ca.clone()).unwrap();
        builder().with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    secure(from(last, server).await, Arc::new(config)).await.unwrap()
}

/// Returns when the server has ended the connection.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let end = timeout(PATIENCE, stream.read(&mut [0])).await.expect("an end");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn handshakes_that_never_end_are_so_many_of_one_address_and_hold_up_no_other() {
    let room = Room { handshakes: 4, handshakes_per_address: 2, hello: NEVER, ..Room::default() };
    let server = Server::narrow(room).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(from(2, &server).await);
    }
    for beyond in &mut silent[2..] {
        ended(beyond).await;
    }
    linked(&server, "a").await;
    for held in &silent[..2] {
        let still = held.try_read(&mut [0]).unwrap_err();
        assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock);
    }
    // Who goes makes room.
    drop(silent);
    let identity = enrolled(&server, "b").await;
    exchange(2, &server, &identity, true).await;
}

#[tokio::test]
async fn who_says_nothing_at_all_is_let_go_before_who_is_slow() {
    let server = Server::narrow(Room { hello: Duration::from_millis(100), ..Room::default() }).await;
    let mut slow = from(2, &server).await;
    slow.write_all(b"\x16").await.unwrap();
    let (begin, mut silent) = (Instant::now(), from(2, &server).await);
    ended(&mut silent).await;
    assert!(begin.elapsed() < polaris::limits::HANDSHAKE_LIMIT);
    assert_eq!(slow.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn who_shows_no_certificate_takes_neither_others_room_nor_that_of_hosts() {
    let room = Room { strangers: 2, strangers_per_address: 1, ..Room::default() };
    let server = Server::narrow(room).await;
    let identity = enrolled(&server, "a").await;
    let stranger = async |last| exchange(last, &server, &identity, false).await;
    // Which of two is there first is not known here.
    let (mut one, mut two) = (stranger(2).await, stranger(2).await);
    let one_is_left = tokio::select! {
        () = ended(&mut two) => true,
        () = ended(&mut one) => false,
    };
    let _held = if one_is_left { one } else { two };
    enrolled(&server, "b").await;

    let (mut three, mut four) = (stranger(3).await, stranger(4).await);
    tokio::select! {
        () = ended(&mut three) => {}
        () = ended(&mut four) => {}
    }
    let token = server.token().await;
    let full = timeout(PATIENCE, simulator::enroll(server.agents(), &token, "c")).await.unwrap();
    assert!(full.is_err(), "there is no room for a third");
    let mut host = exchange(2, &server, &identity, true).await;
    host.write_all(b"GET /packages/none HTTP/1.1\r\nhost: polaris\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, host.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
}
