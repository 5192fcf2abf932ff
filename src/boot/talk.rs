//! When boot speaks to a server, and what it hears: reports every step and when there is news,
//! results as soon as there are any, both later and later while nobody takes them.

use crate::http::{Answered, Ask, Exchange, ExchangeError, Response};
use crate::link::Backoff;
use crate::machine::limits::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, EXCHANGE_TIMEOUT, REPORT_AGAIN_MIN, REPORT_PACE,
};
use crate::machine::{Effects, Event, Instant, Now, Protocol, Security};
use crate::store::KeptResult;
use crate::wire::boot::{
    BootResult, MAX_BOOT_BODY_BYTES, OK, RESULT_PATH, ResultAnswer, STATUS_PATH, STEP_SECONDS, Status,
    StatusAnswer,
};
use crate::wire::frame::encode;
use crate::wire::server_list::Server;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// How far from a step's end a report may be: a tenth of it, either way.
const JITTER: f64 = 0.1;

/// Whom to ask, and how to be known to them.
pub struct Servers {
    pub first: Server,
    pub others: Vec<Server>,
    pub tls_dir: PathBuf,
}

#[derive(Debug)]
pub struct Talk {
    under_way: UnderWay,
    step: Duration,
    report_due: Instant,
    /// When the last report was begun.
    reported: Option<Instant>,
    /// `None` where there are no results to be told.
    results_due: Option<Instant>,
    reports: Trouble,
    /// What is wrong with results may be right with reports, and must not bring them about.
    results: Trouble,
    chance: fastrand::Rng,
}

/// How one of both fares.
#[derive(Debug)]
struct Trouble {
    backoff: Backoff,
    /// Whether the last was taken; `None` where there was none.
    is_well: Option<bool>,
}

#[derive(Debug)]
enum UnderWay {
    Nothing,
    Report(Box<Exchange<StatusAnswer>>),
    Results(Box<Exchange<ResultAnswer>>, Vec<KeptResult>),
}

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Report,
    Results,
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// The answer to a report, and whether it is the first, or the first after trouble.
    Answer(Answered<StatusAnswer>, bool),
    /// The server has taken these.
    Taken(Vec<KeptResult>, Server),
    /// Nobody took it: what, why, and how long until it is tried again.
    Failed(Due, String, Duration),
}

