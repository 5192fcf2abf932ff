//! Boot's own part: from a job to a helper, and from the plan to a result.

use aspire::daemon::DaemonSettings;
use aspire::handover::{Confirmed, Fact, Job, Life, Own, Paths, Plan, Release, SelfUpgrade, Stage, Stamp};
use aspire::machine::{
    ChildId, Content, Effect, Effects, Event, Exit, Instant, Now, Placed, Program, StartError, Stream, Task,
};
use aspire::wire::DaemonInit;
use aspire_package::{Checksum, Error, Fetched};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const TIMEOUT: Duration = Duration::from_mins(10);
const PLAN: &str = "/var/lib/cargo/boot/.self/plan.json";

fn settings() -> DaemonSettings {
    DaemonSettings {
        dir: "/var/lib/cargo/boot".into(),
        log: "/var/log/cargo".into(),
        run: "/var/run/cargo".into(),
        shell: "/bin/sh".into(),
        output_limit: 1 << 20,
        output_files: 1,
        servers: vec![aspire::wire::server_list::entry("polaris:8181").unwrap()],
        tls: "/etc/cargo/pki".into(),
    }
}

/// Of the program of this number.
fn stamp(inode: u64) -> Stamp {
    Stamp { inode, length: 1, modified: [1, 2], changed: [3, 4] }
}

fn own(pid: i32) -> Own {
    Own {
        version: "1.0".into(),
        program: "/usr/bin/boot".into(),
        image: "/proc/self/exe".into(),
        stamp: Some(stamp(1)),
        arguments: vec!["-f".into(), "-P".into(), "/run/boot.pid".into()],
        given: vec!["-f".into()],
        pid_file: "/run/boot.pid".into(),
        life: Life { pid, start: 7, boot: "b".into() },
        unit: Some("boot.service".into()),
        systemd_run: None,
        env: vec![("PATH".into(), "/bin".into())],
    }
}

fn init(version: &str, checksum: Option<u8>) -> DaemonInit {
    let mut init = json!({
        "name": "boot", "version": version, "start": "x", "stop": "kill:TERM",
        "url": format!("https://polaris:8181/packages/boot_{version}_amd64.deb")
    });
    if let Some(digit) = checksum {
        init["checksum"] = format!("SHA256:{}", digit.to_string().repeat(64)).into();
    }
    serde_json::from_value(init).unwrap()
}

fn job(id: &str) -> Job {
    Job { id: id.into(), name: "boot".into() }
}

/// Boot's part with its host, of which a test plays the rest.
struct Rig {
    upgrade: SelfUpgrade,
    now: Duration,
    fx: Effects,
    facts: Vec<String>,
}

impl Rig {
    /// A boot that finds this plan.
    fn start(own: Own, plan: Option<&Plan>) -> Rig {
        let mut fx = Effects::default();
        let upgrade = SelfUpgrade::restore(own, &settings(), &mut fx);
        let mut rig = Rig { upgrade, now: Duration::from_secs(100), fx, facts: Vec::new() };
        rig.is_read(plan);
        rig
    }

    fn now(&self) -> Now {
        Now { mono: Instant(self.now), wall: SystemTime::UNIX_EPOCH }
    }

    fn begin(&mut self, id: &str, init: &DaemonInit) {
        let now = self.now();
        let fact = self.upgrade.begin(now, job(id), init, &settings(), TIMEOUT, &mut self.fx);
        self.keep(fact);
    }

    fn event(&mut self, event: &Event<'_>) {
        let fact = self.upgrade.handle(self.now(), event, &mut self.fx);
        self.keep(fact);
    }

    fn keep(&mut self, fact: Option<Fact>) {
        self.facts.extend(fact.map(|fact| match fact {
            Fact::Accepted(job) => format!("{} accepted", job.id),
            Fact::Ended(job, outcome) => {
                format!("{} {} {}", job.id, outcome.retcode, outcome.detail.unwrap_or_default())
            }
        }));
    }

