//! A Polaris that costs little: one thread, one link, requests whose bytes are
//! made ready before, replies of which no more than the id and the retcode is
//! looked at.

use crate::rig::agent::{Agent, Host};
use crate::rig::pki::Ca;
use crate::rig::polaris::{Link, Polaris};
use aspire::wire::Retcode;
use std::io::Write as _;
use std::process::Stdio;

/// A request but for its id, and the retcode that must answer it.
pub struct Shape {
    tail: Vec<u8>,
    retcode: u16,
}

impl Shape {
    /// The request's members as JSON, without the braces around them.
    pub fn new(members: &str, retcode: Retcode) -> Shape {
        let tail = format!(",\"method\":\"sync.bash\",{members}}}\n").into_bytes();
        Shape { tail, retcode: retcode.code() }
    }
}

/// The agent, its link, and the account of all that was asked and answered.
pub struct Driver {
    link: Link,
    agent: Agent,
    _polaris: Polaris,
    _host: Host,
    /// The retcode that each request waits for; 0 where it was answered.
    open: Vec<u16>,
    unsent: Vec<u8>,
    /// Replies to nothing that was open.
    pub doubled: u64,
    /// Replies with another retcode than the one expected.
    pub wrong: u64,
}

impl Driver {
    /// Starts the agent as a host has it, and waits for its link.
    pub fn start() -> Driver {
        let ca = Ca::new();
        let polaris = Polaris::start(&ca);
        let host = Host::enrolled(&ca);
        host.configure(&polaris.server(), "");
        let agent = Agent::of(host.command().arg("-f").stdin(Stdio::null()).spawn().unwrap());
        let link = polaris.ready();
        let (open, unsent) = (Vec::new(), Vec::new());
        Driver { link, agent, _polaris: polaris, _host: host, open, unsent, doubled: 0, wrong: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.agent.pid()
    }

    /// Waits until the agent has no child any more.
    pub fn settle(&self) {
        self.agent.alone();
    }

    pub fn sent(&self) -> usize {
        self.open.len()
    }

    /// Requests that nothing has answered.
    pub fn lost(&self) -> usize {
        self.open.iter().filter(|retcode| **retcode != 0).count()
    }

    /// Keeps so many requests under way for as long as `next` has one, and
    /// returns when the last of them is answered, or none answers any more.
    pub fn run<'a>(&mut self, at_once: usize, mut next: impl FnMut() -> Option<&'a Shape>) {
        let mut under_way = 0;
        loop {
            while under_way < at_once
                && let Some(shape) = next()
            {
                self.queue(shape);
                under_way += 1;
            }
            if under_way == 0 {
                return;
            }
            self.link.send_bytes(&self.unsent);
            self.unsent.clear();
            let (open, mut doubled, mut wrong) = (&mut self.open, 0, 0);
            let goes_on = self.link.take_lines(|line| {
                let (id, retcode) = id_and_retcode(line).expect("a reply");
                match open.get_mut(id).map(std::mem::take) {
                    None | Some(0) => doubled += 1,
                    Some(expected) => {
                        under_way -= 1;
                        wrong += u64::from(expected != retcode);
                    }
                }
            });
            self.doubled += doubled;
            self.wrong += wrong;
            if !goes_on {
                return;
            }
        }
    }

    fn queue(&mut self, shape: &Shape) {
        write!(self.unsent, "{{\"id\":\"{}\"", self.open.len()).unwrap();
        self.unsent.extend_from_slice(&shape.tail);
        self.open.push(shape.retcode);
    }
}

/// As the agent writes a reply: the id first, the retcode among the first members.
fn id_and_retcode(line: &[u8]) -> Option<(usize, u16)> {
    let head = str::from_utf8(&line[..line.len().min(128)]).ok()?;
    let (id, rest) = head.strip_prefix("{\"id\":\"")?.split_once('"')?;
    let (_, rest) = rest.split_once("\"retcode\":")?;
    Some((id.parse().ok()?, rest.split_once(',')?.0.parse().ok()?))
}
