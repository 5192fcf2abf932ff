//! The jobs that wait: by when they are due and in the order in which they
//! came, and by when they have waited too long.

use crate::machine::Instant;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeMap<(Instant, u64), String>,
    expiring: BTreeMap<(Instant, u64), String>,
    places: HashMap<String, Place>,
    came: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    due: Instant,
    expires: Option<Instant>,
    came: u64,
}

impl Queue {
    /// A job that may begin at `due`, and not later than `expires`.
    pub fn push(&mut self, id: String, due: Instant, expires: Option<Instant>) {
        self.came += 1;
        let place = Place { due, expires, came: self.came };
        self.due.insert((due, place.came), id.clone());
        if let Some(expires) = expires {
            self.expiring.insert((expires, place.came), id.clone());
        }
        self.places.insert(id, place);
    }

    pub fn remove(&mut self, id: &str) {
        if let Some(place) = self.places.remove(id) {
            self.due.remove(&(place.due, place.came));
            if let Some(expires) = place.expires {
                self.expiring.remove(&(expires, place.came));
            }
        }
    }

    /// The first that may begin now.
    pub fn due(&self, now: Instant) -> Option<&str> {
        let ((due, _), id) = self.due.first_key_value()?;
        (*due <= now).then_some(id)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes one out that has waited too long.
    pub fn expired(&mut self, now: Instant) -> Option<String> {
        let ((expires, _), id) = self.expiring.first_key_value()?;
        if now < *expires {
            return None;
        }
        let id = id.clone();
        self.remove(&id);
        Some(id)
    }

    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first_key_value().map(|((expires, _), _)| *expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn they_begin_when_due_and_in_the_order_in_which_they_came() {
        let mut queue = Queue::default();
        for (id, due) in [("retry", 5), ("first", 1), ("second", 1)] {
            queue.push(id.into(), at(due), None);
        }
        assert_eq!((queue.due(at(0)), queue.next_due()), (None, Some(at(1))));
        for id in ["first", "second"] {
            assert_eq!(queue.due(at(1)), Some(id));
            queue.remove(id);
        }
        assert_eq!(queue.due(at(4)), None);
        assert_eq!(queue.due(at(5)), Some("retry"));
    }

    #[test]
    fn one_that_waited_too_long_is_nowhere_any_more() {
        let mut queue = Queue::default();
        queue.push("a".into(), at(0), Some(at(10)));
        queue.push("b".into(), at(0), Some(at(9)));
        queue.remove("b");
        assert_eq!((queue.next_expiry(), queue.expired(at(9))), (Some(at(10)), None));
        assert_eq!(queue.expired(at(10)).as_deref(), Some("a"));
        assert_eq!((queue.due(at(10)), queue.next_due(), queue.next_expiry()), (None, None, None));
    }
}
