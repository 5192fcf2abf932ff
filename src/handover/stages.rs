//! What the helper does, one stage after another. Whatever it does to the host goes through
//! [`Hands`], so that a test can end it at each single call and see what the next one makes of it.

use super::plan::{Confirmed, Life, Plan, Stage};
use super::stamp::Stamp;
use crate::machine::limits::{HELPER_LOOK, NEW_STARTS, PLAN_WRITES};
use crate::machine::{Instant, Process};
use std::time::Duration;

/// Of the time that the new one has to prove itself: how long a boot may take to end before it is
/// killed, how long one must stay once it has proved itself, how long a service manager has to start
/// what it kept, and from one start in vain to the next.
const TO_END: u32 = 10;
const TO_STAY: u32 = 60;
const FOR_A_MANAGER: u32 = 60;
const TO_START_AGAIN: u32 = 100;

/// Of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    New,
    Old,
}

/// This helper is to end at once: the next goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Died(pub String);

/// What the helper can do, and see. Each call can be made again, whatever became of it before.
pub trait Hands {
    fn now(&self) -> Instant;
    fn pause(&mut self, time: Duration);
    /// Writes the plan down.
    ///
    /// # Errors
    /// The one before it is still there.
    fn save(&mut self, plan: &Plan) -> Result<(), String>;
    /// The installed program's file.
    fn stamp(&mut self, plan: &Plan) -> Option<Stamp>;
    /// Finds out whether a service manager runs boot, and whether it begins with the host.
    fn ask_manager(&mut self, plan: &mut Plan);
    /// Whether the helper before was ended because its installation took too long; why, in words.
    fn too_long(&self) -> Option<String>;
    /// Has the version installed, and its program in its place. After one that took too long, of the
    /// old version only the program is put back.
    ///
    /// # Errors
    /// It is not, and why.
    fn install(&mut self, plan: &Plan, which: Which) -> Result<(), String>;
    /// Whether the program that is installed can run here at all.
    ///
    /// # Errors
    /// Why not.
    fn try_out(&mut self, plan: &Plan) -> Result<(), String>;
    /// Whoever is boot, as far as its command line shows it, whether it holds the pid file or not.
    fn running(&mut self, plan: &Plan) -> Vec<Process>;
    /// Whoever holds the pid file.
    fn holder(&mut self, plan: &Plan) -> Option<Process>;
    fn is_alive(&mut self, process: Process) -> bool;
    /// This process, if it still runs.
    fn living(&mut self, life: &Life) -> Option<Process>;
    /// Who has proved itself, of this boot of the host.
    fn confirmed(&mut self) -> Option<(Process, Confirmed)>;
    /// Nobody has.
    ///
    /// # Errors
    /// The word of somebody is still there.
    fn forget_confirmed(&mut self) -> Result<(), String>;
    fn signal(&mut self, process: Process, signal: i32);
    /// Has the service manager end and start boot, and does not wait for that.
    ///
    /// # Errors
    /// It would not.
    fn restart_unit(&mut self, plan: &Plan) -> Result<(), String>;
    /// Starts the program, and does not wait for what comes of it.
    ///
    /// # Errors
    /// It does not start.
    fn start(&mut self, plan: &Plan) -> Result<Process, String>;
    /// Removes what nobody needs now that it is over.
    fn tidy(&mut self, plan: &Plan);
    /// One line.
    fn log(&mut self, line: &str);
}

/// Goes on from where the plan is to its end.
///
/// # Errors
/// It could not be written down; the next helper goes on.
pub fn carry_out(plan: &mut Plan, hands: &mut impl Hands) -> Result<(), Died> {
    loop {
        match plan.stage {
            Stage::Prepared => {
                hands.ask_manager(plan);
                plan.found = hands.stamp(plan);
                plan.stage = Stage::Installing;
                // Before this nothing may be done of which the next would not know.
                write_down(plan, hands)?;
            }
            Stage::Installing => match install_new(plan, hands) {
                Ok(()) => go_on(plan, hands, Stage::Replacing),
                Err(reason) => roll_back(plan, hands, reason),
            },
            Stage::Replacing => match make_room(plan, hands) {
                Ok(()) => go_on(plan, hands, Stage::Proving),
                Err(reason) => roll_back(plan, hands, reason),
            },
            Stage::Proving => match prove(plan, hands) {
                Ok(()) => {
                    plan.stage = Stage::Done;
                    plan.left = hands.stamp(plan);
                    write_down(plan, hands)?;
                }
                Err(reason) => roll_back(plan, hands, reason),
            },
            Stage::RollingBack => {
                if let Err(reason) = bring_back(plan, hands) {
                    let first = plan.reason.take().unwrap_or_default();
                    plan.reason = Some(format!("{first}; and the version before: {reason}"));
                }
                plan.stage = Stage::RolledBack;
                plan.left = hands.stamp(plan);
                write_down(plan, hands)?;
            }
            Stage::Done | Stage::RolledBack => {
                hands.tidy(plan);
                return Ok(());
            }
        }
    }
}

