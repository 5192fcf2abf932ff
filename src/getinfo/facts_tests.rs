use super::*;
use crate::machine::{ChildId, Effect, Exit, Program, Stream, Task};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const DAY: u64 = 24 * 3600;

fn at(seconds: u64) -> Now {
    Now { mono: Instant(Duration::from_secs(seconds)), wall: SystemTime::UNIX_EPOCH }
}

#[derive(Default)]
struct Rig {
    facts: HostFacts,
    fx: Effects,
}

impl Rig {
    fn link_up(&mut self, held: Option<&Value>) -> Option<ChildId> {
        let held = held.map(|held| serde_json::from_value(held.clone()).unwrap());
        self.facts.link_up(at(0), held, Path::new("/plugins"), &mut self.fx);
        self.asked()
    }

    /// The child that was asked for the facts meanwhile.
    fn asked(&mut self) -> Option<ChildId> {
        self.fx.take().into_iter().find_map(|effect| match effect {
            Effect::Spawn { child, program: Program::Task(Task::Ask(question)) } => {
                assert_eq!((question.query.as_str(), question.args.as_str()), ("facts", ""));
                Some(child)
            }
            _ => None,
        })
    }

    fn event(&mut self, now: Now, event: &Event<'_>) -> Option<Result<Changes, String>> {
        self.facts.handle(now, event, Path::new("/plugins"), &mut self.fx)
    }

    fn answers(&mut self, child: ChildId, answer: &impl serde::Serialize) -> Result<Changes, String> {
        let answer = serde_json::to_string(answer).unwrap() + "\0";
        let changes = self.event(at(0), &Event::Output(child, Stream::Out, answer.as_bytes()));
        for event in [
            Event::OutputEnded(child, Stream::Out),
            Event::OutputEnded(child, Stream::Err),
            Event::Exited(child, Exit::Code(0)),
        ] {
            assert!(self.event(at(0), &event).is_none());
        }
        changes.expect("the end")
    }

    /// What the server is told after the host said this: sections and their values.
    fn told(&mut self, child: ChildId, sections: &Value) -> Value {
        let changes = self.answers(child, &json!({"retcode": 2, "data": sections})).unwrap();
        assert_eq!(changes.untold, [""; 0]);
        let value = |section: Option<Section>| section.map(|section| section.value);
        let sections = changes.frames.into_iter().flat_map(|facts| facts.sections);
        let told: BTreeMap<String, _> = sections.map(|(name, section)| (name, value(section))).collect();
        serde_json::to_value(&told).unwrap()
    }
}

#[test]
fn a_server_that_holds_nothing_is_told_everything_and_then_what_changes() {
    let mut rig = Rig::default();
    let child = rig.link_up(Some(&json!({}))).unwrap();
    let before = json!({"os": {"id": "debian"}, "memory": {"total": 1}, "net": null});
    assert_eq!(rig.told(child, &before), json!({"os": {"id": "debian"}, "memory": {"total": 1}}));
    assert_eq!(rig.facts.deadline(), Some(at(DAY).mono));
    for (sections, expected) in [
        (&before, json!({})),
        (&json!({"os": {"id": "debian"}, "memory": {"total": 2}}), json!({"memory": {"total": 2}})),
        (&json!({"os": {"id": "debian"}}), json!({"memory": null})),
        (&json!({"os": {"id": "debian"}}), json!({})),
    ] {
        let due = rig.facts.deadline().unwrap();
        assert!(rig.event(Now { mono: due, ..at(0) }, &Event::Tick).is_none());
        let child = rig.asked().unwrap();
        assert_eq!(rig.told(child, sections), expected);
    }
}

#[test]
fn what_the_server_holds_already_is_not_sent_again() {
    let mut rig = Rig::default();
    let sections = json!({"os": {"id": "debian"}, "cpu": {"logical": 2}});
    let child = rig.link_up(Some(&json!({}))).unwrap();
    let changes = rig.answers(child, &json!({"retcode": 2, "data": sections})).unwrap();
    let digest = |name: &str| changes.frames[0].sections[name].as_ref().unwrap().digest.clone();
    let held = json!({"os": digest("os"), "cpu": "another", "gone": "1"});
    let child = rig.link_up(Some(&held)).unwrap();
    assert_eq!(rig.told(child, &sections), json!({"cpu": {"logical": 2}, "gone": null}));
}

