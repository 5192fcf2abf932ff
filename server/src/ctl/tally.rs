//! How far a request is, as it is seen line by line: for the bar below the answers and the words at the end.

use super::outcome::{Answer, Line, StoppedLine};
use super::output::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashSet;

/// Names that are told of those that were not begun; the answers have them all.
const SHOWN_NAMES: usize = 20;

/// See the module.
#[derive(Debug)]
pub struct Tally {
    bar: ProgressBar,
    hosts: u64,
    /// Whether hosts are begun one after the other.
    rollout: bool,
    /// By their ids: those that were begun and have not answered, of a rollout.
    under_way: HashSet<String>,
    succeeded: u64,
    failed: u64,
    not_begun: u64,
    /// The first of them.
    names: Vec<String>,
    stopped: Option<StoppedLine>,
}

impl Tally {
    /// Of nothing yet. It is `shown` where standard error is a terminal.
    pub fn new(shown: bool, rollout: bool) -> Tally {
        Tally {
            bar: bar(shown),
            hosts: 0,
            rollout,
            under_way: HashSet::new(),
            succeeded: 0,
            failed: 0,
            not_begun: 0,
            names: Vec::new(),
            stopped: None,
        }
    }

    pub fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// The request is for so many hosts.
    pub fn begins(&mut self, hosts: u64) {
        self.hosts = hosts;
        match hosts {
            0 | 1 => self.bar.set_draw_target(ProgressDrawTarget::hidden()),
            many => self.bar.set_length(many),
        }
        self.bar.set_message(self.message());
    }

    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Begun(who) => {
                self.under_way.insert(who.host.clone());
            }
            Line::Stopped(stopped) => self.stopped = Some(stopped.clone()),
            Line::Answer(answer) => self.answer(answer),
            Line::Piece(_) | Line::Moved { .. } | Line::Unknown => return,
        }
        self.bar.set_message(self.message());
    }

    fn answer(&mut self, answer: &Answer) {
        self.under_way.remove(&answer.who.host);
        if answer.is_not_begun() {
            self.not_begun += 1;
            if self.names.len() < SHOWN_NAMES {
                self.names.push(answer.who.label());
            }
        } else if answer.is_success() {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        self.bar.inc(1);
    }

    /// `2 under way, 5 done, 1 failed, 12 not begun`
    fn message(&self) -> String {
        let over = self.succeeded + self.failed + self.not_begun;
        let left = self.hosts.saturating_sub(over);
        let (under_way, waiting) = if self.rollout && self.stopped.is_none() {
            let under_way = left.min(self.under_way.len() as u64);
            (under_way, left - under_way)
        } else {
            (left, 0)
        };
        counted(&[
            (under_way, "under way"),
            (self.succeeded, "done"),
            (self.failed, "failed"),
            (waiting + self.not_begun, "not begun"),
        ])
    }

    /// Why it ended early, if it did, and for whom:
    /// `not begun: d, e: the rollout stopped after 2 errors (max_errors 1)`
    pub fn told_at_the_end(&self) -> Option<String> {
        let stopped = self.stopped.as_ref()?;
        let more = self.not_begun.saturating_sub(self.names.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = self.names.join(", ");
        Some(format!("not begun: {names}{more}: {}", printable(&stopped.detail)))
    }
}

/// How many hosts of how many are over, and what of them; hidden where standard error is no terminal.
pub fn bar(shown: bool) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} hosts: {msg}  {elapsed}");
    let bar = if shown { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// `2 under way, 5 done`; what there is none of is left out.
pub fn counted(parts: &[(u64, &str)]) -> String {
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rollout: bool, hosts: u64, lines: &[&str]) -> Tally {
        let mut tally = Tally::new(false, rollout);
        tally.begins(hosts);
        for line in lines {
            tally.line(&Line::parse(line).unwrap());
        }
        tally
    }

    const BEGUN: [&str; 2] =
        [r#"{"host":"1","name":"a","method":"begun"}"#, r#"{"host":"2","name":"b","method":"begun"}"#];
    const DONE: &str = r#"{"host":"1","name":"a","resp":"success","retcode":2,"message":""}"#;
    const FAILED: &str = r#"{"host":"2","name":"b","resp":"failed","retcode":3101,"message":""}"#;
    const STOPPED: &str =
        r#"{"reason":"errors","detail":"it stopped\u001b","not_begun":1,"method":"stopped"}"#;

    #[test]
    fn of_a_rollout_those_under_way_are_told_from_those_to_come() {
        let tally = tally(true, 9, &[BEGUN[0], BEGUN[1], DONE]);
        assert_eq!(
            (tally.message(), tally.told_at_the_end()),
            ("1 under way, 1 done, 7 not begun".into(), None)
        );
    }

    #[test]
    fn without_one_all_are_under_way_from_the_begin() {
        assert_eq!(tally(false, 9, &[DONE, FAILED]).message(), "7 under way, 1 done, 1 failed");
    }

    #[test]
    fn at_the_end_it_says_who_was_not_begun_and_why() {
        let not_begun = |n: usize| {
            format!(r#"{{"host":"x{n}","name":"c{n}","resp":"failed","retcode":207,"message":""}}"#)
        };
        let one = not_begun(3);
        let tally_of_one = tally(true, 3, &[BEGUN[0], BEGUN[1], DONE, FAILED, STOPPED, &one]);
        assert_eq!(tally_of_one.message(), "1 done, 1 failed, 1 not begun");
        assert_eq!(tally_of_one.told_at_the_end().unwrap(), "not begun: c3: it stopped\\u{1b}");
        let many: Vec<String> = (0..30).map(not_begun).collect();
        let lines: Vec<&str> = many.iter().map(String::as_str).chain([STOPPED]).collect();
        let told = tally(true, 30, &lines).told_at_the_end().unwrap();
        assert!(told.ends_with("c18, c19 and 10 more: it stopped\\u{1b}"), "{told}");
    }
}