/// Where this cannot be written the next helper only begins a little further back.
fn go_on(plan: &mut Plan, hands: &mut impl Hands, stage: Stage) {
    plan.stage = stage;
    if let Err(Died(reason)) = write_down(plan, hands) {
        hands.log(&format!("plan=unwritten stage={} reason={reason:?}", stage.name()));
    }
}

fn roll_back(plan: &mut Plan, hands: &mut impl Hands, reason: String) {
    plan.reason = Some(reason);
    plan.failed_at = Some(plan.stage);
    go_on(plan, hands, Stage::RollingBack);
}

fn write_down(plan: &Plan, hands: &mut impl Hands) -> Result<(), Died> {
    let mut written = hands.save(plan);
    for _ in 1..PLAN_WRITES {
        if written.is_ok() {
            break;
        }
        hands.pause(plan.part(TO_START_AGAIN));
        written = hands.save(plan);
    }
    let reason = plan.reason.as_ref().map(|reason| format!(" reason={reason:?}")).unwrap_or_default();
    hands.log(&format!("stage={} version={}{reason}", plan.stage.name(), plan.wanted.version));
    written.map_err(|reason| Died(format!("could not write the plan: {reason}")))
}

fn install_new(plan: &Plan, hands: &mut impl Hands) -> Result<(), String> {
    hands.too_long().map_or(Ok(()), Err)?;
    hands.install(plan, Which::New)?;
    // It may be another program's package, or have this one's program elsewhere.
    if plan.found.is_some() && hands.stamp(plan) == plan.found {
        return Err(format!("the package has not replaced {}", plan.program.display()));
    }
    hands.try_out(plan)
}

/// Whoever runs is ended, and nobody's word from before counts any more.
fn make_room(plan: &Plan, hands: &mut impl Hands) -> Result<(), String> {
    hands.forget_confirmed()?;
    let mut running = hands.running(plan);
    for other in [hands.living(&plan.old), hands.holder(plan)].into_iter().flatten() {
        if !running.contains(&other) {
            running.push(other);
        }
    }
    if plan.unit.is_some()
        && let Err(reason) = hands.restart_unit(plan)
    {
        hands.log(&format!("unit=not_restarted reason={reason:?}"));
    }
    for process in &running {
        hands.signal(*process, libc::SIGTERM);
    }
    let patience = plan.part(TO_END);
    let begun = hands.now();
    for process in running {
        while hands.is_alive(process) && hands.now().since(begun) < 2 * patience {
            if hands.now().since(begun) >= patience {
                hands.signal(process, libc::SIGKILL);
            }
            hands.pause(HELPER_LOOK);
        }
    }
    Ok(())
}

/// Until one has proved itself, and has stayed.
fn prove(plan: &Plan, hands: &mut impl Hands) -> Result<(), String> {
    let begun = hands.now();
    let mut starts = Starts::new(plan, begun);
    let mut proved = Staying::default();
    loop {
        let now = hands.now();
        let holder = hands.holder(plan);
        let confirmed = hands.confirmed().filter(|(_, confirmed)| confirmed.program == plan.program);
        let confirmed = confirmed.filter(|(process, _)| Some(*process) == holder);
        proved.look(now, confirmed.as_ref().map(|(process, _)| *process));
        if proved.lasts(now, plan.part(TO_STAY)) {
            let version = confirmed.map(|(_, confirmed)| confirmed.version).unwrap_or_default();
            hands.log(&format!("proved=yes calls_itself={version:?}"));
            return Ok(());
        }
        starts.see_to_it(plan, hands, holder);
        if starts.ended >= NEW_STARTS {
            return Err(format!("each of {NEW_STARTS} times it ended soon{}", starts.trouble));
        }
        if now.since(begun) >= plan.part(1) {
            let seconds = plan.deadline;
            return Err(match holder {
                Some(_) => format!("within {seconds} s no server had answered a report of its"),
                None => format!("within {seconds} s it did not come up{}", starts.trouble),
            });
        }
        hands.pause(HELPER_LOOK);
    }
}

