use super::*;
use crate::requests::Target;

fn row(host: Uuid, serial: usize) -> QueueRow {
    QueueRow {
        request: serial.to_string().into(),
        position: 0,
        serial: i64::try_from(serial).unwrap(),
        host,
        target: Target { host: host.to_string(), name: None },
        expires: 1000,
        sent: None,
        created: 1,
    }
}

/// A queue in which so many requests wait for the host.
fn queue(host: Uuid, count: usize) -> Queue {
    Queue::new((0..count).map(|serial| row(host, serial)).collect())
}

fn codes(queue: &Queue) -> Vec<(String, u16)> {
    let settling = queue.take_settling(usize::MAX);
    let codes = settling.iter().map(|one| (one.request.to_string(), one.settled.retcode)).collect();
    queue.forget(&settling);
    codes
}

#[test]
fn only_so_many_wait_for_one_host_and_for_all() {
    let (host, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let full = queue(host, MAX_QUEUED_PER_HOST);
    assert_eq!(full.no_room(host, 0).unwrap().retcode, Retcode::Busy.code());
    assert!(full.no_room(other, 0).is_none());
    let rows = (0..MAX_QUEUED).map(|n| row(Uuid::from_u128(n as u128 / 500), n));
    let full = Queue::new(rows.take(MAX_QUEUED - 1).collect());
    assert!(full.no_room(host, 0).is_none());
    assert!(full.no_room(host, 1).unwrap().detail.unwrap().contains("100000"));
}

#[test]
fn what_is_not_answered_bounds_what_is_delivered() {
    let host = Uuid::from_u128(1);
    let queue = queue(host, 3);
    assert!(queue.sent(host, "0", 5, 9, DELIVERY_WINDOW_BYTES - 1));
    assert!(!queue.sent(host, "0", 5, 9, 1), "it is on its way");
    let (rows, window) = queue.deliverable(host, 9, 5);
    assert_eq!((rows.iter().map(|row| &*row.request).collect::<Vec<_>>(), window), (vec!["1", "2"], 1));
    queue.answered(host, "0", &Outcome::new(Retcode::NormalTermination));
    assert_eq!(queue.deliverable(host, 1, 5).1, DELIVERY_WINDOW_BYTES);
    queue.answered(host, "0", &Outcome::new(Retcode::LinkLost));
    assert_eq!(codes(&queue), [("0".to_owned(), 2)], "the first answer counts");
    assert!(queue.deliverable(host, 9, 1000).0.is_empty(), "too late");
}

#[test]
fn an_answer_that_finds_no_room_counts_without_its_output() {
    let host = Uuid::from_u128(1);
    let queue = queue(host, 100);
    let large = Outcome::new(Retcode::NormalTermination).with_data(&"x".repeat(1024 * 1024));
    for n in 0..100 {
        assert!(queue.sent(host, &n.to_string(), 5, 9, 1));
        queue.answered(host, &n.to_string(), &large);
    }
    assert!(queue.deliverable(host, 1000, 5).0.is_empty(), "to ask again might run it twice");
    let kept = MAX_UNSTORED_ANSWER_BYTES / (1024 * 1024);
    let settling = queue.take_settling(usize::MAX);
    let whole = |one: &&Settling| one.settled.line().len() > 1024 * 1024;
    assert_eq!((settling.len(), settling.iter().filter(whole).count()), (100, kept));
    let last = &settling[99].settled;
    assert_eq!(last.retcode, 2);
    assert!(last.json().contains("its output was not kept"), "{}", last.json());
}

#[test]
fn what_the_host_may_have_forgotten_is_not_sent_again() {
    let host = Uuid::from_u128(1);
    let mut rows = vec![row(host, 0), row(host, 1)];
    for row in &mut rows {
        row.expires = EpochMs::MAX;
    }
    let queue = Queue::new(rows);
    let limit = clock::ms(REDELIVERED);
    for now in [5, limit + 4, limit + 5] {
        assert!(queue.sent(host, "0", now, now + 9, 1), "{now}");
        queue.unsent(host, "0");
    }
    let ids = |now| {
        let rows = queue.deliverable(host, 9, now).0;
        rows.iter().map(|row| row.request.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((ids(limit + 5).len(), ids(limit + 6)), (2, vec!["1".to_owned()]));
    queue.sweep(limit + 6, |_| true, |_| true);
    assert_eq!(codes(&queue), [("0".to_owned(), 206)]);
}

#[test]
fn each_end_has_its_reason() {
    let (here, gone) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut rows: Vec<_> = (0..5).map(|n| row(if n < 3 { here } else { gone }, n)).collect();
    rows[1].sent = Some(3);
    rows[4].sent = Some(3);
    let queue = Queue::new(rows);
    assert!(queue.sent(here, "2", 5, 2000, 1));
    let ended = |now| {
        queue.sweep(now, |host| host == here, |_| true);
        let mut codes = codes(&queue);
        codes.sort();
        codes.into_iter().map(|(_, code)| code).collect::<Vec<_>>()
    };
    assert_eq!(ended(999), [207, 206], "the host that was removed: not heard of, and delivered before");
    assert_eq!(ended(1000), [3109, 206], "the one that is there: not heard of, and delivered before");
    assert!(ended(1999).is_empty(), "what was delivered has its own time");
    let given_up = queue.sweep(2000, |_| true, |_| true);
    assert_eq!(given_up, [(here, "2".into())], "nobody waits for its answer");
    assert_eq!(ended(2000), [205]);
    assert!(queue.is_empty());
}

#[test]
fn what_did_not_leave_was_not_heard_of() {
    let host = Uuid::from_u128(1);
    let queue = queue(host, 2);
    for id in ["0", "1"] {
        assert!(queue.sent(host, id, 5, 9, 1));
    }
    queue.not_sent(host, "0", None);
    queue.not_sent(host, "1", Some(3));
    queue.sweep(1000, |_| true, |_| true);
    assert_eq!(codes(&queue), [("0".to_owned(), 3109), ("1".to_owned(), 206)]);
}

#[test]
fn what_is_withdrawn_is_sent_no_more_and_nobody_is_told_that_it_never_was() {
    let host = Uuid::from_u128(1);
    let queue = queue(host, 2);
    assert!(queue.sent(host, "0", 5, 9, 1));
    queue.withdraw("0", &[host]);
    assert!(queue.take_settling(9).is_empty(), "it is the host's to end it");
    queue.unsent(host, "0");
    queue.withdraw("1", &[host]);
    assert!(queue.deliverable(host, 9, 5).0.is_empty());
    assert_eq!(codes(&queue), [("0".to_owned(), 206), ("1".to_owned(), 207)]);
}
