//! The shapes. What takes more than a line is a script in tests/scripts/, run
//! as what it says and not as a file, so that it is run by the agent's shell.

use super::shape::Ready::{Many, Runs, Stopped};
use super::shape::{
    CANCELLED_BY_FORCE, FORCE_KILLED, INTERRUPTED, INTERRUPTED_TWICE, Shape, TERMINATED, Text, ends, lasts,
    refused,
};
use crate::rig::is_root;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Of each stream, as the configuration's default has it.
const LIMIT: usize = 65536;
const ASKS_LIKE_APT: &str = include_str!("../scripts/asks-like-apt.sh");
const ASKS_THE_TERMINAL: &str = include_str!("../scripts/asks-the-terminal.sh");
const ANSWERS_SIGNALS: &str = include_str!("../scripts/answers-signals.sh");
const NEEDS_TWO: &str = include_str!("../scripts/needs-two.sh");
const DAEMON: &str = include_str!("../scripts/daemon.sh");
const FORK_BOMB: &str = include_str!("../scripts/fork-bomb.sh");

/// What a pass has of its own.
pub struct Place<'a> {
    /// Where commands find folders.
    pub folder: &'a Path,
    /// As whom the fork bomb runs, nobody else's; root cannot be kept from forking.
    pub bomber: Option<&'a str>,
    /// Whether a command's cgroup shows what belongs to it.
    pub cgroups: bool,
}

pub fn all(place: &Place<'_>) -> Vec<Shape> {
    let mut shapes = ways_to_end();
    shapes.extend(outputs());
    shapes.extend(inputs());
    shapes.extend(surroundings(place));
    shapes.extend(left_behind());
    shapes.extend(waiting());
    shapes.extend(leaving(place));
    shapes.extend(hearing(place));
    shapes
}

fn ways_to_end() -> Vec<Shape> {
    vec![
        ends("plain", "echo hello").says("hello\n"),
        ends("exits 0", "exit 0"),
        ends("exits 1", "exit 1").exits(1),
        ends("exits 126", "/dev/null").exits(126).complains(Text::Has("ermission denied")),
        ends("exits 127", "no-such-command").exits(127).complains(Text::Has("not found")),
        ends("exits 255", "exit 255").exits(255),
        ends("kills itself by SIGKILL", "kill -9 $$").dies_of(9),
        ends("kills itself by SIGTERM", "kill -15 $$").dies_of(15),
        ends("kills itself by SIGSEGV", "ulimit -c 0; kill -11 $$").dies_of(11),
        ends("kills its whole group", "sleep 600 & kill -9 0").dies_of(9),
    ]
}

fn outputs() -> Vec<Shape> {
    let fill = |length: usize| ends("writes", &format!("head -c {length} /dev/zero | tr '\\0' x"));
    let kept = |length: usize| "x".repeat(length.min(LIMIT));
    let lines = |line: &str| line.repeat(LIMIT / 2);
    vec![
        Shape { name: "writes 64K-1", ..fill(LIMIT - 1).says(kept(LIMIT - 1)) },
        Shape { name: "writes 64K", ..fill(LIMIT).says(kept(LIMIT)) },
        Shape { name: "writes 64K+1", ..fill(LIMIT + 1).says(kept(LIMIT + 1)).drops(1) },
        ends("fills stdout", "yes | head -c 1000000").says(lines("y\n")).drops(1_000_000 - 65_536),
        ends("fills stderr", "yes | head -c 1000000 >&2")
            .complains(Text::Is(lines("y\n")))
            .drops(1_000_000 - 65_536),
        ends("fills both", "yes o | head -c 200000 & yes e | head -c 300000 >&2; wait")
            .says(lines("o\n"))
            .complains(Text::Is(lines("e\n")))
            .drops(500_000 - 2 * 65_536),
        lasts("fills stdout for ever", "yes", Runs(1, "yes"))
            .timed_out(INTERRUPTED.floods(lines("y\n")))
            .cancelled(TERMINATED.floods(lines("y\n"))),
        ends("writes no UTF-8", "printf '\\377\\000\\001'").says("/wAB").base64(),
        ends("closes its outputs and goes on", "echo first; exec >&- 2>&-; sleep 0.3; exit 4")
            .says("first\n")
            .takes(0.3)
            .exits(4),
        lasts("closes its outputs and stays", "exec >&- 2>&-; sleep 600; true", Runs(1, "sleep")),
    ]
}

fn inputs() -> Vec<Shape> {
    vec![
        ends("reads stdin", "cat; echo end").says("end\n"),
        ends("reads a line of stdin", "read -r line; echo \"$? <$line>\"").says("1 <>\n"),
        ends("asks like apt", ASKS_LIKE_APT).exits(1).says("Do you want to continue? [Y/n] Abort.\n"),
        ends("asks the terminal", ASKS_THE_TERMINAL).exits(3).says("no terminal\n"),
    ]
}

fn surroundings(place: &Place<'_>) -> Vec<Shape> {
    let fresh = |name: &str| {
        let folder = place.folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        json!({"cwd": folder})
    };
    let many: Map<String, Value> =
        (0..900).map(|n| (format!("HUGE_{n}"), Value::from("e".repeat(1000)))).collect();
    let (unknown, number) = if is_root() { (3023, 65534) } else { (3025, nix::unistd::geteuid().as_raw()) };
    let word = |text: &'static str| if is_root() { text } else { "only root can" };
    vec![
        ends("a huge environment", "env | grep -c ^HUGE_").says("900\n").with(json!({"env": many})),
        ends("a huge variable", "printf %s \"$HUGE\" | wc -c")
            .says("131000\n")
            .with(json!({"env": {"HUGE": "e".repeat(131_000)}})),
        ends("its cwd deleted under it", "rmdir \"$PWD\" && ls && echo on").says("on\n").with(fresh("a")),
        lasts("its cwd deleted under it for ever", "rmdir \"$PWD\"; sleep 600; true", Runs(1, "sleep"))
            .with(fresh("b")),
        refused("its cwd deleted before it", 3107, "cwd: ", json!({"cwd": place.folder.join("none")})),
        refused("a missing user", unknown, word("no-such-user"), json!({"user": "no-such-user"})),
        refused("a missing number", unknown, word("4000000000"), json!({"user": 4_000_000_000_u32})),
        ends("a numeric user", "id -u").says(format!("{number}\n")).with(json!({"user": number})),
    ]
}

