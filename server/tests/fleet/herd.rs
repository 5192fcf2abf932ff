//! A fleet that lost its server comes back whole, and no faster than the server wants.

use crate::program::Program;
use crate::{Rig, counts, soon};
use serde_json::json;
use simulator::Profile;
use tokio::time::Instant;

const HOSTS: usize = 1000;
const HANDSHAKES_PER_SECOND: u32 = 200;

#[tokio::test]
async fn after_kill_9_all_come_back_and_no_faster_than_the_limit() {
    let mut rig = Rig::start("", HOSTS, &Profile { seed: 3, ..Profile::default() }, HOSTS).await;
    Program::configure(rig.dir.path(), &format!("[agents]\nhandshakes = {HANDSHAKES_PER_SECOND}\n"));
    let tally = rig.fleet.tally.clone();
    rig.program.kill();
    soon(tally.are_up(0)).await;
    let begin = Instant::now();
    rig.program.start_again(rig.dir.path()).await;
    soon(tally.are_up(HOSTS)).await;

    let mut times: Vec<_> = tally.handshakes().into_iter().filter(|at| *at >= begin).collect();
    times.sort_unstable();
    assert!(times.len() >= HOSTS);
    // A handshake ends some time after it began, so on a busy machine one second may see the ends of
    // two. None can end before its turn: up to each moment there are no more than the limit allows.
    for (before, at) in times.iter().enumerate() {
        let second_after = (*at - begin).as_secs_f64() + 1.0;
        let most = f64::from(HANDSHAKES_PER_SECOND) * second_after;
        assert!(
            f64::from(u32::try_from(before + 1).unwrap()) <= most,
            "{before} handshakes {:?} after the start",
            *at - begin
        );
    }
    let answer = rig.program.rest.run(rig.body(&json!({}))).await;
    assert_eq!(counts(&answer), [(2, HOSTS)].into());
}