    fn facts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.facts)
    }

    /// The only effect: that the plan is read, which says this.
    fn is_read(&mut self, plan: Option<&Plan>) {
        assert_eq!(self.fx.take(), [Effect::ReadFile { path: PLAN.into() }]);
        let text = plan.map(Plan::text);
        let content = Ok(text.as_ref().map(String::as_bytes));
        self.event(&Event::FileRead(Path::new(PLAN), content));
    }

    /// The only effect, which is a child's start.
    fn spawned(&mut self) -> (ChildId, Program) {
        let effects = self.fx.take();
        let [Effect::Spawn { child, program }] = &effects[..] else { panic!("{effects:?}") };
        (*child, program.clone())
    }

    fn placed(&mut self) -> (ChildId, Vec<Placed>) {
        match self.spawned() {
            (child, Program::Task(Task::Place(files))) => (child, files),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, child: ChildId, answer: &str) {
        self.event(&Event::Started(child, None));
        self.event(&Event::Output(child, Stream::Out, answer.as_bytes()));
        self.end_task(child, Exit::Code(0));
    }

    fn fail(&mut self, child: ChildId, reason: &str) {
        self.event(&Event::Output(child, Stream::Err, reason.as_bytes()));
        self.end_task(child, Exit::Code(1));
    }

    fn end_task(&mut self, child: ChildId, exit: Exit) {
        self.event(&Event::OutputEnded(child, Stream::Out));
        self.event(&Event::OutputEnded(child, Stream::Err));
        self.event(&Event::Exited(child, exit));
    }

    fn fetched(&mut self, answer: &Result<Fetched, Error>) {
        let (child, program) = self.spawned();
        assert!(matches!(program, Program::Task(Task::Fetch(_))), "{program:?}");
        self.answer(child, &serde_json::to_string(answer).unwrap());
    }

    /// Time goes to the next deadline.
    fn tick(&mut self) {
        let deadline = self.upgrade.deadline().expect("it waits for something");
        self.now = self.now.max(deadline.0);
        self.event(&Event::Tick);
    }

    /// It looks, and the plan is this.
    fn looks(&mut self, plan: &Plan) {
        self.tick();
        self.is_read(Some(plan));
    }

    /// To where the helper is to be started, with the plan as it is on the disk.
    fn prepare(&mut self, id: &str, init: &DaemonInit) -> Plan {
        self.begin(id, init);
        self.fetched(&Ok(Fetched { bytes: 1, resumed_at: 0 }));
        let (child, files) = self.placed();
        let Content::Text(text) = &files[2].content else { panic!("{files:?}") };
        let plan = Plan::parse(text.as_bytes()).unwrap();
        self.answer(child, "null");
        assert_eq!(self.facts(), [format!("{id} accepted")]);
        plan
    }

    /// The same, where the last plan is told first.
    fn prepare_after(&mut self, id: &str, init: &DaemonInit) -> Plan {
        self.facts();
        self.prepare(id, init)
    }

    /// The helper that is started.
    fn helper(&mut self) -> ChildId {
        let (child, program) = self.spawned();
        let Program::Exec(launch) = program else { panic!("{program:?}") };
        assert_eq!(launch.argv, ["/var/lib/cargo/boot/.self/boot", "--take-over", PLAN]);
        assert_eq!(launch.lasting.unwrap().output, Path::new("/var/log/cargo/boot-upgrade.log"));
        self.event(&Event::Started(child, None));
        child
    }
}

