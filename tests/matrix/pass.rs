//! A pass: all shapes at the same time through one agent, and then a look at
//! what is left of each.

use super::census::{MARK, Process, Sweep, census, kill_all};
use super::cgroup;
use super::shape::{Dropped, End, How, Ready, Reply, Shape, Text};
use super::shapes::{Place, all};
use crate::rig::{Connected, PATIENCE, aloud, connected, is_root, process, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whether the requests name a time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What does not end by itself is ended by the time-out.
    WithTimeout,
    /// What does not end by itself is cancelled.
    WithoutTimeout,
}

/// Seconds for those that need no time-out: far more than they take.
const AMPLE: u64 = 60;
/// Seconds that a reply may need beside what elapsed: the start of all the
/// others, and the wait for the pipes. What holds a pipe holds it for ten minutes.
const UNDER_WAY: f64 = 10.0;
/// Where the environment has it: how many times the shapes are gone through.
const ROUNDS: &str = "MATRIX_ROUNDS";

/// A command that was sent.
struct Sent<'a> {
    shape: &'a Shape,
    id: String,
}

/// What came back, and when.
type Replies = BTreeMap<String, (Value, Instant)>;

pub struct Pass {
    // First to end: the agent after it would adopt what is swept.
    _sweep: Sweep,
    session: Connected,
    /// The agent's descriptors when it had nothing to do.
    before: Vec<String>,
    /// Names the shell, and with the mode this pass.
    shell: &'static str,
    mode: Mode,
    /// Begins every mark and every id of this pass.
    token: String,
    findings: Vec<String>,
}

/// Goes through all shapes as often as the environment says.
pub fn go_through(shell: &'static str, mode: Mode, bomber: &'static str) {
    let mut pass = Pass::new(shell, mode);
    let place = Place {
        folder: &pass.session.host.path("folders"),
        bomber: is_root().then_some(bomber),
        cgroups: cgroup::is_writable(),
    };
    if !is_root() {
        aloud("a fork bomb, and commands of other users, which need root");
    }
    if !place.cgroups {
        aloud("that a daemon dies with its command, which needs a writable cgroup v2");
    }
    for round in 0..rounds() {
        pass.round(round, &all(&place));
        kill_all(&pass.token);
        pass.session.agent.alone();
        pass.agent_is_as_before();
    }
}

pub fn rounds() -> usize {
    std::env::var(ROUNDS).map_or(1, |rounds| rounds.parse().expect(ROUNDS))
}

impl Pass {
    fn new(shell: &'static str, mode: Mode) -> Pass {
        let token = format!("{:016x}", fastrand::u64(..));
        let mut session = connected(&format!("shell = \"/bin/{shell}\""));
        session.link.output_of("true");
        let before = process::descriptors(session.agent.pid());
        Pass { _sweep: Sweep(token.clone()), session, before, shell, mode, token, findings: Vec::new() }
    }

    fn round(&mut self, round: usize, shapes: &[Shape]) {
        let all = shapes.iter().enumerate();
        let all: Vec<Sent> =
            all.map(|(n, shape)| Sent { shape, id: format!("{}.{round}.{n}.", self.token) }).collect();
        match self.mode {
            Mode::WithTimeout => self.time_out(&all),
            Mode::WithoutTimeout => self.cancel(&all),
        }
        self.look_who_is_left(&all);
        let findings = std::mem::take(&mut self.findings);
        assert!(findings.is_empty(), "round {round}:\n{}", findings.join("\n"));
        // Though some were left, and hold the other ends of their pipes.
        self.agent_is_as_before();
    }

    /// It holds nothing more, has reaped whoever ended, and is one thread.
    fn agent_is_as_before(&self) {
        let pid = self.session.agent.pid();
        until(&format!("{} × {:?}: the agent to be as before", self.shell, self.mode), || {
            let as_before = process::descriptors(pid) == self.before && process::zombies(pid) == 0;
            as_before.then_some(())
        });
        assert_eq!(process::status(pid, "Threads"), "1");
    }

    /// Everything is sent at once and waited for.
    fn time_out(&mut self, all: &[Sent]) {
        let begun = Instant::now();
        for sent in all {
            let told = matches!(sent.shape.end, End::Told { .. });
            self.send(sent, Some(if told { 1 } else { AMPLE }));
        }
        let replies = self.receive(all.len());
        for sent in all {
            let (End::ByItself(wanted) | End::Told { timed_out: wanted, .. }) = &sent.shape.end;
            let Some((reply, arrived)) = self.reply(sent, &replies, &sent.id) else { continue };
            self.judge(sent, reply, wanted);
            self.judge_time(sent, reply, wanted, arrived.duration_since(begun));
        }
    }

