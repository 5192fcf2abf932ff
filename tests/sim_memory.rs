//! What the agent does when there is no memory for a command's output: an
//! allocator that refuses is what this binary runs on.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::machine::{Effect, Event, Exit, Stream};
use serde_json::json;
use sim::agent::{Agent, reply, text};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Refuses this thread what is larger than its limit.
struct Scarce;

thread_local! {
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

// SAFETY: it is the system's, or the null that stands for no memory.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_BYTES.get() {
            return ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LARGEST_BYTES.get() {
            return ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Hands in an event while nothing larger can be allocated.
fn without_memory(agent: &mut Agent, largest_bytes: usize, event: Event<'_>) -> Vec<Effect> {
    LARGEST_BYTES.set(largest_bytes);
    let effects = agent.rig.event(event);
    LARGEST_BYTES.set(usize::MAX);
    effects
}

#[test]
fn a_command_whose_output_finds_no_memory_is_killed_at_once() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({"timeout": 100}));
    let output = vec![b'x'; 60_000];
    agent.rig.event(Event::Output(child, Stream::Err, b"so far"));
    let effects = without_memory(&mut agent, 16_384, Event::Output(child, Stream::Out, &output));
    assert_eq!(effects, [Effect::Signal { child, signal: libc::SIGKILL }]);
    // What it had is given back, so that there is memory for the reply; what still comes is counted.
    agent.rig.event(Event::Output(child, Stream::Out, b"late"));
    agent.rig.event(Event::OutputEnded(child, Stream::Out));
    agent.rig.event(Event::OutputEnded(child, Stream::Err));
    let effects = without_memory(&mut agent, 16_384, Event::Exited(child, Exit::Signal(9)));
    let (_, outcome) = reply(&effects);
    assert_eq!((outcome.retcode, outcome.message.as_str()), (3105, "Out of memory, force-killed"));
    assert_eq!((outcome.signal, outcome.exitcode), (Some(9), None));
    assert_eq!((text(&outcome).as_str(), outcome.stderr.as_deref()), ("", Some("")));
    assert_eq!(outcome.dropped, Some(60_000 + 6 + 4));
    assert_eq!(outcome.elapsed, Some(0.0));
}

#[test]
fn the_others_go_on() {
    let mut agent = Agent::new("");
    let (greedy, _) = agent.starts("greedy", &json!({}));
    let (modest, _) = agent.starts("modest", &json!({}));
    without_memory(&mut agent, 1000, Event::Output(greedy, Stream::Out, &[b'x'; 5000]));
    let none = without_memory(&mut agent, 1000, Event::Output(modest, Stream::Out, b"hello"));
    assert_eq!(none, []);
    let (id, outcome) = reply(&agent.ends(modest, Exit::Code(0)));
    assert_eq!((id.as_str(), outcome.retcode, text(&outcome).as_str()), ("modest", 2, "hello"));
    assert_eq!(reply(&agent.ends(greedy, Exit::Signal(9))).1.retcode, 3105);
}

#[test]
fn one_that_had_ended_is_past_killing_but_no_success() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Exited(child, Exit::Code(0)));
    assert_eq!(without_memory(&mut agent, 1000, Event::Output(child, Stream::Out, &[b'x'; 5000])), []);
    agent.rig.event(Event::OutputEnded(child, Stream::Out));
    let (_, outcome) = reply(&agent.rig.event(Event::OutputEnded(child, Stream::Err)));
    assert_eq!((outcome.retcode, outcome.exitcode), (3105, Some(0)));
}
