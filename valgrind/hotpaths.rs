//! Three paths that every command takes, run over and over so that valgrind/run
//! can count their instructions: `hotpaths PATH TIMES`.

use aspire::exec::{AllowList, Done, Exec, ExecSettings, Fact, Wanted};
use aspire::machine::{Effect, Effects, Event, Exit, Identity, Instant, Now, Stream};
use aspire::wire::frame::encode;
use aspire::wire::session::FromServer;
use aspire::wire::{Call, Command, FrameReader, Outcome, Reply, Request, Retcode};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// A request as Polaris writes it, in two pieces as the network may bring it.
const FRAME: &[u8] = b"{\"id\":\"0b6f3c9e-6a0c-4f36-9d0f-2b8f0a7f1c55\",\"method\":\"sync.bash\",\
    \"cmd\":\"df -h / | tail -1; grep -c \\\"^processor\\\" /proc/cpuinfo\",\"timeout\":10,\
    \"user\":\"root\",\"group\":\"root\",\"cwd\":\"/tmp\",\"env\":{\"LANG\":\"de_DE.UTF-8\"}}\n";
/// What a command writes: text, with some that JSON must escape and some beyond ASCII.
const LINE: &str = "/dev/vda1\t252G   26G   66G  28% /srv/\"größe\"\n";
const LINES: usize = 100;
const PIECES: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, times] = &arguments[..] else { return ExitCode::from(2) };
    let Ok(times) = times.parse::<u32>() else { return ExitCode::from(2) };
    let done = match path.as_str() {
        "frame-to-request" => frames_to_requests(times),
        "output-to-reply" => output_to_replies(times),
        "reply-to-bytes" => Some(replies_to_bytes(times)),
        _ => None,
    };
    // What went wrong would be counted as something else.
    if done == Some(times) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bytes of the link to what is to be done.
fn frames_to_requests(times: u32) -> Option<u32> {
    let mut frames = FrameReader::default();
    let (head, tail) = FRAME.split_at(FRAME.len() / 2);
    let mut done = 0;
    for _ in 0..times {
        for piece in [head, tail] {
            frames.push(black_box(piece));
            while let Some(line) = frames.next_line().ok()? {
                black_box(request(line)?);
                done += 1;
            }
        }
    }
    Some(done)
}

/// A command's start, output and end to its outcome.
fn output_to_replies(times: u32) -> Option<u32> {
    let mut command = command()?;
    // A look at it would come first, by a child.
    command.cwd = None;
    let output = LINE.repeat(LINES);
    let mut exec = Exec::new(settings(), root());
    let now = Now { mono: Instant::default(), wall: SystemTime::UNIX_EPOCH };
    let (mut fx, mut facts) = (Effects::default(), Vec::new());
    let mut count = 0;
    for _ in 0..times {
        let wanted = Wanted { command: command.clone(), remembered: false };
        exec.submit(now, "id".into(), wanted, &mut fx, &mut facts);
        let Effect::Spawn { child, .. } = fx.take().pop()? else { return None };
        for piece in output.as_bytes().chunks(output.len() / PIECES) {
            exec.handle(now, &Event::Output(child, Stream::Out, black_box(piece)), &mut fx, &mut facts);
        }
        exec.handle(now, &Event::OutputEnded(child, Stream::Out), &mut fx, &mut facts);
        exec.handle(now, &Event::OutputEnded(child, Stream::Err), &mut fx, &mut facts);
        exec.handle(now, &Event::Exited(child, Exit::Code(0)), &mut fx, &mut facts);
        let Fact::Done(Done { outcome, .. }) = black_box(facts.pop()?) else { return None };
        count += u32::from(outcome.is_success());
    }
    Some(count)
}

/// An outcome's way onto the link.
fn replies_to_bytes(times: u32) -> u32 {
    let outcome =
        Outcome::new(Retcode::NormalTermination).with_output(LINE.repeat(LINES).as_bytes(), LINE.as_bytes());
    let reply = Reply::new("0b6f3c9e-6a0c-4f36-9d0f-2b8f0a7f1c55", outcome);
    let mut count = 0;
    for _ in 0..times {
        count += u32::from(black_box(encode(black_box(&reply))).ends_with(b"}\n"));
    }
    count
}

fn request(line: &[u8]) -> Option<Request> {
    match FromServer::parse(line) {
        Ok(FromServer::Request(request)) => Some(request),
        _ => None,
    }
}

fn command() -> Option<Command> {
    match request(FRAME.trim_ascii_end())?.call {
        Call::SyncBash(command) => Some(command),
        _ => None,
    }
}

fn settings() -> ExecSettings {
    ExecSettings {
        shell: "/bin/bash".into(),
        max_children: 64,
        output_limit: 64 * 1024,
        timeout: Duration::from_secs(120),
        grace: Duration::from_secs(3),
        allow: AllowList::default(),
    }
}

fn root() -> Identity {
    Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        name: "root".into(),
        group_name: "root".into(),
        home: "/root".into(),
    }
}
