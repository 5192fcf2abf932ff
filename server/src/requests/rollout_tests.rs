use super::*;
use proptest::prelude::*;

const PLAN: Plan = Plan { batch: 2, ramp: false, max_errors: None, pause: 0, ttl: None };
const HOUR: Duration = Duration::from_hours(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_host_is_begun_when_another_has_ended_and_never_because_time_has_passed() {
    let mut rollout = Rollout::new(PLAN, 5, HOUR);
    assert_eq!(rollout.begin(at(0)), 0..2);
    rollout.sent(0, at(100));
    rollout.sent(1, at(50));
    assert_eq!((rollout.begin(at(49)), rollout.late(at(49))), (2..2, vec![]));
    assert_eq!(rollout.wakes(), Some(at(50)));
    // Being late is not having ended: that is said by whoever gives it up.
    assert_eq!((rollout.begin(at(60)), rollout.late(at(60))), (2..2, vec![1]));
    rollout.ended(1, false, at(60));
    assert_eq!(rollout.begin(at(60)), 2..3);
    rollout.ended(0, true, at(61));
    rollout.ended(2, true, at(61));
    assert_eq!(rollout.begin(at(61)), 3..5);
    rollout.ended(3, true, at(62));
    rollout.ended(4, true, at(62));
    assert!(rollout.is_over());
    assert_eq!((rollout.wakes(), rollout.errors()), (None, 1));
}

#[test]
fn what_could_not_be_sent_is_no_error_and_its_place_is_free_at_once() {
    let mut rollout = Rollout::new(Plan { max_errors: Some(0), pause: 60, ..PLAN }, 4, HOUR);
    assert_eq!(rollout.begin(at(0)), 0..2);
    rollout.undelivered(0);
    rollout.undelivered(1);
    assert_eq!(rollout.begin(at(0)), 2..4);
    rollout.ended(0, false, at(1));
    assert_eq!((rollout.errors(), rollout.why_to_stop(at(1))), (0, None));
}

#[test]
fn more_errors_than_may_be_stop_it_and_those_under_way_go_on() {
    for (max_errors, errors) in [(0, 1), (2, 3)] {
        let mut rollout = Rollout::new(Plan { max_errors: Some(max_errors), ..PLAN }, 9, HOUR);
        for host in 0..errors {
            assert_eq!(rollout.why_to_stop(at(0)), None);
            rollout.begin(at(0));
            rollout.ended(host, false, at(0));
        }
        assert_eq!(rollout.why_to_stop(at(0)), Some(Reason::Errors));
        assert_eq!(rollout.begin(at(0)), errors + 1..errors + 1);
        assert_eq!(rollout.stop(), errors + 1..9);
        assert!(!rollout.is_over());
        rollout.ended(errors, true, at(0));
        assert!(rollout.is_over());
    }
}

#[test]
fn with_a_ramp_as_many_are_begun_as_have_succeeded_and_one_more() {
    let mut rollout = Rollout::new(Plan { batch: 6, ramp: true, ..PLAN }, 99, HOUR);
    let (mut sizes, mut under_way) = (Vec::new(), rollout.begin(at(0)));
    for _ in 0..5 {
        sizes.push(under_way.len());
        let ended = under_way;
        under_way = ended.end..ended.end;
        for host in ended {
            rollout.ended(host, true, at(0));
            under_way.end = rollout.begin(at(0)).end;
        }
    }
    assert_eq!(sizes, [1, 2, 4, 6, 6]);
    let mut rollout = Rollout::new(Plan { batch: 6, ramp: true, ..PLAN }, 99, HOUR);
    for host in 0..5 {
        assert_eq!(rollout.begin(at(0)), host..host + 1, "after failures there is one at a time");
        rollout.ended(host, false, at(0));
    }
}

#[test]
fn between_one_host_and_the_next_in_its_place_there_is_the_pause() {
    let mut rollout = Rollout::new(Plan { pause: 10, ..PLAN }, 5, HOUR);
    assert_eq!(rollout.begin(at(0)), 0..2);
    rollout.ended(0, true, at(3));
    assert_eq!((rollout.begin(at(12)), rollout.wakes()), (2..2, Some(at(13))));
    assert_eq!(rollout.begin(at(13)), 2..3);
    // The places that a ramp opens rest, too.
    let mut rollout = Rollout::new(Plan { pause: 10, ramp: true, ..PLAN }, 5, HOUR);
    assert_eq!(rollout.begin(at(0)), 0..1);
    rollout.ended(0, true, at(3));
    assert_eq!((rollout.begin(at(12)), rollout.begin(at(13))), (1..1, 1..3));
}

#[test]
fn at_its_ttl_no_more_are_begun_and_at_the_deadline_all_are_late() {
    let mut rollout = Rollout::new(Plan { ttl: Some(20), ..PLAN }, 5, at(30));
    assert_eq!(rollout.begin(at(0)), 0..2);
    rollout.sent(0, HOUR);
    rollout.sent(1, at(25));
    assert_eq!((rollout.wakes(), rollout.why_to_stop(at(20))), (Some(at(20)), Some(Reason::Ttl)));
    assert_eq!(rollout.stop(), 2..5);
    assert_eq!((rollout.wakes(), rollout.late(at(25))), (Some(at(25)), vec![1]));
    assert_eq!(rollout.late(at(30)), [1, 0]);
    let rollout = Rollout::new(PLAN, 5, at(30));
    assert_eq!(rollout.why_to_stop(at(30)), Some(Reason::Deadline));
}

#[test]
fn rounds_are_what_one_place_has_at_most() {
    for (batch, ramp, hosts, rounds) in
        [(1, false, 7, 7), (3, false, 7, 3), (9, false, 7, 1), (4, true, 8, 4), (1, true, 2, 2)]
    {
        assert_eq!(Plan { batch, ramp, ..PLAN }.rounds(hosts), rounds, "{batch} {ramp} {hosts}");
    }
}

/// What may befall a rollout.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Begin,
    /// One of those that are being sent: it has left, or could not.
    Sent(prop::sample::Index, bool),
    /// One of those that are under way.
    Ended(prop::sample::Index, bool),
    /// Any one: told twice, or decided by somebody else.
    Told(prop::sample::Index, bool),
    GiveUp,
    Stop,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let index = any::<prop::sample::Index>;
    let event = prop_oneof![
        4 => (0_u64..20).prop_map(Event::Pass),
        8 => Just(Event::Begin),
        8 => (index(), prop::bool::weighted(0.8)).prop_map(|(n, sent)| Event::Sent(n, sent)),
        8 => (index(), prop::bool::weighted(0.7)).prop_map(|(n, success)| Event::Ended(n, success)),
        1 => (index(), any::<bool>()).prop_map(|(n, success)| Event::Told(n, success)),
        4 => Just(Event::GiveUp),
        1 => Just(Event::Stop),
    ];
    prop::collection::vec(event, 0..200)
}

