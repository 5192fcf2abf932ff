//! What becomes an entry of the audit log while a call is served.

use super::Principal;
use super::audit::{Entry, News, Place};
use crate::clock;
use crate::limits::{
    AUDIT_HOSTS, MAX_AUDIT_CHARS, MAX_AUDIT_HOST_CHARS, MAX_AUDIT_METHOD_CHARS, MAX_NAME_BYTES,
};
use crate::requests::{Head, Target, login};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// One call's. It is written once: when somebody says how it ended, or else when all that know of
/// it have left.
#[derive(Debug, Clone)]
pub struct Note(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    entry: Entry,
    /// Whether `who` is whom he says.
    known: bool,
    place: Option<Place>,
}

impl Note {
    pub fn new(place: Place, peer: IpAddr, method: &str, path: &str) -> Note {
        let entry = Entry {
            at: clock::now(),
            peer: peer.to_canonical().to_string(),
            method: cut(method, MAX_AUDIT_METHOD_CHARS),
            path: beginning(path),
            named: "[]".into(),
            ..Entry::default()
        };
        Note(Arc::new(Mutex::new(Open { entry, known: false, place: Some(place) })))
    }

    /// Whoever calls.
    pub fn by(&self, who: &Principal) {
        let mut open = self.open();
        open.known = true;
        open.entry.who = who.name.to_string();
        open.entry.token = who.token().map(str::to_owned);
    }

    /// Who says that he calls: it may be nobody's name.
    pub fn claims(&self, name: &str) {
        let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|at| *at <= MAX_NAME_BYTES);
        name[..end.last().unwrap_or(0)].clone_into(&mut self.open().entry.who);
    }

    /// What it does, in words; nothing secret.
    pub fn what(&self, text: impl AsRef<str>) {
        self.open().entry.what = Some(beginning(text.as_ref()));
    }

    /// The hosts that it is about.
    pub fn hosts(&self, hosts: &[Target]) {
        let named = &hosts[..hosts.len().min(AUDIT_HOSTS)];
        let mut open = self.open();
        open.entry.hosts = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
        open.entry.named = serde_json::to_string(named).expect("strings always serialise");
    }

    /// The request to hosts that it asks for, before anybody has said whether he may: by no id, since
    /// it may never be one. `body` is what would be sent to the hosts.
    pub fn asked(&self, body: &Map<String, Value>, hosts: &[String], target: Option<&str>) {
        let mut params = body.clone();
        if let Some(Value::String(method)) = params.remove("method") {
            login::hide(&method, &mut params);
            self.what(method);
            let params = serde_json::to_string(&params).expect("JSON values always serialise");
            self.open().entry.detail = Some(beginning(&params));
        }
        let named = hosts.iter().take(AUDIT_HOSTS);
        let named = named.map(|host| Target { host: cut(host, MAX_AUDIT_HOST_CHARS), name: None });
        self.hosts(&named.collect::<Vec<_>>());
        let mut open = self.open();
        open.entry.hosts = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
        open.entry.target = target.map(beginning);
    }

    /// The request to hosts that it makes, and by which expression these were selected. What is said
    /// of it already stays.
    pub fn request(&self, head: &Head) {
        let mut open = self.open();
        if open.entry.what.is_none() {
            open.entry.what = Some(beginning(&head.method));
        }
        open.entry.detail = Some(beginning(&head.params));
        open.entry.target = head.target.as_deref().map(beginning);
        open.entry.request.get_or_insert_with(|| (*head.id).to_owned());
    }

    /// How it ended: this is written, and nothing that is said of it later.
    pub fn end(&self, status: u16) {
        let mut open = self.open();
        open.entry.status = Some(status);
        open.write();
    }

    /// Whether it is known who calls.
    pub fn is_known(&self) -> bool {
        self.open().known
    }

    /// So many calls of nobody before this one are not written.
    pub fn passed_over(&self, calls: i64) {
        if calls > 0 {
            let mut open = self.open();
            let what = open.entry.what.take().map_or_else(String::new, |what| what + "; ");
            open.entry.what = Some(format!("{what}{calls} refused calls before this are not recorded"));
        }
    }

    /// It is not written at all.
    pub fn withdraw(&self) {
        self.open().place = None;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().expect("nothing panics while it holds a note")
    }
}