impl Talk {
    /// `seed` is for the spread of reports.
    pub fn new(now: Now, step: u64, seed: u64) -> Talk {
        let step = Duration::from_secs(step);
        Talk {
            under_way: UnderWay::Nothing,
            step,
            report_due: now.mono,
            reported: None,
            results_due: None,
            reports: Trouble::new(step, seed),
            results: Trouble::new(step, !seed),
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// Another step, from the next report on, which comes no later for it.
    pub fn configure(&mut self, now: Now, step: u64) {
        let step = Duration::from_secs(step);
        if step == self.step {
            return;
        }
        self.step = step;
        for trouble in [&mut self.reports, &mut self.results] {
            trouble.backoff.configure(REPORT_AGAIN_MIN, step.max(REPORT_AGAIN_MIN));
        }
        self.report_due = self.report_due.min(now.mono + step);
    }

    /// There is something new to report. Where nobody takes reports it waits with the next.
    pub fn has_news(&mut self, now: Now) {
        if self.reports.is_well != Some(false) {
            let paced = self.reported.map_or(now.mono, |reported| now.mono.max(reported + REPORT_PACE));
            self.report_due = self.report_due.min(paced);
        }
    }

    /// Others may take what nobody took.
    pub fn begin_anew(&mut self, now: Now) {
        for trouble in [&mut self.reports, &mut self.results] {
            trouble.backoff.reset();
            trouble.is_well = None;
        }
        self.results_due = self.results_due.map(|due| due.min(now.mono));
        self.has_news(now);
    }

    /// There are results to be told.
    pub fn has_results(&mut self, now: Now) {
        if self.results_due.is_none() {
            // Who is not there for reports is not there for them.
            let is_away = self.reports.is_well == Some(false);
            self.results_due = Some(if is_away { self.report_due } else { now.mono });
        }
    }

    /// They cannot be had, or it cannot be kept that they were told.
    pub fn results_fail(&mut self, now: Now) -> Duration {
        let wait = self.results.fails();
        self.results_due = Some(now.mono + wait);
        wait
    }

    /// There are none any more.
    pub fn has_no_results(&mut self) {
        self.results_due = None;
    }

    /// What it is time for, where nothing is under way.
    pub fn due(&self, now: Now) -> Option<Due> {
        match self.under_way {
            UnderWay::Nothing if self.results_due.is_some_and(|due| now.mono >= due) => Some(Due::Results),
            UnderWay::Nothing if now.mono >= self.report_due => Some(Due::Report),
            _ => None,
        }
    }

    pub fn deadline(&self) -> Instant {
        match &self.under_way {
            UnderWay::Nothing => self.results_due.map_or(self.report_due, |due| due.min(self.report_due)),
            UnderWay::Report(exchange) => exchange.deadline(),
            UnderWay::Results(exchange, _) => exchange.deadline(),
        }
    }

    pub fn report(&mut self, now: Now, status: &Status, to: Servers, fx: &mut Effects) {
        self.reported = Some(now.mono);
        self.report_due = now.mono + self.next_step();
        let ask = ask(&to, STATUS_PATH, encode(status));
        let exchange = Exchange::start(now, ask, to.first, &to.others, fx);
        self.under_way = UnderWay::Report(Box::new(exchange));
    }

    pub fn tell(&mut self, now: Now, results: Vec<KeptResult>, to: Servers, fx: &mut Effects) {
        let body: Vec<BootResult> = results
            .iter()
            .map(|kept| BootResult {
                id: kept.id.clone(),
                errcode: kept.errcode,
                message: kept.message.clone(),
            })
            .collect();
        let ask = ask(&to, RESULT_PATH, encode(&body));
        let exchange = Exchange::start(now, ask, to.first, &to.others, fx);
        self.under_way = UnderWay::Results(Box::new(exchange), results);
    }

    pub fn handle(&mut self, now: Now, event: &Event<'_>, fx: &mut Effects) -> Option<Heard> {
        match &mut self.under_way {
            UnderWay::Nothing => None,
            UnderWay::Report(exchange) => {
                let end = exchange.handle(now, event, fx)?;
                self.under_way = UnderWay::Nothing;
                Some(self.reported_to(now, end))
            }
            UnderWay::Results(exchange, results) => {
                let end = exchange.handle(now, event, fx)?;
                let results = std::mem::take(results);
                self.under_way = UnderWay::Nothing;
                Some(self.told_to(now, end, results))
            }
        }
    }

    /// Ends what is under way; nothing more is heard of it.
    pub fn cancel(&mut self, fx: &mut Effects) {
        match std::mem::replace(&mut self.under_way, UnderWay::Nothing) {
            UnderWay::Nothing => {}
            UnderWay::Report(mut exchange) => exchange.cancel(fx),
            UnderWay::Results(mut exchange, _) => exchange.cancel(fx),
        }
    }

    /// Whether nobody took the last report.
    pub fn is_failing(&self) -> bool {
        self.reports.is_well == Some(false)
    }

    fn reported_to(&mut self, now: Now, end: Result<Answered<StatusAnswer>, ExchangeError>) -> Heard {
        match end {
            Ok(answered) if answered.answer.is_ok() => Heard::Answer(answered, self.reports.is_taken()),
            // What the answer brings is good all the same.
            Ok(answered) => {
                self.report_fails(now);
                Heard::Answer(answered, true)
            }
            Err(error) => Heard::Failed(Due::Report, error.to_string(), self.report_fails(now)),
        }
    }

    fn report_fails(&mut self, now: Now) -> Duration {
        let wait = self.reports.fails();
        self.report_due = now.mono + wait;
        wait
    }

    fn told_to(
        &mut self,
        now: Now,
        end: Result<Answered<ResultAnswer>, ExchangeError>,
        results: Vec<KeptResult>,
    ) -> Heard {
        let reason = match end {
            Ok(Answered { server, answer }) if answer.errcode == OK => {
                self.results.is_taken();
                // Whether there are more is looked at.
                self.results_due = Some(now.mono);
                return Heard::Taken(results, server);
            }
            Ok(Answered { server, answer }) => {
                let words = answer.message.unwrap_or_else(|| "no reason given".into());
                format!("{server}: errcode {}: {words}", answer.errcode)
            }
            Err(error) => error.to_string(),
        };
        Heard::Failed(Due::Results, reason, self.results_fail(now))
    }

    /// Within the bounds of a step.
    fn next_step(&mut self) -> Duration {
        let spread = 1.0 + JITTER * (2.0 * self.chance.f64() - 1.0);
        let (least, most) = (*STEP_SECONDS.start(), *STEP_SECONDS.end());
        self.step.mul_f64(spread).clamp(Duration::from_secs(least), Duration::from_secs(most))
    }
}

impl Trouble {
    fn new(step: Duration, seed: u64) -> Trouble {
        let backoff = Backoff::new(REPORT_AGAIN_MIN, step.max(REPORT_AGAIN_MIN), seed);
        Trouble { backoff, is_well: None }
    }

    fn fails(&mut self) -> Duration {
        self.is_well = Some(false);
        self.backoff.next_wait()
    }

    /// Returns whether that is new.
    fn is_taken(&mut self) -> bool {
        self.backoff.reset();
        self.is_well.replace(true) != Some(true)
    }
}

fn ask<T: DeserializeOwned>(to: &Servers, path: &'static str, body: Vec<u8>) -> Ask<T> {
    let servers = u32::try_from(to.others.len()).unwrap_or(u32::MAX).saturating_add(1);
    Ask {
        security: Security::Mutual { dir: to.tls_dir.clone(), protocol: Protocol::Http },
        path,
        body,
        most_bytes: MAX_BOOT_BODY_BYTES,
        read,
        answer_within: ANSWER_TIMEOUT,
        all_within: EXCHANGE_TIMEOUT.max((CONNECT_TIMEOUT + ANSWER_TIMEOUT).saturating_mul(servers)),
        // Jobs and results that come twice count once.
        is_repeatable: true,
    }
}

fn read<T: DeserializeOwned>(Response { status, body }: Response) -> Result<T, String> {
    if status != 200 {
        return Err(format!("HTTP status {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer is not understood: {error}"))
}