fn plans() -> impl Strategy<Value = Plan> {
    let max_errors = prop::option::of(0_u32..5);
    let ttl = prop::option::weighted(0.2, 1_u64..200);
    (1_u32..9, any::<bool>(), max_errors, 0_u32..15, ttl)
        .prop_map(|(batch, ramp, max_errors, pause, ttl)| Plan { batch, ramp, max_errors, pause, ttl })
}

/// The same as the rollout should have it, counted plainly, with how often each host got its final state.
struct Model {
    rollout: Rollout,
    now: Duration,
    sending: Vec<u32>,
    under_way: Vec<u32>,
    finals: Vec<u32>,
    succeeded: u32,
    errors: u32,
    undelivered: u32,
    not_begun: u32,
    stopped: bool,
}

impl Model {
    fn begin(&mut self, plan: &Plan) {
        let begun = self.rollout.begin(self.now);
        let failed = plan.max_errors.is_some_and(|most| self.errors > most);
        assert!(begun.is_empty() || !(self.stopped || failed), "{begun:?} were begun after the stop");
        assert!(begun.clone().all(|host| self.finals[host as usize] == 0));
        self.sending.extend(begun);
        assert!(self.sending.len() + self.under_way.len() <= plan.batch as usize);
        if plan.ramp {
            assert!(self.sending.len() + self.under_way.len() <= self.succeeded as usize + 1);
        }
    }