    /// First those that end by themselves, which are past cancelling then, and
    /// then the others.
    fn cancel(&mut self, all: &[Sent]) {
        let (brief, told): (Vec<&Sent>, Vec<&Sent>) =
            all.iter().partition(|sent| matches!(sent.shape.end, End::ByItself(_)));
        let begun = Instant::now();
        for sent in &brief {
            self.send(sent, None);
        }
        let replies = self.receive(brief.len());
        for sent in &brief {
            let End::ByItself(wanted) = &sent.shape.end else { continue };
            let Some((reply, arrived)) = self.reply(sent, &replies, &sent.id) else { continue };
            self.judge(sent, reply, wanted);
            self.judge_time(sent, reply, wanted, arrived.duration_since(begun));
            self.send_cancel(sent);
            let answer = self.session.link.receive();
            self.expect(sent, "the answer to the late cancel", &answer["retcode"], &json!(3024));
        }
        for sent in &told {
            self.send(sent, None);
        }
        self.wait_until_ready(&told);
        let begun = Instant::now();
        for sent in &told {
            self.send_cancel(sent);
        }
        let replies = self.receive(2 * told.len());
        for sent in &told {
            self.judge_cancelled(sent, begun, &replies);
        }
    }

    fn judge_cancelled(&mut self, sent: &Sent, begun: Instant, replies: &Replies) {
        let End::Told { cancelled: wanted, .. } = &sent.shape.end else { return };
        let ((reply, arrived), (answer, answered)) =
            (&replies[&sent.id], &replies[&format!("c-{}", sent.id)]);
        self.judge(sent, reply, wanted);
        let took = arrived.duration_since(begun).as_secs_f64();
        if !(wanted.after..wanted.before).contains(&took) {
            self.find(sent, &format!("{took:.3} s after the cancel, not {}", range(wanted)));
        }
        if answered < arrived {
            self.find(sent, "the cancel was answered before the command had ended");
        }
        self.expect(sent, "the cancel's retcode", &answer["retcode"], &json!(2));
        self.expect(sent, "the cancel's data", &answer["data"], &json!({"job": sent.id, "retcode": 3108}));
    }

    fn send(&mut self, sent: &Sent, timeout: Option<u64>) {
        let mut request = json!({"id": sent.id, "method": "sync.bash", "cmd": sent.shape.cmd, "env": {}});
        let fields = request.as_object_mut().unwrap();
        fields.extend(sent.shape.arguments.as_object().unwrap().clone());
        fields["env"][MARK] = json!(sent.id);
        fields.extend(timeout.map(|seconds| ("timeout".to_owned(), json!(seconds))));
        self.session.link.send(&request);
    }

    fn send_cancel(&mut self, sent: &Sent) {
        let cancel = json!({"id": format!("c-{}", sent.id), "method": "job.cancel", "job": sent.id});
        self.session.link.send(&cancel);
    }

    /// As many replies, or those that came before the patience ended.
    fn receive(&mut self, count: usize) -> Replies {
        let replies = (0..count).map_while(|_| {
            let reply = self.session.link.try_next().ok().flatten()?;
            Some((reply["id"].as_str().unwrap().to_owned(), (reply, Instant::now())))
        });
        replies.collect()
    }

