//! One link, as an agent has it, with what is wrong with it.

use crate::Fault;
use crate::host::Host;
use aspire_wire::frame::encode;
use aspire_wire::request::Call;
use aspire_wire::server_list::{self, Server};
use aspire_wire::session::{Frame, FromServer, HEARTBEAT_SECONDS, Init};
use aspire_wire::{FrameReader, Outcome, Reply, Request, Retcode};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::client::TlsStream;

/// Silence of this many tenths of a heartbeat ends the link.
const SILENCE_TENTHS: u32 = 25;
/// Bytes of one read, on the stack.
const READ_BYTES: usize = 4096;
/// The same of a slow reader, and its break before each.
const SLOW_READ_BYTES: usize = 16;
const SLOW_READ_BREAK: Duration = Duration::from_millis(100);
/// Between two bytes of a host that writes them one by one.
const DRIBBLE_BREAK: Duration = Duration::from_millis(2);
/// How long a half-open link stands, in heartbeats: longer than the server waits.
const HALF_OPEN_HEARTBEATS: u32 = 4;

/// See the module.
pub(crate) struct Link<'a> {
    host: &'a mut Host,
    stream: TlsStream<TcpStream>,
    frames: FrameReader,
    random: fastrand::Rng,
    began: Instant,
    heartbeat: Duration,
    /// Replies whose time has not come, by that and the order of their requests.
    due: BTreeMap<(Instant, u64), Vec<u8>>,
    taken: u64,
}

/// What became of a link, or of its greeting.
pub(crate) enum End {
    /// It is not the end: the server has said `ready`, with this heartbeat.
    Ready(Duration),
    Redirected(Vec<Server>),
    /// By the server, the network, or a fault.
    Lost,
}

impl<'a> Link<'a> {
    pub fn new(host: &'a mut Host, stream: TlsStream<TcpStream>) -> Link<'a> {
        Link {
            random: fastrand::Rng::with_seed(host.traits.seed),
            host,
            stream,
            frames: FrameReader::default(),
            began: Instant::now(),
            heartbeat: Duration::ZERO,
            due: BTreeMap::new(),
            taken: 0,
        }
    }

    /// Says `init` and waits for the answer.
    pub async fn greet(&mut self) -> End {
        let Host { id, name, boot, .. } = self.host;
        let init = Init {
            hostname: id.clone(),
            name: name.clone(),
            version: "gearman-0.0.0-simulated".into(),
            region: "simulated".into(),
            tags: BTreeMap::new(),
            uptime: 1,
            boot: boot.clone(),
            timeout: 120,
            grace: 3,
        };
        if self.write(&encode(&Frame::Init(&init))).await.is_err() {
            return End::Lost;
        }
        loop {
            match self.frames.next_line() {
                Ok(Some(line)) => return greeted(line),
                Ok(None) => {}
                Err(_) => return End::Lost,
            }
            if self.read().await.is_err() {
                return End::Lost;
            }
        }
    }

    /// Lives until it ends.
    pub async fn run(mut self, heartbeat: Duration) -> End {
        self.heartbeat = heartbeat;
        let (mut heard, mut next_ping) = (Instant::now(), Instant::now() + heartbeat);
        let mut timer = pin!(sleep_until(next_ping));
        loop {
            // What came with the answer to `init`, too.
            match self.take_frames().await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(_) => return End::Lost,
            }
            let silent_at = heard + heartbeat * SILENCE_TENTHS / 10;
            let due = self.due.keys().next().map_or(silent_at, |(at, _)| *at);
            let deadline = next_ping.min(silent_at).min(due);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let done = tokio::select! {
                read = self.read() => {
                    heard = Instant::now();
                    read
                }
                () = timer.as_mut() => {
                    let now = Instant::now();
                    if now >= silent_at {
                        return End::Lost;
                    }
                    let ping = now >= next_ping;
                    if ping {
                        next_ping = (next_ping + heartbeat).max(now);
                    }
                    self.tick(now, ping).await
                }
            };
            if done.is_err() {
                return End::Lost;
            }
        }
    }

    async fn tick(&mut self, now: Instant, ping: bool) -> io::Result<()> {
        if ping {
            self.write(&encode(&Frame::Ping)).await?;
        }
        while let Some(reply) = self.due.first_entry().filter(|reply| reply.key().0 <= now) {
            let bytes = reply.remove();
            self.reply(&bytes).await?;
        }
        Ok(())
    }

