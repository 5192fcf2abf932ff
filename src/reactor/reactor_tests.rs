use super::*;
use crate::machine::Effect;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

/// Keeps what it hears of a child's output, and stops at the first failure.
#[derive(Default)]
struct Listener {
    heard: Vec<String>,
    deadline: Instant,
}

impl Machine for Listener {
    fn handle(&mut self, _: Now, event: Event<'_>, fx: &mut Effects) {
        self.heard.push(format!("{event:?}"));
        if matches!(event, Event::OutputFailed(..) | Event::Tick) {
            fx.push(Effect::Stop);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

/// A descriptor that is readable and whose read fails: a datagram socket that was refused.
fn failing() -> OwnedFd {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(nobody).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.send(b"anybody?").unwrap();
    socket.into()
}

#[test]
fn a_read_that_fails_is_told_with_its_reason_and_the_pipe_is_closed() {
    let clock = Clock::new();
    let mut listener = Listener { deadline: clock.now().mono + Duration::from_secs(20), heard: Vec::new() };
    let mut reactor = Reactor::new(clock, Box::new(|| {})).unwrap();
    let (_writer, quiet) = mio::unix::pipe::new().unwrap();
    let pipes = [(Stream::Out, Receiver::from(failing())), (Stream::Err, quiet)];
    let now = reactor.turn;
    reactor.take_pipes(now, ChildId(7), pipes);
    reactor.run(&mut listener).unwrap();
    let [heard] = &listener.heard[..] else { panic!("{:?}", listener.heard) };
    assert!(heard.starts_with("OutputFailed(ChildId(7), Out, \"Connection refused"), "{heard}");
}