#[test]
fn a_job_brings_the_package_then_a_plan_and_then_once_the_server_knows_a_helper() {
    let mut rig = Rig::start(own(1), None);
    assert_eq!(rig.upgrade.deadline(), None, "nobody wakes up for nothing");
    rig.begin("j", &init("2.0", Some(1)));
    let (fetch, program) = rig.spawned();
    let Program::Task(Task::Fetch(what)) = program else { panic!("{program:?}") };
    let package = PathBuf::from("/var/lib/cargo/boot/.self/packages/2.0-1111111111111111.deb");
    assert_eq!((&what.to, what.identity.as_deref()), (&package, Some(Path::new("/etc/cargo/pki"))));
    rig.answer(fetch, &serde_json::to_string(&Ok::<_, Error>(Fetched { bytes: 9, resumed_at: 0 })).unwrap());

    let (child, files) = rig.placed();
    let paths = Paths::new(Path::new("/var/lib/cargo/boot"));
    let to: Vec<&Path> = files.iter().map(|file| file.to.as_path()).collect();
    assert_eq!(to, [paths.confirmed(), paths.copy(), paths.plan()], "the plan is the last");
    assert_eq!((&files[0].content, files[1].mode), (&Content::Nothing, 0o700));
    assert_eq!(files[1].content, Content::CopyOf("/proc/self/exe".into()));
    assert!(rig.facts().is_empty());
    rig.answer(child, "null");
    assert_eq!(rig.facts(), ["j accepted"]);
    assert_eq!(rig.upgrade.deadline(), None);

    // Of another job it is no word.
    rig.upgrade.acknowledged(rig.now(), &job("other"));
    assert_eq!(rig.upgrade.deadline(), None);
    rig.upgrade.acknowledged(rig.now(), &job("j"));
    let Content::Text(text) = &files[2].content else { panic!("{files:?}") };
    let mut plan = Plan::parse(text.as_bytes()).unwrap();
    assert_eq!((plan.stage, &plan.old, plan.deadline), (Stage::Prepared, &own(1).life, 300));
    assert_eq!(plan.before, Release { version: "1.0".into(), checksum: None, package: None });
    assert_eq!((&plan.arguments, &plan.given), (&own(1).arguments, &own(1).given));
    rig.looks(&plan);
    let helper = rig.helper();

    // It is looked at again and again, and no other is started; this boot, which is to go, says nothing.
    for stage in [Stage::Installing, Stage::Replacing] {
        plan.stage = stage;
        rig.looks(&plan);
        rig.upgrade.report_answered(rig.now(), &mut rig.fx);
        assert_eq!(rig.fx.take(), []);
    }
    // A job comes as often as the server likes.
    rig.begin("j", &init("2.0", Some(1)));
    assert!(rig.facts().is_empty());
    rig.begin("k", &init("3.0", Some(3)));
    assert!(rig.facts()[0].starts_with("k 3026 another upgrade of boot"));
    plan.stage = Stage::RolledBack;
    plan.failed_at = Some(Stage::Installing);
    plan.reason = Some("dpkg failed".into());
    rig.event(&Event::Exited(helper, Exit::Code(0)));
    rig.looks(&plan);
    let fact = "j 3303 2.0: dpkg failed (so it is 1.0 again; see /var/log/cargo/boot-upgrade.log)";
    assert_eq!(rig.facts(), [fact]);
    assert_eq!(rig.upgrade.deadline(), None);
    // It comes once more: nothing is done, and its result is told again.
    rig.begin("j", &init("2.0", Some(1)));
    assert_eq!(rig.facts(), [fact]);
}

#[test]
fn the_new_boot_says_that_it_works_once_a_server_has_answered_it_and_tells_the_result() {
    let mut plan = Rig::start(own(1), None).prepare("j", &init("2.0", Some(1)));
    plan.stage = Stage::Proving;
    let mut rig = Rig::start(own(2), Some(&plan));
    rig.looks(&plan);
    assert_eq!(rig.fx.take(), [], "no helper is started beside the one that has started us");
    rig.upgrade.report_answered(rig.now(), &mut rig.fx);
    let (child, files) = rig.placed();
    let Content::Text(text) = &files[0].content else { panic!("{files:?}") };
    let confirmed: Confirmed = serde_json::from_str(text).unwrap();
    let version = "1.0".into();
    assert_eq!(confirmed, Confirmed { life: own(2).life, program: "/usr/bin/boot".into(), version });
    rig.upgrade.report_answered(rig.now(), &mut rig.fx);
    assert_eq!(rig.fx.take(), [], "it is being written");
    // It could not be written: it is again at the next look, for the next report may be far away.
    rig.fail(child, "no space left");
    rig.looks(&plan);
    let (child, again) = rig.placed();
    assert_eq!(again, files);
    rig.looks(&plan);
    assert_eq!(rig.fx.take(), [], "it is being written");
    rig.answer(child, "null");
    rig.looks(&plan);
    assert_eq!(rig.fx.take(), [], "it is written");
    // Each report that is answered says so anew.
    rig.upgrade.report_answered(rig.now(), &mut rig.fx);
    let (child, _) = rig.placed();
    rig.answer(child, "null");
    assert!(rig.facts().is_empty());
    plan.stage = Stage::Done;
    plan.left = Some(stamp(1));
    rig.looks(&plan);
    assert_eq!(rig.facts(), ["j 2 "]);

    // The next start tells it again, and what runs now is known.
    let mut rig = Rig::start(own(3), Some(&plan));
    assert_eq!(rig.facts(), ["j 2 "]);
    rig.begin("k", &init("2.0", Some(1)));
    assert_eq!(rig.facts(), ["k 2 "], "the same version is not installed again");
    let next = rig.prepare("l", &init("1.0", Some(1)));
    assert_eq!(next.before, plan.wanted, "whose package is kept");
    // Another file of the same version is another.
    let mut rig = Rig::start(own(3), Some(&plan));
    assert_eq!(rig.facts(), ["j 2 "]);
    rig.prepare("m", &init("2.0", Some(2)));
}