    fn reply<'r>(&mut self, sent: &Sent, replies: &'r Replies, id: &str) -> Option<&'r (Value, Instant)> {
        let reply = replies.get(id);
        if reply.is_none() {
            self.find(sent, &format!("no reply to {id}"));
        }
        reply
    }

    fn wait_until_ready(&mut self, told: &[&Sent]) {
        let is_ready = |sent: &Sent, living: &[Process]| match &sent.shape.end {
            End::Told { ready, .. } => ready.is_met_by(living),
            End::ByItself(_) => true,
        };
        for (sent, living) in self.wait_for_all(told, is_ready) {
            self.find(sent, &format!("it did not take shape: {living:?}"));
        }
    }

    /// Nobody of those that were killed, all of those that were left on purpose.
    fn look_who_is_left(&mut self, all: &[Sent]) {
        let all: Vec<&Sent> = all.iter().collect();
        let is_as_wanted =
            |sent: &Sent, living: &[Process]| sent.shape.left.is_none_or(|left| left == living.len());
        for (sent, living) in self.wait_for_all(&all, is_as_wanted) {
            self.find(
                sent,
                &format!("{} processes were to be left: {living:?}", sent.shape.left.unwrap_or(0)),
            );
        }
    }

    /// Waits until `met` is true of every command and its living processes,
    /// and returns those of which it never was.
    fn wait_for_all<'a>(
        &self,
        all: &[&'a Sent<'a>],
        met: impl Fn(&Sent, &[Process]) -> bool,
    ) -> Vec<(&'a Sent<'a>, Vec<Process>)> {
        let begun = Instant::now();
        loop {
            let mut living = census(&self.token);
            let with_living = all.iter().map(|sent| (*sent, living.remove(&sent.id).unwrap_or_default()));
            let unmet: Vec<_> = with_living.filter(|(sent, living)| !met(sent, living)).collect();
            if unmet.is_empty() || begun.elapsed() > PATIENCE {
                return unmet;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn judge(&mut self, sent: &Sent, reply: &Value, wanted: &Reply) {
        if reply["retcode"] != wanted.retcode {
            self.find(sent, &format!("{} was wanted: {}", wanted.retcode, short(reply)));
            return;
        }
        let ended = |name: &str| reply[name].as_i64();
        let as_wanted = match wanted.how {
            How::Exit(code) => (ended("exitcode"), ended("signal")) == (Some(code), None),
            How::Signal(signal) => (ended("exitcode"), ended("signal")) == (None, Some(signal)),
            How::NotStarted(word) => {
                let detail = reply["detail"].as_str().unwrap_or_default();
                if !detail.contains(word) || reply.get("data").is_some() {
                    self.find(sent, &format!("{reply} does not say {word:?}"));
                }
                return;
            }
        };
        if !as_wanted {
            self.find(sent, &format!("{:?} was wanted: {}", wanted.how, short(reply)));
        }
        self.judge_text(sent, "data", &reply["data"], &wanted.data);
        self.judge_text(sent, "stderr", &reply["stderr"], &wanted.stderr);
        self.expect(sent, "encoding", &reply["encoding"], &json!(wanted.encoding));
        let dropped = reply["dropped"].as_u64();
        let as_wanted = match wanted.dropped {
            Dropped::Bytes(bytes) => dropped == Some(bytes),
            Dropped::Some => dropped > Some(0),
        };
        if !as_wanted {
            self.find(sent, &format!("dropped is {dropped:?}"));
        }
    }

    fn judge_text(&mut self, sent: &Sent, name: &str, seen: &Value, wanted: &Text) {
        match wanted {
            Text::Is(text) => self.expect(sent, name, seen, &json!(text)),
            Text::Has(part) if seen.as_str().is_some_and(|text| text.contains(part)) => {}
            Text::Has(part) => self.find(sent, &format!("{name} has no {part:?}: {}", short(seen))),
            Text::Any => {}
        }
    }

    fn judge_time(&mut self, sent: &Sent, reply: &Value, wanted: &Reply, arrived: Duration) {
        let Some(elapsed) = reply["elapsed"].as_f64() else { return };
        let arrived = arrived.as_secs_f64();
        // The agent takes the time once a turn: what elapsed may be less than what
        // a command took, but not less than the time-out that ended it.
        let least = if matches!(sent.shape.end, End::ByItself(_)) { arrived } else { elapsed };
        if least < wanted.after || elapsed >= wanted.before {
            self.find(sent, &format!("elapsed is {elapsed:.3} s, not {}", range(wanted)));
        }
        if arrived - elapsed > UNDER_WAY {
            self.find(sent, &format!("ended after {elapsed:.3} s, answered after {arrived:.3} s"));
        }
    }

    fn expect(&mut self, sent: &Sent, what: &str, seen: &Value, wanted: &Value) {
        if seen != wanted {
            self.find(sent, &format!("{what} is {}, not {}", short(seen), short(wanted)));
        }
    }

    fn find(&mut self, sent: &Sent, what: &str) {
        let (shell, name) = (self.shell, sent.shape.name);
        self.findings.push(format!("{shell} × {name} × {:?}: {what}", self.mode));
    }
}

impl Ready {
    fn is_met_by(self, living: &[Process]) -> bool {
        match self {
            Ready::Runs(count, program) => living.iter().filter(|p| p.comm == program).count() >= count,
            Ready::Stopped => living.iter().any(|process| process.state == 'T'),
            Ready::Many(count) => living.len() >= count,
        }
    }
}

fn range(wanted: &Reply) -> String {
    format!("from {} to {} s", wanted.after, wanted.before)
}

/// As much of a value as somebody wants to read.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
