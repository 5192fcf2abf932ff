//! What became of it: from what the parts tell to replies, results and the
//! next jobs.

use super::{Gearman, News};
use crate::exec::{self, Done};
use crate::getinfo::Changes;
use crate::job;
use crate::machine::limits::JOBS_A_TURN;
use crate::machine::{Effects, Now, Process};
use crate::wire::frame::encode;
use crate::wire::session::{Frame, Output};
use crate::wire::{JobNotice, JobState, Outcome, Reply, Retcode};
use log::{info, warn};
use serde_json::json;

impl Gearman {
    /// Looks after what is kept: what waited too long, what the store did not take, what is
    /// to be written.
    pub(super) fn keep(&mut self, now: Now, news: &mut News) {
        if let Ok(kept) = &mut self.kept {
            kept.jobs.tick(now, &mut kept.store, &mut news.jobs);
            kept.tick(now);
        }
        if self.answered.deadline().is_some_and(|by| now.mono >= by) {
            self.write_answers(now);
        }
    }

    /// Takes in the news, and the news of that, and begins the jobs that may.
    pub(super) fn settle(&mut self, now: Now, fx: &mut Effects, mut news: News) {
        loop {
            for fact in std::mem::take(&mut news.exec) {
                self.exec_fact(now, fact, fx, &mut news);
            }
            for fact in std::mem::take(&mut news.jobs) {
                self.job_fact(now, fact, fx);
            }
            self.begin_jobs(now, fx, &mut news);
            if news.exec.is_empty() && news.jobs.is_empty() {
                return;
            }
        }
    }

    fn begin_jobs(&mut self, now: Now, fx: &mut Effects, news: &mut News) {
        let Ok(kept) = &mut self.kept else { return };
        while news.begun < JOBS_A_TURN
            && self.exec.has_free_place()
            && let Some((id, wanted)) = kept.next(now, &mut news.jobs)
        {
            news.begun += 1;
            self.exec.submit(now, id, wanted, fx, &mut news.exec);
        }
    }

    fn exec_fact(&mut self, now: Now, fact: exec::Fact, fx: &mut Effects, news: &mut News) {
        match fact {
            exec::Fact::Started(id, process) => {
                self.counters.commands += 1;
                self.has_process(now, &id, process);
            }
            exec::Fact::Output(output) => self.pass_on(&output, fx),
            exec::Fact::Done(Done { id, outcome }) => {
                if self.kept.as_ref().is_ok_and(|kept| kept.jobs.is_running(&id)) {
                    self.attempt_ended(now, id, outcome, news);
                } else {
                    self.request_ended(now, id, outcome, fx);
                }
            }
        }
    }

    /// Whoever wanted it to end hears so after whoever asked.
    pub(super) fn request_ended(&mut self, now: Now, id: String, outcome: Outcome, fx: &mut Effects) {
        let (ended, retcode) = (id.clone(), outcome.retcode);
        self.finish(now, Done { id, outcome }, fx);
        self.answer_cancels(now, &ended, retcode, fx);
    }

    /// The store learns of it now, while the command is busy beginning.
    fn has_process(&mut self, now: Now, id: &str, process: Option<Process>) {
        let Ok(kept) = &mut self.kept else { return };
        let written = match process {
            Some(process) => kept.jobs.has_process(id, process, &self.host.boot_id, &mut kept.store),
            // A program of this host does not ask again.
            None if kept.jobs.is_running(id) || self.control.has_asked(id) => Ok(()),
            None => {
                self.answered.begun(now, id);
                Ok(())
            }
        };
        if let Err(error) = written {
            kept.trouble.say(now, "command", &error);
        }
    }

    fn attempt_ended(&mut self, now: Now, id: String, mut outcome: Outcome, news: &mut News) {
        let Ok(kept) = &mut self.kept else { return };
        let wanted_to_end = self.cancels.contains_key(&id);
        if self.stopping && !wanted_to_end && outcome.retcode == Retcode::Cancelled.code() {
            let lost = Outcome::with_detail(Retcode::Lost, "the agent was stopped while it ran");
            outcome =
                Outcome { data: outcome.data, stderr: outcome.stderr, encoding: outcome.encoding, ..lost };
        }
        kept.jobs.attempt_ended(now, id, outcome, !wanted_to_end, &mut kept.store, &mut news.jobs);
    }