#[test]
fn what_runs_outvotes_a_plan_once_somebody_has_installed_another_version() {
    let mut plan = Rig::start(own(1), None).prepare("j", &init("2.0", Some(1)));
    plan.stage = Stage::Done;
    plan.left = Some(stamp(1));
    let another = Own { version: "1.5".into(), stamp: Some(stamp(2)), ..own(3) };
    let mut rig = Rig::start(another, Some(&plan));
    assert_eq!(rig.facts(), ["j 2 "]);
    rig.begin("k", &init("1.5", None));
    assert_eq!(rig.facts(), ["k 2 "]);
    let next = rig.prepare("l", &init("2.0", Some(1)));
    let runs = Release { version: "1.5".into(), checksum: None, package: None };
    assert_eq!(next.before, runs, "the package that is kept is another version's");
    // A plan that does not say what it left is none to go by, but for whoever was never replaced.
    plan.left = None;
    assert_eq!(Rig::start(own(3), Some(&plan)).prepare_after("l", &init("3.0", None)).before.version, "1.0");
    plan.stage = Stage::RolledBack;
    plan.before = Release { version: "0.9-2".into(), ..runs };
    assert_eq!(Rig::start(own(3), Some(&plan)).prepare_after("l", &init("3.0", None)).before.version, "1.0");
    assert_eq!(Rig::start(own(1), Some(&plan)).prepare_after("l", &init("3.0", None)).before, plan.before);
}

#[test]
fn what_boot_is_already_is_a_success_at_once() {
    let mut rig = Rig::start(own(1), None);
    rig.begin("j", &init("1.0", None));
    assert_eq!(rig.facts(), ["j 2 "]);
    assert_eq!(rig.fx.take(), []);
}

#[test]
fn a_plan_whose_acceptance_was_not_told_is_told_after_a_restart() {
    let plan = Rig::start(own(1), None).prepare("j", &init("2.0", Some(1)));
    let mut rig = Rig::start(own(2), Some(&plan));
    assert_eq!(rig.facts(), ["j accepted"]);
    rig.begin("j", &init("2.0", Some(1)));
    assert!(rig.facts().is_empty());
    rig.upgrade.acknowledged(rig.now(), &job("j"));
    rig.looks(&plan);
    rig.helper();
}

#[test]
fn what_is_begun_before_the_plan_is_read_is_not_lost() {
    let plan = Rig::start(own(1), None).prepare("j", &init("2.0", Some(1)));
    let unread = |id: &str| {
        let mut fx = Effects::default();
        let upgrade = SelfUpgrade::restore(own(2), &settings(), &mut fx);
        let mut rig = Rig { upgrade, now: Duration::from_secs(100), fx, facts: Vec::new() };
        rig.begin(id, &init("2.0", Some(1)));
        assert!(rig.facts().is_empty());
        rig
    };
    let mut rig = unread("j");
    rig.is_read(None);
    rig.fetched(&Ok(Fetched { bytes: 1, resumed_at: 1 }));
    let mut rig = unread("j");
    rig.is_read(Some(&plan));
    assert_eq!(rig.facts(), ["j accepted"]);
    let mut rig = unread("k");
    rig.is_read(Some(&plan));
    assert!(rig.facts()[0].starts_with("k 3026"));
    let mut ended = plan.clone();
    ended.stage = Stage::Done;
    let mut rig = unread("j");
    rig.is_read(Some(&ended));
    assert_eq!(rig.facts(), ["j 2 "]);
    // What is damaged is no plan.
    let mut rig = unread("j");
    rig.fx.take();
    rig.event(&Event::FileRead(Path::new(PLAN), Ok(Some(b"{"))));
    rig.fetched(&Ok(Fetched { bytes: 1, resumed_at: 1 }));
}

#[test]
fn a_download_that_fails_is_tried_again_in_time_and_a_wrong_file_is_not() {
    let mut rig = Rig::start(own(1), None);
    rig.begin("j", &init("2.0", Some(1)));
    let mut tries = 0;
    while rig.facts.is_empty() {
        rig.fetched(&Err(Error::Download("https://polaris: refused".into())));
        tries += 1;
        let effects = rig.fx.take();
        if let [Effect::Spawn { child, program: Program::Task(Task::Place(files)) }] = &effects[..] {
            let names: Vec<&str> = files.iter().map(|file| file.to.to_str().unwrap()).collect();
            assert!(names[1].ends_with("/packages/2.0-1111111111111111.deb.part"), "{names:?}");
            assert!(files.iter().all(|file| file.content == Content::Nothing));
            rig.answer(*child, "null");
            break;
        }
        assert_eq!(effects, []);
        rig.tick();
    }
    assert_eq!(rig.facts(), ["j 3301 https://polaris: refused"]);
    assert!((10..20).contains(&tries), "{tries}");
    assert!(rig.now < Duration::from_secs(100) + TIMEOUT, "{:?}", rig.now);

    rig.begin("k", &init("2.0", Some(1)));
    let sum = |digit: &str| format!("SHA256:{}", digit.repeat(64)).parse::<Checksum>().unwrap();
    rig.fetched(&Err(Error::Checksum { url: "u".into(), expected: sum("1"), got: sum("2") }));
    let (child, _) = rig.placed();
    rig.answer(child, "null");
    assert!(rig.facts()[0].starts_with("k 3302 u: the file's checksum is SHA256:2222"));
    assert_eq!(rig.upgrade.deadline(), None);
}

