//! Requests: the one match over what may be asked for.

use super::answered::Seen;
use super::{Gearman, News};
use crate::exec::{Done, Wanted};
use crate::job::Cancel;
use crate::machine::{Effects, Now};
use crate::wire::{Call, Command, CronName, GetInfo, JobName, Outcome, Request, Retcode};
use log::{debug, info};

impl Gearman {
    pub(super) fn request(&mut self, now: Now, request: Request, fx: &mut Effects, news: &mut News) {
        let Request { id, call } = request;
        let asked_by = self.link.ready();
        match self.answered.seen(&id, self.kept.as_ref().ok().map(|kept| &kept.store)) {
            Seen::Never => {}
            Seen::Running => {
                info!("request=repeated id={id:?} state=running");
                self.asked_by.extend(asked_by.map(|conn| (id, conn)));
                return;
            }
            Seen::Answered(frame) => {
                info!("request=repeated id={id:?} state=answered");
                if let Some(conn) = asked_by {
                    self.link.send(conn, frame, fx);
                }
                return;
            }
        }
        match &call {
            Call::GetInfo(_) => self.answered.begin_question(&id),
            _ => self.answered.begin(&id),
        }
        self.asked_by.extend(asked_by.map(|conn| (id.clone(), conn)));
        self.call(now, id, call, fx, news);
    }

    /// Whoever asked: the id says who is answered.
    pub(super) fn call(&mut self, now: Now, id: String, call: Call, fx: &mut Effects, news: &mut News) {
        let outcome = match call {
            Call::SyncBash(command) => return self.run(now, id, command, fx, news),
            Call::GetInfo(question) => return self.ask(now, id, question, fx),
            Call::AgentInfo => return self.info(id, fx),
            Call::JobCancel(JobName { job }) => return self.cancel(now, id, job, fx, news),
            Call::AsyncBash(job) => match &mut self.kept {
                Ok(kept) => kept.take_on(now, &id, &job, &self.exec),
                Err(reason) => nothing_kept(reason),
            },
            Call::JobList(filter) => match &self.kept {
                Ok(kept) => kept.list(&filter),
                Err(reason) => nothing_kept(reason),
            },
            Call::JobStatus(JobName { job }) => match &self.kept {
                Ok(kept) => kept.status(&job),
                Err(reason) => nothing_kept(reason),
            },
            Call::CronSet(set) => match &mut self.kept {
                Ok(kept) => kept.cron.set(now, *set, &self.exec, &mut kept.store),
                Err(reason) => nothing_kept(reason),
            },
            call @ (Call::DaemonInit(_)
            | Call::DaemonStart(_)
            | Call::DaemonStop(_)
            | Call::DaemonRestart(_)
            | Call::DaemonRemove(_)
            | Call::DaemonList(_)) => self.daemon_call(now, call),
            Call::CronRemove(CronName { name }) => match &mut self.kept {
                Ok(kept) => kept.cron.remove(&name, &mut kept.store),
                Err(reason) => nothing_kept(reason),
            },
            Call::CronList(filter) => match &self.kept {
                Ok(kept) => kept.cron.list(filter.name.as_deref(), &kept.store),
                Err(reason) => nothing_kept(reason),
            },
        };
        // Not by way of what exec tells: a job may run under the same id.
        self.finish(now, Done { id, outcome }, fx);
    }

    fn run(&mut self, now: Now, id: String, command: Command, fx: &mut Effects, news: &mut News) {
        debug!("request=begins id={id:?} method=sync.bash cmd={:?}", command.cmd);
        if self.kept.as_ref().is_ok_and(|kept| kept.jobs.knows(&id)) {
            let outcome = Outcome::with_detail(Retcode::InvalidParams, "id: a job has it already");
            return self.finish(now, Done { id, outcome }, fx);
        }
        self.exec.submit(now, id, Wanted { command, remembered: false }, fx, &mut news.exec);
    }

    /// Answered when the command or the job has ended.
    fn cancel(&mut self, now: Now, id: String, job: String, fx: &mut Effects, news: &mut News) {
        debug!("request=begins id={id:?} method=job.cancel job={job:?}");
        let waits = match &mut self.kept {
            Ok(kept) => kept.jobs.cancel(now, &job, &mut kept.store, &mut news.jobs) == Cancel::Ended,
            Err(_) => false,
        };
        if let Some((ended, outcome)) = self.queries.cancel(&job, "cancelled by a request", fx) {
            self.cancels.entry(job).or_default().push(id);
            self.request_ended(now, ended, outcome, fx);
            return;
        }
        if waits || self.exec.cancel(now, &job, "cancelled by a request", fx, &mut news.exec) {
            self.cancels.entry(job).or_default().push(id);
            return;
        }
        let detail = match self.answered.seen(&job, None) {
            Seen::Answered(_) => "job: it has ended already",
            _ => "job: no command and no job of this id runs or waits here",
        };
        self.finish(now, Done { id, outcome: Outcome::with_detail(Retcode::NotFound, detail) }, fx);
    }

    fn ask(&mut self, now: Now, id: String, question: GetInfo, fx: &mut Effects) {
        debug!("request=begins id={id:?} method=getinfo.{} args={:?}", question.query, question.params.args);
        if let Some((id, outcome)) = self.queries.submit(now, id, question, fx) {
            self.finish(now, Done { id, outcome }, fx);
        }
    }
}

pub(super) fn nothing_kept(reason: &str) -> Outcome {
    let detail = format!("this agent has no database and keeps no jobs and no daemons: {reason}");
    Outcome::with_detail(Retcode::StorageFailure, detail)
}
