//! Users, their access tokens and sessions, in memory, so that no call waits for the database,
//! which is the backing of this. What is changed is changed there first.

use super::{Limit, Role};
use crate::clock::EpochMs;
use crate::limits::SESSION_IDLE;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// SHA-256 of a secret of 256 bits, which needs nothing slower.
pub type Hash = [u8; 32];

/// Somebody who may be let in.
#[derive(Debug, Clone)]
pub struct User {
    pub name: Arc<str>,
    pub role: Role,
    /// argon2id, as PHC string; `None`: by access tokens alone.
    pub password: Option<String>,
    /// The hosts that he is limited to.
    pub limit: Option<Limit>,
    pub disabled: bool,
    pub created: EpochMs,
    pub modified: EpochMs,
}

/// What opens for a program what it does for its user, or less.
#[derive(Debug)]
pub struct AccessToken {
    pub owner: Arc<str>,
    pub name: Arc<str>,
    pub hash: Hash,
    pub role: Role,
    pub limit: Option<Limit>,
    /// `None`: never.
    pub expires: Option<EpochMs>,
    pub used: Used,
    pub created: EpochMs,
}

/// Somebody who gave his password and got a cookie for it.
#[derive(Debug)]
pub struct Session {
    pub owner: Arc<str>,
    pub hash: Hash,
    /// However much it is used.
    pub expires: EpochMs,
    pub used: Used,
    pub created: EpochMs,
}

/// When something was used last, and what of that is in the database.
#[derive(Debug)]
pub struct Used {
    at: AtomicI64,
    written: AtomicI64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Roster {
    index: RwLock<Index>,
}

#[derive(Debug, Default)]
struct Index {
    users: BTreeMap<Arc<str>, Arc<User>>,
    tokens: HashMap<Hash, Arc<AccessToken>>,
    sessions: HashMap<Hash, Arc<Session>>,
}

/// Uses that the database does not know of yet.
#[derive(Debug, Default)]
pub struct Uses {
    pub tokens: Vec<(Arc<AccessToken>, EpochMs)>,
    pub sessions: Vec<(Arc<Session>, EpochMs)>,
}

impl Uses {
    /// The database has them.
    pub fn are_written(&self) {
        let tokens = self.tokens.iter().map(|(token, at)| (&token.used, at));
        let sessions = self.sessions.iter().map(|(session, at)| (&session.used, at));
        for (used, at) in tokens.chain(sessions) {
            used.written.fetch_max(*at, Ordering::Relaxed);
        }
    }
}

impl Used {
    const NEVER: EpochMs = 0;

    /// As the database has it.
    pub fn kept(at: Option<EpochMs>) -> Used {
        let at = at.unwrap_or(Used::NEVER);
        Used { at: at.into(), written: at.into() }
    }

    pub fn at(&self) -> Option<EpochMs> {
        Some(self.at.load(Ordering::Relaxed)).filter(|at| *at != Used::NEVER)
    }

    pub fn now(&self, now: EpochMs) {
        self.at.fetch_max(now, Ordering::Relaxed);
    }

    /// What is to be written.
    fn unwritten(&self) -> Option<EpochMs> {
        let at = self.at.load(Ordering::Relaxed);
        (self.written.load(Ordering::Relaxed) != at).then_some(at)
    }
}

impl Session {
    fn is_over(&self, now: EpochMs) -> bool {
        let used = self.used.at().unwrap_or(self.created);
        now >= self.expires || now >= used + crate::clock::ms(SESSION_IDLE)
    }
}

impl Roster {
    pub fn new(users: Vec<User>, tokens: Vec<AccessToken>, sessions: Vec<Session>) -> Roster {
        let roster = Roster::default();
        for user in users {
            roster.put_user(user);
        }
        for token in tokens {
            roster.put_token(token);
        }
        for session in sessions {
            roster.put_session(session);
        }
        roster
    }

    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.read().users.get(name).cloned()
    }

