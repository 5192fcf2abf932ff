use super::*;
use crate::machine::limits::SEND_HIGH_WATER_BYTES;
use crate::machine::{ConnectionEnd, Effect, Effects, Instant, Now};
use crate::reactor::Clock;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Peer;
use std::time::Duration;
use tempfile::TempDir;

/// Says everything back, and obeys a few words.
struct Echo {
    elsewhere: PathBuf,
    deadline: Instant,
    accepted: usize,
    ended: Vec<ConnectionEnd>,
}

impl Machine for Echo {
    fn handle(&mut self, _: Now, event: Event<'_>, fx: &mut Effects) {
        match event {
            Event::Tick => panic!("waited in vain"),
            Event::Accepted(_) => self.accepted += 1,
            Event::Received(conn, b"move") => {
                fx.push(Effect::Listen { path: self.elsewhere.clone() });
                fx.push(Effect::Send { conn, bytes: b"moved".into() });
            }
            Event::Received(conn, b"bye") => {
                fx.push(Effect::Send { conn, bytes: vec![b'x'; SEND_HIGH_WATER_BYTES] });
                fx.push(Effect::Close { conn });
            }
            Event::Received(conn, b"much") => {
                fx.push(Effect::Send { conn, bytes: vec![b'x'; SEND_HIGH_WATER_BYTES] });
            }
            Event::Received(conn, b"stop") => {
                fx.push(Effect::Close { conn });
                fx.push(Effect::Stop);
            }
            Event::Received(conn, bytes) => fx.push(Effect::Send { conn, bytes: bytes.into() }),
            Event::Closed(_, end) => self.ended.push(end),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

/// A folder of which the second path is one where the machine may move to.
fn place() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (folder.path().join("run/a.sock"), folder.path().join("b.sock"));
    (folder, path, elsewhere)
}

/// Lets a program talk to the loop until it says "stop", which is done for it at the end.
fn talk(path: &Path, elsewhere: &Path, program: impl FnOnce() -> Peer + Send) -> Echo {
    let clock = Clock::new();
    let deadline = clock.now().mono + Duration::from_secs(20);
    let mut echo = Echo { elsewhere: elsewhere.to_owned(), deadline, accepted: 0, ended: Vec::new() };
    let mut reactor = Reactor::new(clock, Box::new(|| {})).unwrap();
    reactor.listen(path);
    std::thread::scope(|scope| {
        let program = scope.spawn(|| {
            let mut last = program();
            last.write_all(b"stop").unwrap();
            assert_eq!(rest(&mut last), b"");
        });
        reactor.run(&mut echo).unwrap();
        program.join().unwrap();
    });
    assert!(!path.exists() && !elsewhere.exists(), "what listened took its file with it");
    echo
}

fn say(peer: &mut Peer, text: &str) -> String {
    peer.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; 1024];
    let length = peer.read(&mut answer).unwrap();
    String::from_utf8(answer[..length].into()).unwrap()
}

fn rest(peer: &mut Peer) -> Vec<u8> {
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    rest
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_file_is_its_owners_alone_and_goes_with_the_listener() {
    let (_folder, path, _) = place();
    let listener = Listener::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    // As a cleaner of old files may: the one who comes next keeps his.
    fs::remove_file(&path).unwrap();
    let next = Listener::open(&path).unwrap();
    drop(listener);
    Peer::connect(&path).unwrap();
    drop(next);
    assert!(!path.exists());
}

#[test]
fn what_a_dead_one_left_is_replaced_and_what_lives_or_is_something_else_is_not() {
    let (folder, path, _) = place();
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale file");
    let living = Listener::open(&path).unwrap();
    let refused = Listener::open(&path).unwrap_err().to_string();
    assert!(refused.contains("another program listens there"), "{refused}");
    assert!(living.is_at(&path));
    drop(living);

    fs::write(&path, "precious").unwrap();
    let refused = Listener::open(&path).unwrap_err().to_string();
    assert!(refused.contains("something else"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let refused = Listener::open(&path.join("below")).unwrap_err().to_string();
    assert!(!refused.is_empty(), "{refused}");
    let refused = Listener::open(&folder.path().join("x".repeat(108))).unwrap_err().to_string();
    assert!(refused.contains("SUN_LEN"), "{refused}");
}

#[test]
fn every_byte_comes_back_however_many() {
    let (_folder, path, elsewhere) = place();
    let sent: Vec<u8> = (0..=250).cycle().take(5 * SEND_HIGH_WATER_BYTES).collect();
    let echo = talk(&path, &elsewhere, || {
        let mut peer = Peer::connect(&path).unwrap();
        let (mut reader, mut received) = (peer.try_clone().unwrap(), vec![0; sent.len()]);
        std::thread::scope(|scope| {
            scope.spawn(|| peer.write_all(&sent).unwrap());
            reader.read_exact(&mut received).unwrap();
        });
        assert!(received == sent, "the same bytes in the same order");
        peer
    });
    assert_eq!(echo.accepted, 1);
}

#[test]
fn what_was_sent_before_the_end_arrives_before_the_end() {
    let (_folder, path, elsewhere) = place();
    let echo = talk(&path, &elsewhere, || {
        let mut peer = Peer::connect(&path).unwrap();
        peer.write_all(b"bye").unwrap();
        assert_eq!(rest(&mut peer).len(), SEND_HIGH_WATER_BYTES);
        // One who ends what he has to say hears what he asked for before.
        let mut peer = Peer::connect(&path).unwrap();
        peer.write_all(b"much").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        // Once another is answered the loop has seen that end.
        let mut last = Peer::connect(&path).unwrap();
        assert_eq!(say(&mut last, "hi"), "hi");
        assert_eq!(rest(&mut peer).len(), SEND_HIGH_WATER_BYTES);
        last
    });
    assert_eq!((echo.accepted, echo.ended), (3, vec![ConnectionEnd::ByPeer]));
}

#[test]
fn there_are_so_many_connections_and_one_more_is_closed() {
    let (_folder, path, elsewhere) = place();
    let echo = talk(&path, &elsewhere, || {
        let mut peers: Vec<Peer> = (0..LOCAL_CONNECTIONS).map(|_| Peer::connect(&path).unwrap()).collect();
        for peer in &mut peers {
            assert_eq!(say(peer, "hi"), "hi");
        }
        for _ in 0..3 * LOCAL_CONNECTIONS {
            assert_eq!(rest(&mut Peer::connect(&path).unwrap()), b"");
        }
        // One leaves, and has left once its end was heard.
        let mut leaving = peers.pop().unwrap();
        leaving.write_all(b"bye").unwrap();
        rest(&mut leaving);
        drop(leaving);
        let mut next = Peer::connect(&path).unwrap();
        let begun = Clock::new();
        while next.write_all(b"hi").is_err() || !matches!(next.read(&mut [0; 2]), Ok(2)) {
            assert!(begun.now().mono.0 < Duration::from_secs(20), "no place became free");
            next = Peer::connect(&path).unwrap();
        }
        assert_eq!(say(&mut peers[0], "hi"), "hi");
        peers.truncate(1);
        drop(next);
        peers.pop().unwrap()
    });
    assert_eq!(echo.accepted, LOCAL_CONNECTIONS + 1);
}

#[test]
fn it_moves_and_those_who_are_connected_stay_so() {
    let (_folder, path, elsewhere) = place();
    let echo = talk(&path, &elsewhere, || {
        let mut peer = Peer::connect(&path).unwrap();
        // The second time nothing is to be done.
        for _ in 0..2 {
            assert_eq!(say(&mut peer, "move"), "moved");
            assert!(!path.exists());
            assert_eq!(mode(&elsewhere), 0o600);
            assert_eq!(say(&mut Peer::connect(&elsewhere).unwrap(), "hi"), "hi");
        }
        peer
    });
    assert_eq!(echo.accepted, 3);
}

#[test]
fn where_it_cannot_move_to_it_stays_where_it_is() {
    let (_folder, path, elsewhere) = place();
    fs::create_dir(&elsewhere).unwrap();
    let elsewhere_below = elsewhere.join("x".repeat(200));
    talk(&path, &elsewhere_below, || {
        let mut peer = Peer::connect(&path).unwrap();
        assert_eq!(say(&mut peer, "move"), "moved");
        Peer::connect(&path).unwrap()
    });
}
