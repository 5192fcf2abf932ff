//! What a shape is, and what is wanted of it.

use serde_json::{Value, json};

/// A command and what it comes to.
pub struct Shape {
    pub name: &'static str,
    pub cmd: String,
    /// Fields of the request beside its line.
    pub arguments: Value,
    pub end: End,
    /// How many processes live on when it has been answered; `None` where
    /// nobody can say.
    pub left: Option<usize>,
}

pub enum End {
    /// Of its own accord, with a time-out and without.
    ByItself(Reply),
    /// Never before it is told to.
    Told {
        /// What the time-out of a second, with a grace of a second, makes of it.
        timed_out: Reply,
        /// What becomes of it when it is cancelled.
        cancelled: Reply,
        /// How to see that it is what it wants to be, and can be cancelled.
        ready: Ready,
    },
}

/// When a command is in shape.
#[derive(Clone, Copy)]
pub enum Ready {
    /// As many of its processes run this program.
    Runs(usize, &'static str),
    /// One of its processes has been stopped.
    Stopped,
    /// It has as many processes, at least.
    Many(usize),
}

/// What is wanted of a reply.
#[derive(Clone)]
pub struct Reply {
    pub retcode: i64,
    pub how: How,
    /// Seconds: of a command that timed out or ended by itself from its start,
    /// of one that was cancelled from then on.
    pub after: f64,
    pub before: f64,
    pub data: Text,
    pub stderr: Text,
    pub encoding: Option<&'static str>,
    pub dropped: Dropped,
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    Exit(i64),
    Signal(i64),
    /// It never ran, and the detail has this word.
    NotStarted(&'static str),
}

#[derive(Clone)]
pub enum Text {
    Is(String),
    Has(&'static str),
    /// What the shell itself may say of it.
    Any,
}

#[derive(Clone, Copy)]
pub enum Dropped {
    Bytes(u64),
    Some,
}

/// Seconds that a command which ends by itself may take on a loaded machine,
/// far from any time-out.
const BRIEF: f64 = 10.0;
/// SIGINT, the first. (That it came, and came alone, those tell who hear it in
/// their own way; a busy machine may be late.)
pub const INTERRUPTED: Reply = Reply::of(3103, How::Signal(2), 1.0, 4.0);
/// SIGINT, the second.
pub const INTERRUPTED_TWICE: Reply = Reply::of(3103, How::Signal(2), 2.0, 5.0);
/// SIGKILL, the third time-out.
pub const FORCE_KILLED: Reply = Reply::of(3104, How::Signal(9), 3.0, 6.0);
/// SIGTERM of a cancel. How far it went the signal says, so that time may be lost.
pub const TERMINATED: Reply = Reply::of(3108, How::Signal(15), 0.0, 5.0);
/// SIGKILL a grace after the cancel.
pub const CANCELLED_BY_FORCE: Reply = Reply::of(3108, How::Signal(9), 1.0, 6.0);

impl Reply {
    const fn of(retcode: i64, how: How, after: f64, before: f64) -> Reply {
        Reply {
            retcode,
            how,
            after,
            before,
            data: Text::Is(String::new()),
            stderr: Text::Any,
            encoding: None,
            dropped: Dropped::Bytes(0),
        }
    }

    pub fn says(self, data: &str) -> Reply {
        Reply { data: Text::Is(data.into()), ..self }
    }

    /// Too much of it.
    pub fn floods(self, data: String) -> Reply {
        Reply { data: Text::Is(data), dropped: Dropped::Some, ..self }
    }

    /// It answers the signal with an exit status of its own.
    pub fn exits(self, code: i64) -> Reply {
        Reply { how: How::Exit(code), ..self }
    }
}

/// A shape that ends by itself: with 0 and without a word, if nothing else is said.
pub fn ends(name: &'static str, cmd: &str) -> Shape {
    let reply = Reply { stderr: Text::Is(String::new()), ..Reply::of(2, How::Exit(0), 0.0, BRIEF) };
    Shape { name, cmd: cmd.into(), arguments: json!({}), end: End::ByItself(reply), left: Some(0) }
}

/// A shape that has to be told: it hears the first signal, if nothing else is said.
pub fn lasts(name: &'static str, cmd: &str, ready: Ready) -> Shape {
    let end = End::Told { timed_out: INTERRUPTED, cancelled: TERMINATED, ready };
    Shape { name, cmd: cmd.into(), arguments: json!({}), end, left: Some(0) }
}

/// A shape that does not start.
pub fn refused(name: &'static str, retcode: i64, word: &'static str, arguments: Value) -> Shape {
    let reply = Reply::of(retcode, How::NotStarted(word), 0.0, BRIEF);
    Shape { name, cmd: "true".into(), arguments, end: End::ByItself(reply), left: Some(0) }
}

impl Shape {
    pub fn with(self, arguments: Value) -> Shape {
        Shape { arguments, ..self }
    }

    pub fn leaves(self, left: usize) -> Shape {
        Shape { left: Some(left), ..self }
    }

    /// What is wanted of one that ends by itself is otherwise.
    fn but(mut self, change: impl FnOnce(&mut Reply)) -> Shape {
        let End::ByItself(reply) = &mut self.end else { panic!("{} does not end by itself", self.name) };
        change(reply);
        self
    }

    pub fn exits(self, code: i64) -> Shape {
        self.but(|reply| (reply.retcode, reply.how) = (if code == 0 { 2 } else { 3101 }, How::Exit(code)))
    }

    pub fn dies_of(self, signal: i64) -> Shape {
        self.but(|reply| (reply.retcode, reply.how) = (3102, How::Signal(signal)))
    }

    pub fn says(self, data: impl Into<String>) -> Shape {
        self.but(|reply| reply.data = Text::Is(data.into()))
    }

    pub fn complains(self, stderr: Text) -> Shape {
        self.but(|reply| reply.stderr = stderr)
    }

    pub fn base64(self) -> Shape {
        self.but(|reply| reply.encoding = Some("base64"))
    }

    pub fn drops(self, bytes: u64) -> Shape {
        self.but(|reply| reply.dropped = Dropped::Bytes(bytes))
    }

    pub fn takes(self, seconds: f64) -> Shape {
        self.but(|reply| reply.after = seconds)
    }

    pub fn timed_out(mut self, wanted: Reply) -> Shape {
        let End::Told { timed_out, .. } = &mut self.end else { panic!("{} ends by itself", self.name) };
        *timed_out = wanted;
        self
    }

    pub fn cancelled(mut self, wanted: Reply) -> Shape {
        let End::Told { cancelled, .. } = &mut self.end else { panic!("{} ends by itself", self.name) };
        *cancelled = wanted;
        self
    }

    /// It hears neither SIGINT nor SIGTERM.
    pub fn deaf(self) -> Shape {
        self.timed_out(FORCE_KILLED).cancelled(CANCELLED_BY_FORCE)
    }
}