    /// All of them, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.read().users.values().cloned().collect()
    }

    /// The token of this hash with its user, where both may be let in.
    pub fn token(&self, hash: &Hash, now: EpochMs) -> Option<(Arc<AccessToken>, Arc<User>)> {
        let index = self.read();
        let token = index.tokens.get(hash)?;
        let user = index.users.get(&token.owner)?;
        let good = !user.disabled && token.expires.is_none_or(|at| now < at);
        good.then(|| (token.clone(), user.clone()))
    }

    /// The session of this hash with its user, where both may be let in.
    pub fn session(&self, hash: &Hash, now: EpochMs) -> Option<(Arc<Session>, Arc<User>)> {
        let index = self.read();
        let session = index.sessions.get(hash)?;
        let user = index.users.get(&session.owner)?;
        (!user.disabled && !session.is_over(now)).then(|| (session.clone(), user.clone()))
    }

    /// The user's tokens, by name.
    pub fn tokens_of(&self, owner: &str) -> Vec<Arc<AccessToken>> {
        let of = |token: &&Arc<AccessToken>| &*token.owner == owner;
        let mut tokens: Vec<_> = self.read().tokens.values().filter(of).cloned().collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// The user's sessions, those first that were used last.
    pub fn sessions_of(&self, owner: &str) -> Vec<Arc<Session>> {
        let of = |session: &&Arc<Session>| &*session.owner == owner;
        let mut sessions: Vec<_> = self.read().sessions.values().filter(of).cloned().collect();
        sessions.sort_by_key(|session| (std::cmp::Reverse(session.used.at()), session.hash));
        sessions
    }

    /// Sessions that nobody can use any more.
    pub fn over(&self, now: EpochMs) -> Vec<Hash> {
        let index = self.read();
        index.sessions.values().filter(|session| session.is_over(now)).map(|session| session.hash).collect()
    }

    /// As it is in the database by now.
    pub fn put_user(&self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.write().users.insert(user.name.clone(), user.clone());
        user
    }

    pub fn put_token(&self, token: AccessToken) -> Arc<AccessToken> {
        let token = Arc::new(token);
        self.write().tokens.insert(token.hash, token.clone());
        token
    }

    pub fn put_session(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.write().sessions.insert(session.hash, session.clone());
        session
    }

    /// With all that is his.
    pub fn remove_user(&self, name: &str) {
        let mut index = self.write();
        index.users.remove(name);
        index.tokens.retain(|_, token| &*token.owner != name);
        index.sessions.retain(|_, session| &*session.owner != name);
    }

    pub fn remove_token(&self, hash: &Hash) {
        self.write().tokens.remove(hash);
    }

    pub fn remove_sessions(&self, hashes: &[Hash]) {
        let mut index = self.write();
        for hash in hashes {
            index.sessions.remove(hash);
        }
    }

    /// What is to be written of when tokens and sessions were used.
    pub fn uses(&self) -> Uses {
        let index = self.read();
        let tokens = index.tokens.values().filter_map(|token| Some((token.clone(), token.used.unwritten()?)));
        let sessions = index.sessions.values();
        let sessions = sessions.filter_map(|session| Some((session.clone(), session.used.unwritten()?)));
        Uses { tokens: tokens.collect(), sessions: sessions.collect() }
    }

    /// How many access tokens and how many sessions each user has who has any.
    pub fn counts(&self) -> HashMap<Arc<str>, (usize, usize)> {
        let index = self.read();
        let mut counts: HashMap<Arc<str>, (usize, usize)> = HashMap::new();
        for token in index.tokens.values() {
            counts.entry(token.owner.clone()).or_default().0 += 1;
        }
        for session in index.sessions.values() {
            counts.entry(session.owner.clone()).or_default().1 += 1;
        }
        counts
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("nothing panics while it holds the roster")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("nothing panics while it holds the roster")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_to_be_written_until_it_is() {
        let session = |used| Session { owner: "ann".into(), hash: [0; 32], expires: 9, used, created: 1 };
        let roster = Roster::new(Vec::new(), Vec::new(), vec![session(Used::kept(Some(1)))]);
        assert!(roster.uses().sessions.is_empty());
        let kept = roster.read().sessions[&[0; 32]].clone();
        kept.used.now(5);
        let times = || roster.uses().sessions.iter().map(|(_, at)| *at).collect::<Vec<_>>();
        // The database did not take the first.
        assert_eq!((times(), times()), (vec![5], vec![5]));
        let uses = roster.uses();
        kept.used.now(6);
        uses.are_written();
        assert_eq!(times(), [6], "it was used once more meanwhile");
        roster.uses().are_written();
        assert!(times().is_empty());
        assert_eq!(roster.counts()["ann"], (0, 1));
    }
}