    fn job_fact(&mut self, now: Now, fact: job::Fact, fx: &mut Effects) {
        match fact {
            job::Fact::Moved(notice) => {
                let JobNotice { id, state, attempts, .. } = &notice;
                info!("job={state} id={id:?} attempts={attempts}");
                self.tell(&notice, fx);
            }
            job::Fact::Ended { id, cron, outcome, bytes } => {
                let state = JobState::of_result(outcome.retcode);
                let elapsed = outcome.elapsed.unwrap_or_default();
                info!("job={state} id={id:?} retcode={} elapsed={elapsed}", outcome.retcode);
                if let Ok(kept) = &mut self.kept {
                    kept.result_added(now, bytes);
                    if let Some(entry) = cron {
                        kept.run_ended(now, &entry);
                    }
                }
                self.answer_cancels(now, &id, outcome.retcode, fx);
            }
            job::Fact::StoreFailed(error) => {
                if let Ok(kept) = &mut self.kept {
                    kept.trouble.say(now, "jobs", &error);
                }
            }
        }
    }

    /// Where nobody listens it is lost: the reply or the result has it all.
    fn pass_on(&mut self, output: &Output, fx: &mut Effects) {
        if self.control.has_asked(&output.id) {
            return self.control.pass_on(output, fx);
        }
        let asked_by = self.asked_by.get(&output.id).copied();
        if let Some(conn) = asked_by.or(self.link.ready()) {
            self.link.send(conn, encode(&Frame::Output(output)), fx);
        }
    }

    /// Whoever wanted it to end learns that it has, and how.
    fn answer_cancels(&mut self, now: Now, id: &str, retcode: u16, fx: &mut Effects) {
        let data = json!({"job": id, "retcode": retcode});
        for waiting in self.cancels.remove(id).unwrap_or_default() {
            let outcome = Outcome::new(Retcode::NormalTermination).with_data(&data);
            self.finish(now, Done { id: waiting, outcome }, fx);
        }
    }

    pub(super) fn finish(&mut self, now: Now, done: Done, fx: &mut Effects) {
        let Done { id, outcome } = done;
        self.counters.requests += 1;
        self.counters.failed += u64::from(!outcome.is_success());
        info!(
            "request=ended id={id:?} retcode={} elapsed={}",
            outcome.retcode,
            outcome.elapsed.unwrap_or_default()
        );
        if self.control.has_asked(&id) {
            return self.control.answer(now, &id, outcome, fx);
        }
        let asked_by = self.asked_by.remove(&id);
        let reply = Reply::new(id, outcome);
        let frame = self.answered.finish(now, &reply);
        if !asked_by.is_some_and(|conn| self.link.send(conn, frame, fx)) {
            info!(
                "request=unsent id={:?} reason=\"its link is gone; kept for a repeated request\"",
                reply.id
            );
        }
    }

    /// The server learns what it does not hold yet of the host.
    pub(super) fn tell_facts(&self, taken: Option<Result<Changes, String>>, fx: &mut Effects) {
        let (Some(taken), Some(conn)) = (taken, self.link.ready()) else { return };
        match taken {
            Err(reason) => warn!("facts=untold reason={reason:?}"),
            Ok(Changes { frames, untold }) => {
                for reason in untold {
                    warn!("facts=untold reason={reason:?}");
                }
                let changed = frames.iter().flat_map(|facts| facts.sections.keys());
                info!("facts=taken changed={:?}", changed.collect::<Vec<_>>());
                for facts in frames {
                    self.link.send(conn, encode(&Frame::Facts(&facts)), fx);
                }
            }
        }
    }

    pub(super) fn write_answers(&mut self, now: Now) {
        let Ok(kept) = &mut self.kept else { return };
        if let Err(error) = self.answered.write(now, &mut kept.store) {
            kept.trouble.say(now, "replies", &error);
        }
    }

    /// The last chance of what the store did not take.
    pub(super) fn save_what_is_left(&mut self, now: Now, fx: &mut Effects) {
        let mut facts = Vec::new();
        if let Ok(kept) = &mut self.kept {
            kept.jobs.save(now, &mut kept.store, &mut facts);
        }
        for fact in facts {
            self.job_fact(now, fact, fx);
        }
        self.write_answers(now);
    }

    /// The link is new: the server learns where the jobs are, and gets the results anew.
    pub(super) fn tell_of_jobs(&mut self, fx: &mut Effects) {
        let Ok(kept) = &mut self.kept else { return };
        kept.outbox.begin_again();
        for notice in kept.jobs.notices().collect::<Vec<_>>() {
            self.tell(&notice, fx);
        }
    }

    fn tell(&mut self, notice: &JobNotice, fx: &mut Effects) {
        if let Some(conn) = self.link.ready() {
            self.link.send(conn, encode(&Frame::Job(notice)), fx);
        }
    }

    pub(super) fn send_results(&mut self, now: Now, fx: &mut Effects) {
        let (Ok(kept), Some(conn)) = (&mut self.kept, self.link.ready()) else { return };
        for frame in kept.results_to_send(now) {
            self.link.send(conn, frame, fx);
        }
    }
}