/// What ends, and leaves something running on purpose.
fn left_behind() -> Vec<Shape> {
    vec![
        ends("left in the background", "sleep 600 &").leaves(1),
        ends("a list left in the background", "(sleep 600; true) &").leaves(2),
        ends("a pipeline left in the background", "sleep 600 | cat &").leaves(2),
        ends("left by nohup", "nohup sleep 600 &").leaves(1),
        ends("left by two forks", "(sleep 600 &)").leaves(1),
        ends("left by setsid", "setsid sleep 600 &").leaves(1),
        ends("left by two forks and setsid", "(setsid sleep 600 &)").leaves(1),
        ends("a daemon left", DAEMON).leaves(1),
    ]
}

/// What stays in the command's process group.
fn waiting() -> Vec<Shape> {
    let sleeps = |name, cmd| lasts(name, cmd, Runs(1, "sleep"));
    vec![
        sleeps("sleep", "sleep 600"),
        sleeps("sleep; true", "sleep 600; true"),
        sleeps("sleep & wait", "sleep 600 & wait"),
        sleeps("(sleep)", "(sleep 600)"),
        sleeps("(sleep); true", "(sleep 600); true"),
        sleeps("$(sleep)", "x=$(sleep 600); echo \"$x\""),
        sleeps("shells in shells", "sh -c 'sh -c \"sleep 600; true\"; true'; true"),
        lasts("sleep | cat", "sleep 600 | cat", Runs(1, "cat")),
        lasts("sleep | sleep | sleep", "sleep 600 | sleep 601 | sleep 602", Runs(3, "sleep")),
        sleeps("nohup & wait", "nohup sleep 600 & wait"),
        lasts("two forks, and waits", "(sleep 600 &); sleep 601; true", Runs(2, "sleep")),
        lasts("spins", "while :; do :; done", Many(1)),
    ]
}

/// What has left the command's process group when that is ended.
fn leaving(place: &Place<'_>) -> Vec<Shape> {
    let leaves_when_told = "trap 'setsid sleep 600 & exit 5' INT TERM; while :; do sleep 0.1; done";
    let mut daemon = lasts("a daemon, and waits", &format!("{DAEMON}\nsleep 601; true"), Runs(2, "sleep"));
    if !place.cgroups {
        daemon.left = None;
    }
    vec![
        lasts("setsid & wait", "setsid sleep 600 & wait", Runs(1, "sleep")),
        lasts("setsid, and waits", "setsid sleep 600 & sleep 601; true", Runs(2, "sleep")),
        lasts("two forks and setsid, and waits", "(setsid sleep 600 &); sleep 601; true", Runs(2, "sleep")),
        lasts(
            "setsid in setsid",
            "setsid sh -c 'setsid sleep 600 & sleep 601; true' & wait",
            Runs(2, "sleep"),
        ),
        lasts("leaves when told", leaves_when_told, Runs(1, "sleep"))
            .timed_out(INTERRUPTED.exits(5))
            .cancelled(TERMINATED.exits(5)),
        daemon,
    ]
}

/// What hears signals in its own way, or not at all.
fn hearing(place: &Place<'_>) -> Vec<Shape> {
    let polite = "trap 'echo bye; exit 7' INT TERM; while :; do sleep 0.1; done";
    let mut shapes = vec![
        lasts("ignores INT", "trap '' INT; sleep 600; true", Runs(1, "sleep")).timed_out(FORCE_KILLED),
        lasts("ignores INT and TERM", "trap '' INT TERM; sleep 600; true", Runs(1, "sleep")).deaf(),
        lasts(
            "ignores INT and TERM, and setsid",
            "trap '' INT TERM; setsid sleep 600 & wait",
            Runs(1, "sleep"),
        )
        .deaf(),
        lasts("answers INT and TERM", ANSWERS_SIGNALS, Runs(1, "sleep"))
            .timed_out(FORCE_KILLED.says("INT\nINT\n"))
            .cancelled(CANCELLED_BY_FORCE.says("TERM\n")),
        lasts("ends in its own way", polite, Runs(1, "sleep"))
            .timed_out(INTERRUPTED.exits(7).says("bye\n"))
            .cancelled(TERMINATED.exits(7).says("bye\n")),
        lasts("needs two", NEEDS_TWO, Runs(1, "sleep")).timed_out(INTERRUPTED_TWICE.exits(7).says("once\n")),
        lasts("stops itself", "kill -STOP $$; true", Stopped).deaf(),
        lasts("stops its group", "sleep 600 & kill -STOP 0; true", Stopped).deaf(),
        lasts("stops its child", "sleep 600 & kill -STOP $!; wait", Stopped),
    ];
    if let Some(user) = place.bomber {
        // It goes off only where it finds itself limited.
        let bomb = lasts("a fork bomb", FORK_BOMB, Many(20));
        shapes.push(bomb.with(json!({"user": user, "limits": {"processes": 40}})));
    }
    shapes
}