    /// Takes in some bytes; an error where there are no more.
    async fn read(&mut self) -> io::Result<()> {
        let slow = self.host.traits.fault == Some(Fault::SlowReader);
        if slow && !self.heartbeat.is_zero() {
            sleep(SLOW_READ_BREAK).await;
        }
        let most = if slow { SLOW_READ_BYTES } else { READ_BYTES };
        poll_fn(|context| {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes[..most]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.frames.push(buffer.filled());
            let closed = buffer.filled().is_empty();
            (if closed { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }).into()
        })
        .await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn take_frames(&mut self) -> io::Result<Option<End>> {
        while let Some(line) = self.frames.next_line().map_err(io::Error::other)? {
            match FromServer::parse(line).map_err(io::Error::other)? {
                // Its certificate outlives every run: it is not renewed.
                FromServer::Ready { .. }
                | FromServer::Pong
                | FromServer::Ack(_)
                | FromServer::Renew
                | FromServer::Renewed(_) => {}
                FromServer::Bye(_) => return Ok(Some(End::Lost)),
                FromServer::Redirect(list) => return Ok(Some(redirected(&list))),
                FromServer::Rejected(rejected) => self.answer(rejected.into()).await?,
                FromServer::Request(request) => self.take(request).await?,
            }
        }
        if self.frames.is_empty() {
            self.frames = FrameReader::default();
        }
        Ok(None)
    }

    async fn take(&mut self, request: Request) -> io::Result<()> {
        let Request { id, call } = request;
        if matches!(call, Call::AgentInfo) {
            // Whatever is wrong with a host, this tells that it is there.
            let outcome = Outcome::new(Retcode::NormalTermination).with_data(&"simulated");
            return self.answer(Reply::new(id, outcome)).await;
        }
        self.host.had(&id);
        match self.host.traits.fault {
            _ if self.host.traits.silent => return Ok(()),
            Some(Fault::Drops) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::HalfOpen) => {
                sleep(self.heartbeat * HALF_OPEN_HEARTBEATS).await;
                return Err(io::ErrorKind::TimedOut.into());
            }
            _ => {}
        }
        let reply = Reply::new(id, self.outcome());
        let latency = self.host.traits.latency.draw(&mut self.random);
        if latency.is_zero() {
            return self.answer(reply).await;
        }
        self.taken += 1;
        self.due.insert((Instant::now() + latency, self.taken), encode(&reply));
        Ok(())
    }

    /// How the command went.
    fn outcome(&mut self) -> Outcome {
        let traits = &self.host.traits;
        let length = traits.output_bytes.clone().map_or(0, |range| self.random.usize(range));
        let (retcode, exitcode) =
            if traits.failing { (Retcode::ExitedWithAnError, 1) } else { (Retcode::NormalTermination, 0) };
        let outcome = Outcome::new(retcode).with_output(&vec![b'x'; length], b"");
        Outcome { exitcode: Some(exitcode), elapsed: Some(self.began.elapsed().as_secs_f64()), ..outcome }
    }

    async fn answer(&mut self, reply: Reply) -> io::Result<()> {
        self.reply(&encode(&reply)).await
    }

    async fn reply(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.host.traits.fault {
            Some(Fault::Resets) => {
                self.write(&bytes[..bytes.len() / 2]).await?;
                self.stream.get_ref().0.set_zero_linger()?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Some(Fault::Dribbles) => {
                for byte in bytes {
                    self.write(std::slice::from_ref(byte)).await?;
                    sleep(DRIBBLE_BREAK).await;
                }
            }
            _ => self.write(bytes).await?,
        }
        self.host.tally.replied();
        Ok(())
    }
}

fn greeted(line: &[u8]) -> End {
    match FromServer::parse(line) {
        Ok(FromServer::Redirect(list)) => redirected(&list),
        Ok(FromServer::Ready { heartbeat, .. }) => {
            let seconds = heartbeat.filter(|seconds| HEARTBEAT_SECONDS.contains(seconds)).unwrap_or(60);
            End::Ready(Duration::from_secs(seconds))
        }
        _ => End::Lost,
    }
}

fn redirected(list: &str) -> End {
    server_list::parse(list).map_or(End::Lost, End::Redirected)
}