impl Open {
    fn write(&mut self) {
        if let Some(place) = self.place.take() {
            place.send(News::Entry(Box::new(std::mem::take(&mut self.entry))));
        }
    }
}

impl Drop for Open {
    /// The caller hung up; what he asked for may have been done all the same.
    fn drop(&mut self) {
        self.write();
    }
}

/// As much of it as is kept.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(MAX_AUDIT_CHARS) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// At most so many characters of it, for what has no room for one more.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn note() -> (Note, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(1);
        let place = sender.try_reserve_owned().unwrap();
        (Note::new(place, "::ffff:10.0.0.1".parse().unwrap(), "POST", "/x"), receiver)
    }

    fn written(receiver: &mut mpsc::Receiver<News>) -> Option<Entry> {
        match receiver.try_recv() {
            Ok(News::Entry(entry)) => Some(*entry),
            _ => None,
        }
    }

    #[test]
    fn it_is_written_once_with_the_first_end() {
        let (note, mut receiver) = note();
        note.by(&Principal::admin_token());
        note.what("x".repeat(MAX_AUDIT_CHARS + 1));
        let hosts: Vec<_> = (0..=AUDIT_HOSTS).map(|n| Target { host: n.to_string(), name: None }).collect();
        note.hosts(&hosts);
        assert_eq!(written(&mut receiver), None);
        note.end(200);
        note.end(500);
        let entry = written(&mut receiver).unwrap();
        assert_eq!(
            (entry.who.as_str(), entry.peer.as_str(), entry.status),
            ("admin.token", "10.0.0.1", Some(200))
        );
        assert_eq!(entry.what.unwrap().chars().count(), MAX_AUDIT_CHARS + 1);
        assert_eq!(entry.hosts, 101);
        assert_eq!(serde_json::from_str::<Vec<Target>>(&entry.named).unwrap(), hosts[..AUDIT_HOSTS]);
        drop(note);
        assert_eq!(written(&mut receiver), None);
    }

    #[test]
    fn whoever_hangs_up_leaves_it_without_an_end() {
        let (note, mut receiver) = note();
        note.claims(&"\u{e9}".repeat(100));
        let handler = note.clone();
        drop(note);
        assert_eq!(written(&mut receiver), None, "somebody knows of it still");
        drop(handler);
        let entry = written(&mut receiver).unwrap();
        assert_eq!((entry.status, entry.who), (None, "\u{e9}".repeat(32)));
    }

    #[test]
    fn a_method_that_somebody_invented_fits_its_column() {
        let (sender, mut receiver) = mpsc::channel(1);
        let place = sender.try_reserve_owned().unwrap();
        Note::new(place, "::1".parse().unwrap(), &"A".repeat(20), "/x").end(401);
        assert_eq!(written(&mut receiver).unwrap().method, "A".repeat(16));
    }

    #[test]
    fn a_request_that_it_makes_leaves_what_was_said_of_it() {
        let (note, mut receiver) = note();
        note.what("cancel the request r");
        let registry = crate::requests::Registry::default();
        for id in ["of.its.own", "another"] {
            note.request(&crate::agents::samples::begun(&registry, id, 1).head);
        }
        note.end(200);
        let entry = written(&mut receiver).unwrap();
        assert_eq!(entry.what.as_deref(), Some("cancel the request r"));
        assert_eq!((entry.request.as_deref(), entry.detail.as_deref()), (Some("of.its.own"), Some("{}")));
    }

    #[test]
    fn what_is_withdrawn_is_not_written() {
        let (note, mut receiver) = note();
        note.withdraw();
        note.end(401);
        drop(note);
        assert_eq!(written(&mut receiver), None);
    }
}