#[test]
fn what_cannot_be_prepared_or_has_no_helper_leaves_boot_as_it_is() {
    let mut rig = Rig::start(own(1), None);
    rig.begin("j", &init("2.0", Some(1)));
    rig.fetched(&Ok(Fetched { bytes: 1, resumed_at: 0 }));
    let (child, _) = rig.placed();
    rig.fail(child, "no space left");
    let (child, files) = rig.placed();
    let Content::Text(text) = &files[0].content else { panic!("{files:?}") };
    assert_eq!(Plan::parse(text.as_bytes()).unwrap().stage, Stage::RolledBack);
    rig.answer(child, "null");
    let facts = rig.facts();
    assert!(facts[0].starts_with("j 3107 2.0: could not prepare it: no space left"), "{facts:?}");

    let plan = rig.prepare("k", &init("2.0", Some(1)));
    rig.upgrade.acknowledged(rig.now(), &job("k"));
    let mut helpers = 0;
    let end = loop {
        rig.looks(&plan);
        let effects = rig.fx.take();
        match &effects[..] {
            [] => {}
            [Effect::Spawn { program: Program::Task(Task::Place(_)), child }] => break *child,
            [Effect::Spawn { program: Program::Exec(_), child }] => {
                helpers += 1;
                let error = StartError { step: "execve".into(), reason: "Permission denied".into() };
                rig.event(&if helpers % 2 == 0 {
                    Event::NotStarted(*child, error)
                } else {
                    Event::Exited(*child, Exit::Signal(9))
                });
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(helpers, 5);
    rig.answer(end, "null");
    // That it cannot be executed, as on a disk that is mounted so, says more than how another ended.
    let told = &rig.facts()[0];
    assert!(told.starts_with("k 3107 2.0: no helper came to its end: "), "{told}");
    assert!(told.contains("execve") && told.contains("Permission denied"), "{told}");
}

#[test]
fn a_helper_that_is_gone_in_the_middle_is_followed_by_others_for_as_long_as_it_takes() {
    let mut plan = Rig::start(own(1), None).prepare("j", &init("2.0", Some(1)));
    plan.stage = Stage::Replacing;
    let mut rig = Rig::start(own(2), Some(&plan));
    let mut started = Vec::new();
    for _ in 0..100 {
        rig.looks(&plan);
        if let [Effect::Spawn { child, program: Program::Exec(_) }] = rig.fx.take()[..] {
            started.push(rig.now.as_secs());
            rig.event(&Event::Exited(child, Exit::Code(1)));
        }
    }
    assert_eq!(started, [110, 120, 130, 140, 150, 160, 170, 180, 190]);
    // The plan is gone: somebody has to look.
    rig.tick();
    rig.is_read(None);
    assert!(rig.facts()[0].starts_with("j 3201 /var/lib/cargo/boot/.self/plan.json is gone"));
}

#[test]
fn where_systemd_makes_no_scope_the_next_helper_does_without() {
    let systemd = Own { systemd_run: Some("/usr/bin/systemd-run".into()), ..own(1) };
    let mut rig = Rig::start(systemd, None);
    let plan = rig.prepare("j", &init("2.0", Some(1)));
    rig.upgrade.acknowledged(rig.now(), &job("j"));
    rig.looks(&plan);
    let (child, program) = rig.spawned();
    let Program::Exec(launch) = program else { panic!("{program:?}") };
    assert_eq!(launch.argv[..2], ["/usr/bin/systemd-run", "--scope"]);
    rig.event(&Event::Exited(child, Exit::Code(1)));
    for _ in 0..9 {
        rig.looks(&plan);
    }
    assert_eq!(rig.fx.take(), []);
    rig.looks(&plan);
    rig.helper();
}