    fn sent(&mut self, place: usize, sent: bool) {
        let host = self.sending.swap_remove(place);
        if sent {
            self.rollout.sent(host, self.now + at(30));
            self.under_way.push(host);
        } else {
            self.finals[host as usize] += 1;
            self.undelivered += 1;
            self.rollout.undelivered(host);
        }
    }

    fn end(&mut self, host: u32, success: bool) {
        self.under_way.retain(|other| *other != host);
        self.finals[host as usize] += 1;
        *(if success { &mut self.succeeded } else { &mut self.errors }) += 1;
        self.rollout.ended(host, success, self.now);
    }

    fn stop(&mut self) {
        for host in self.rollout.stop() {
            self.finals[host as usize] += 1;
            self.not_begun += 1;
        }
        self.stopped = true;
    }

    fn give_up(&mut self) {
        for host in self.rollout.late(self.now) {
            self.end(host, false);
        }
        if self.rollout.why_to_stop(self.now).is_some() {
            self.stop();
        }
    }

    fn befall(&mut self, event: &Event, plan: &Plan) {
        match event {
            Event::Pass(seconds) => self.now += at(*seconds),
            Event::Begin => self.begin(plan),
            Event::Sent(n, sent) => {
                if !self.sending.is_empty() {
                    self.sent(n.index(self.sending.len()), *sent);
                }
            }
            Event::Ended(n, success) => {
                if !self.under_way.is_empty() {
                    self.end(self.under_way[n.index(self.under_way.len())], *success);
                }
            }
            Event::Told(n, success) => {
                let over = |host: &u32| self.finals[*host as usize] > 0;
                let told: Vec<u32> = (0..).take(self.finals.len()).filter(over).collect();
                if !told.is_empty() {
                    self.rollout.ended(told[n.index(told.len())], *success, self.now);
                }
            }
            Event::GiveUp => self.give_up(),
            Event::Stop => self.stop(),
        }
    }
}

proptest! {
    #[test]
    fn every_host_has_one_final_state_whatever_happens(
        plan in plans(), hosts in 1_u32..40, deadline in 1_u64..2000, events in events(),
    ) {
        let mut model = Model {
            rollout: Rollout::new(plan, hosts, at(deadline)),
            now: at(0),
            sending: Vec::new(),
            under_way: Vec::new(),
            finals: vec![0; hosts as usize],
            succeeded: 0,
            errors: 0,
            undelivered: 0,
            not_begun: 0,
            stopped: false,
        };
        for event in &events {
            model.befall(event, &plan);
        }
        // Whoever drives it: what can be begun is, what has run out is ended, else the time passes to
        // when it wakes. It always comes to its end, at the deadline at the latest.
        let (latest, mut turns) = (model.now.max(at(deadline)), 0);
        while !model.rollout.is_over() {
            model.begin(&plan);
            while !model.sending.is_empty() {
                model.sent(0, true);
            }
            model.give_up();
            if let Some(wakes) = model.rollout.wakes() {
                model.now = model.now.max(wakes);
            }
            turns += 1;
            prop_assert!(turns < 1000, "it has no end: {:?}", model.rollout);
        }
        prop_assert!(model.finals.iter().all(|count| *count == 1), "{:?}", model.finals);
        prop_assert_eq!(model.rollout.errors(), model.errors);
        prop_assert_eq!(model.succeeded + model.errors + model.undelivered + model.not_begun, hosts);
        prop_assert!(model.now <= latest, "it went on after its deadline");
    }
}