#[test]
fn a_server_that_keeps_no_facts_is_told_none() {
    let mut rig = Rig::default();
    assert_eq!((rig.link_up(None), rig.facts.deadline()), (None, None));
    let child = rig.link_up(Some(&json!({}))).unwrap();
    rig.facts.link_down(&mut rig.fx);
    let killed = [Effect::Signal { child, signal: 9 }, Effect::Release { child }];
    assert_eq!((rig.fx.take(), rig.facts.deadline()), (killed.into(), None));
}

#[test]
fn facts_that_are_not_there_are_tried_again_soon() {
    let mut rig = Rig::default();
    let child = rig.link_up(Some(&json!({"os": "1"}))).unwrap();
    let reason = rig.answers(child, &json!({"retcode": 3022, "detail": "no plugin"})).unwrap_err();
    assert_eq!((reason.as_str(), rig.facts.deadline()), ("no plugin", Some(at(600).mono)));
    // The same again is no news.
    assert!(rig.event(at(600), &Event::Tick).is_none());
    let child = rig.asked().unwrap();
    let answer = b"{\"retcode\":3022,\"detail\":\"no plugin\"}\0";
    assert!(rig.event(at(601), &Event::Output(child, Stream::Out, answer)).is_none());
    assert_eq!(rig.facts.again, Some(at(1201).mono));
    let child = rig.link_up(Some(&json!({}))).unwrap();
    let reason = rig.answers(child, &json!({"retcode": 2, "data": [1]})).unwrap_err();
    assert!(reason.starts_with("getinfo.facts: no object of sections: "), "{reason}");
}

#[test]
fn facts_are_taken_again_when_the_plugins_may_be_others() {
    let mut rig = Rig::default();
    let again = |rig: &mut Rig| rig.facts.look_again(at(0), Path::new("/plugins"), &mut rig.fx);
    again(&mut rig);
    assert_eq!(rig.asked(), None, "there is no link");
    let child = rig.link_up(Some(&json!({}))).unwrap();
    again(&mut rig);
    assert_eq!(rig.asked(), None, "they are being taken");
    assert_eq!(rig.told(child, &json!({"os": 1})), json!({"os": 1}));
    again(&mut rig);
    let child = rig.asked().unwrap();
    assert_eq!(rig.told(child, &json!({"os": 2})), json!({"os": 2}));
}

#[test]
fn what_the_server_would_not_take_is_named_and_the_others_are_told() {
    let told = |sections: &str| {
        let mut rig = Rig::default();
        let child = rig.link_up(Some(&json!({}))).unwrap();
        let answer: Box<RawValue> =
            serde_json::from_str(&format!("{{\"retcode\":2,\"data\":{{{sections}}}}}")).unwrap();
        let changes = rig.answers(child, &answer).unwrap();
        let sections: Vec<String> =
            changes.frames.into_iter().flat_map(|facts| facts.sections.into_keys()).collect();
        (sections, changes.untold)
    };
    for (sections, reason) in [
        (
            format!("\"net\":\"{}\"", "x".repeat(facts::MAX_FACTS_SECTION_BYTES)),
            "sections.net.value: must be",
        ),
        ("\"net\":1e999".into(), "sections.net: number out of range"),
        (format!("\"net\":{}{}", "[".repeat(200), "]".repeat(200)), "sections.net: recursion limit"),
        ("\"Net\":1".into(), "sections: a name must be"),
    ] {
        let (sections, untold) = told(&format!("{sections},\"os\":1"));
        assert_eq!((sections, untold.len()), (vec!["os".to_owned()], 1), "{reason}");
        assert!(untold[0].starts_with(reason), "{untold:?}");
    }
    let many: Vec<String> = (0..=MAX_FACTS_SECTIONS).map(|n| format!("\"s{n:02}\":{n}")).collect();
    let (sections, untold) = told(&many.join(","));
    assert_eq!((sections.len(), untold), (16, vec!["sections: s16 is one more than 16".to_owned()]));
}

#[test]
fn as_many_sections_as_there_may_be_can_have_other_names() {
    let mut rig = Rig::default();
    let named = |letter: char| -> Value {
        (0..MAX_FACTS_SECTIONS)
            .map(|n| (format!("{letter}{n}"), json!("x")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let child = rig.link_up(Some(&named('a'))).unwrap();
    let changes = rig.answers(child, &json!({"retcode": 2, "data": named('b')})).unwrap();
    let counts: Vec<_> = changes.frames.iter().map(|facts| facts.sections.len()).collect();
    assert_eq!(counts, [MAX_FACTS_SECTIONS, MAX_FACTS_SECTIONS]);
    assert!(changes.frames[0].sections.values().all(Option::is_none));
}