/// The version before is put back first, for a service manager may start what there is at any moment;
/// where nobody was disturbed that is all.
fn bring_back(plan: &Plan, hands: &mut impl Hands) -> Result<(), String> {
    let mut put_back = hands.install(plan, Which::Old);
    for _ in 1..PLAN_WRITES {
        if put_back.is_ok() {
            break;
        }
        hands.pause(plan.part(TO_START_AGAIN));
        put_back = hands.install(plan, Which::Old);
    }
    if let Err(reason) = &put_back {
        hands.log(&format!("version=not_put_back reason={reason:?}"));
    }
    let old = hands.living(&plan.old);
    if old.is_some() && old == hands.holder(plan) {
        return put_back;
    }
    if let Err(reason) = make_room(plan, hands) {
        hands.log(&format!("confirmed=kept reason={reason:?}"));
    }
    let begun = hands.now();
    let mut starts = Starts::new(plan, begun);
    let mut up = Staying::default();
    loop {
        let now = hands.now();
        let holder = hands.holder(plan);
        up.look(now, holder);
        if up.lasts(now, plan.part(TO_STAY)) {
            return put_back;
        }
        if now.since(begun) >= plan.part(1) {
            let not_put_back = put_back.err().map(|reason| format!(": {reason}"));
            return Err(format!("it does not come up{}{}", not_put_back.unwrap_or_default(), starts.trouble));
        }
        starts.see_to_it(plan, hands, holder);
        hands.pause(HELPER_LOOK);
    }
}

/// One and the same process is seen again and again.
#[derive(Default)]
struct Staying {
    since: Option<(Process, Instant)>,
}

impl Staying {
    fn look(&mut self, now: Instant, process: Option<Process>) {
        if process != self.since.map(|(before, _)| before) {
            self.since = process.map(|process| (process, now));
        }
    }

    fn lasts(&self, now: Instant, time: Duration) -> bool {
        self.since.is_some_and(|(_, since)| now.since(since) >= time)
    }
}

/// Starts of a boot that is to come up.
struct Starts {
    /// How many of them have ended, or came to nothing.
    ended: u32,
    next: Instant,
    /// Whom we started last.
    last: Option<Process>,
    count: u32,
    /// Why the last came to nothing, behind a colon.
    trouble: String,
}

impl Starts {
    /// What runs in the foreground somebody may keep, who starts it again; a service is being started.
    fn new(plan: &Plan, now: Instant) -> Starts {
        let is_kept = plan.unit.is_some() || plan.arguments.iter().any(|argument| argument == "-f");
        let moment = if is_kept { plan.part(FOR_A_MANAGER) } else { Duration::ZERO };
        Starts { ended: 0, next: now + moment, last: None, count: 0, trouble: String::new() }
    }

    fn see_to_it(&mut self, plan: &Plan, hands: &mut impl Hands, holder: Option<Process>) {
        let (now, again) = (hands.now(), plan.part(TO_START_AGAIN));
        if holder.is_some() {
            // Should it end, whoever keeps it comes first.
            self.next = now + again;
            return;
        }
        // It may hang before it holds the file, or take its time.
        if now < self.next || self.last.is_some_and(|last| hands.is_alive(last)) {
            return;
        }
        self.ended = self.count;
        self.count += 1;
        self.next = now + again;
        // Where the manager would not, it may have lost the service: that a boot runs counts for more.
        if plan.unit.is_some() && hands.restart_unit(plan).is_ok() {
            return;
        }
        match hands.start(plan) {
            Ok(process) => {
                self.last = Some(process);
                self.trouble.clear();
            }
            Err(reason) => self.trouble = format!(": {reason}"),
        }
    }
}
