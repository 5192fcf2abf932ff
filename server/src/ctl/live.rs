//! What commands write while they run, on its way to a terminal: what is to be
//! written now, and what of a final answer was not written yet.

use super::outcome::{Answer, Piece, Who};
use aspire_wire::session::StreamName;
use std::collections::BTreeMap;

/// Bytes without an end of line that are held back for the sake of whole lines.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Live {
    /// Whether lines need to say whose they are; then only whole ones are written.
    many: bool,
    /// Those without a final answer, by their ids.
    hosts: BTreeMap<String, Host>,
}

#[derive(Debug, Default)]
struct Host {
    label: String,
    stdout: Told,
    stderr: Told,
}

/// What came of one stream.
#[derive(Debug, Default)]
struct Told {
    bytes: Vec<u8>,
    /// How many of them were written.
    written: usize,
}

impl Live {
    pub fn new(many: bool) -> Live {
        Live { many, hosts: BTreeMap::new() }
    }

    /// What is to be written now.
    pub fn piece(&mut self, piece: &Piece) -> Vec<u8> {
        let many = self.many;
        let host = self.host(&piece.who);
        let told = match piece.stream {
            StreamName::Stdout => &mut host.stdout,
            StreamName::Stderr => &mut host.stderr,
        };
        told.bytes.extend_from_slice(&piece.bytes);
        let end = if many { told.whole_lines() } else { told.bytes.len() };
        shown(many, &host.label, told.up_to(end))
    }

    /// What was not written yet of the answer's two streams.
    pub fn rest(&mut self, answer: &Answer) -> [Vec<u8>; 2] {
        self.host(&answer.who);
        let mut host = self.hosts.remove(&answer.who.host).unwrap_or_default();
        host.stdout.complete(&answer.stdout());
        host.stderr.complete(&answer.stderr());
        host.waiting(self.many)
    }

    /// What is held back of hosts of which nothing more comes.
    pub fn cut_off(&mut self) -> Vec<[Vec<u8>; 2]> {
        let hosts = std::mem::take(&mut self.hosts);
        hosts.into_values().map(|mut host| host.waiting(self.many)).collect()
    }

    fn host(&mut self, who: &Who) -> &mut Host {
        let new = || Host { label: who.label(), ..Host::default() };
        self.hosts.entry(who.host.clone()).or_insert_with(new)
    }
}

impl Host {
    fn waiting(&mut self, many: bool) -> [Vec<u8>; 2] {
        let label = &self.label;
        [&mut self.stdout, &mut self.stderr].map(|told| shown(many, label, told.up_to(told.bytes.len())))
    }
}

impl Told {
    /// Where the last whole line ends; a line that is too long to be waited for is taken as whole.
    fn whole_lines(&self) -> usize {
        let waiting = &self.bytes[self.written..];
        let end = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let end = if waiting.len() - end > MAX_LINE_BYTES { waiting.len() } else { end };
        self.written + end
    }

    /// Those before `end` that were not written; now they are.
    fn up_to(&mut self, end: usize) -> &[u8] {
        let begin = std::mem::replace(&mut self.written, end);
        &self.bytes[begin..end]
    }

    /// Adds what the final answer has beyond what came, which as a rule is its beginning. Where it
    /// is not, the answer may be short for want of memory on the host: nothing is written twice.
    fn complete(&mut self, answer: &[u8]) {
        let same = self.bytes.iter().zip(answer).take_while(|(told, answer)| told == answer).count();
        self.bytes.extend_from_slice(&answer[same..]);
    }
}

/// Text with whose it is before each line, or as it is.
fn shown(many: bool, label: &str, text: &[u8]) -> Vec<u8> {
    if many { prefixed(label, text) } else { text.to_vec() }
}

/// `web-1: line` for each line; the last one, too, gets an end.
pub fn prefixed(label: &str, text: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        shown.extend_from_slice(label.as_bytes());
        shown.extend_from_slice(b": ");
        shown.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            shown.push(b'\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::outcome::Line;
    use serde_json::json;

    fn piece(live: &mut Live, host: &str, stream: &str, data: &str) -> String {
        let text = json!({"host": host, "method": "output", "stream": stream, "data": data});
        let Ok(Line::Piece(piece)) = Line::parse(&text.to_string()) else { panic!("{text}") };
        String::from_utf8(live.piece(&piece)).unwrap()
    }

    fn rest(live: &mut Live, host: &str, stdout: &str, stderr: &str) -> [String; 2] {
        let text = json!({"host": host, "resp": "success", "retcode": 2, "message": "", "data": stdout,
                          "stderr": stderr});
        let Ok(Line::Answer(answer)) = Line::parse(&text.to_string()) else { panic!("{text}") };
        live.rest(&answer).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn of_many_hosts_whole_lines_are_shown_and_the_rest_at_the_end() {
        let mut live = Live::new(true);
        assert_eq!(piece(&mut live, "a", "stdout", "on"), "");
        assert_eq!(piece(&mut live, "b", "stdout", "other\n"), "b: other\n");
        assert_eq!(piece(&mut live, "a", "stderr", "oh"), "");
        assert_eq!(piece(&mut live, "a", "stdout", "e\n\ntw"), "a: one\na: \n");
        assert_eq!(rest(&mut live, "a", "one\n\ntwo", "oh"), ["a: two\n", "a: oh\n"]);
        assert_eq!(rest(&mut live, "b", "other\n", ""), ["", ""]);
        assert_eq!(rest(&mut live, "c", "all\nat once", "x"), ["c: all\nc: at once\n", "c: x\n"]);
        assert_eq!(live.cut_off(), Vec::<[Vec<u8>; 2]>::new());
    }

    #[test]
    fn of_one_host_all_is_shown_as_it_comes() {
        let mut live = Live::new(false);
        assert_eq!(piece(&mut live, "a", "stdout", "on"), "on");
        assert_eq!(piece(&mut live, "a", "stderr", "?"), "?");
        assert_eq!(rest(&mut live, "a", "one", "?!"), ["e", "!"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_waited_for() {
        let mut live = Live::new(true);
        let long = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(piece(&mut live, "a", "stdout", &long), "");
        assert_eq!(piece(&mut live, "a", "stdout", "y"), format!("a: {long}y\n"));
        assert_eq!(piece(&mut live, "a", "stdout", "z\n"), "a: z\n");
    }

    #[test]
    fn nothing_is_shown_twice_where_the_answer_is_another() {
        let mut live = Live::new(false);
        piece(&mut live, "a", "stdout", "12345");
        assert_eq!(rest(&mut live, "a", "", ""), ["", ""], "its memory was given up");
        piece(&mut live, "a", "stdout", "12345");
        assert_eq!(rest(&mut live, "a", "12x", ""), ["x", ""]);
    }

    #[test]
    fn what_is_held_back_is_shown_when_nothing_more_comes() {
        let mut live = Live::new(true);
        piece(&mut live, "a", "stdout", "half");
        assert_eq!(live.cut_off(), [[b"a: half\n".to_vec(), Vec::new()]]);
    }
}
