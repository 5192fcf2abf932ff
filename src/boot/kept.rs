//! What jobs and enrolment have set, which outlives boot.

use crate::store::{Store, StoreError};
use crate::wire::boot::{ConfigChange, KnownAgent, MAX_AGENTS, STEP_SECONDS};
use crate::wire::server_list::{self, Server};

const SERVERS: &str = "servers";
const ENROLLED: &str = "enrolled";
const STEP: &str = "step";
const WANTED: &str = "wanted";

/// Settings that come before those of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Servers of jobs, which come before all others.
    pub servers: Vec<Server>,
    /// Those of enrolment, the latest first: they come next, and no job takes them away.
    pub enrolled: Vec<Server>,
    /// Seconds, in [`STEP_SECONDS`].
    pub step: Option<u64>,
    /// Agents that somebody on this host has asked for, and that have not been here yet.
    pub wanted: Vec<String>,
}

impl Kept {
    /// What cannot be read counts as not set.
    ///
    /// # Errors
    /// The database's.
    pub fn load(store: &Store) -> Result<Kept, StoreError> {
        let setting = |name| Ok::<_, StoreError>(store.boot_setting(name)?.unwrap_or_default());
        let step = setting(STEP)?.parse().ok().filter(|step| STEP_SECONDS.contains(step));
        Ok(Kept {
            servers: server_list::parse(&setting(SERVERS)?).unwrap_or_default(),
            enrolled: server_list::parse(&setting(ENROLLED)?).unwrap_or_default(),
            step,
            wanted: serde_json::from_str(&setting(WANTED)?).unwrap_or_default(),
        })
    }

    /// Takes a job's change, on disk too.
    ///
    /// # Errors
    /// The database's; then nothing is changed.
    pub fn change(&mut self, change: &ConfigChange, store: &mut Store) -> Result<(), StoreError> {
        let changed = Kept {
            servers: change.servers.clone().unwrap_or_else(|| self.servers.clone()),
            step: change.step.or(self.step),
            ..self.clone()
        };
        changed.save(store)?;
        *self = changed;
        Ok(())
    }

    /// What enrolment has found out: the server, and the agents that are to be asked for.
    ///
    /// # Errors
    /// The database's; then nothing is changed.
    pub fn enrolled(
        &mut self,
        server: &Server,
        wanted: &[String],
        store: &mut Store,
    ) -> Result<(), StoreError> {
        let mut changed = self.clone();
        changed.enrolled.retain(|other| other != server);
        changed.enrolled.insert(0, server.clone());
        changed.enrolled.truncate(server_list::MAX_SERVERS);
        for name in wanted.iter().take(MAX_AGENTS) {
            if !changed.wanted.contains(name) {
                changed.wanted.push(name.clone());
            }
        }
        changed.save(store)?;
        *self = changed;
        Ok(())
    }

    /// Whether this agent is asked for, by whichever of its names.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name || other_name(name) == Some(wanted))
    }

    /// Has what is on disk be this again.
    ///
    /// # Errors
    /// The database's.
    pub fn restore(&self, store: &mut Store) -> Result<(), StoreError> {
        self.save(store)
    }

    /// This agent is here, or is not to be: it is asked for no more.
    ///
    /// # Errors
    /// The database's; then it is.
    pub fn unwant(&mut self, name: &str, store: &mut Store) -> Result<(), StoreError> {
        let mut changed = self.clone();
        changed.wanted.retain(|wanted| wanted != name && other_name(name) != Some(wanted));
        if changed != *self {
            changed.save(store)?;
            *self = changed;
        }
        Ok(())
    }

    fn save(&self, store: &mut Store) -> Result<(), StoreError> {
        let list = |servers: &[Server]| {
            let shown: Vec<String> = servers.iter().map(Server::to_string).collect();
            shown.join(",")
        };
        let wanted = serde_json::to_string(&self.wanted).expect("strings always serialise");
        let step = self.step.map(|step| step.to_string()).unwrap_or_default();
        store.set_boot_settings(&[
            (SERVERS, list(&self.servers)),
            (ENROLLED, list(&self.enrolled)),
            (STEP, step),
            (WANTED, wanted),
        ])
    }
}

/// The other of an agent's two names.
pub fn other_name(name: &str) -> Option<&'static str> {
    let known = KnownAgent::named(name)?;
    Some(if known.title == name { known.program } else { known.title })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        Server { host: host.into(), port: 8181 }
    }

    #[test]
    fn what_is_set_is_there_again() {
        let mut store = Store::in_memory().unwrap();
        let mut kept = Kept::load(&store).unwrap();
        assert_eq!(kept, Kept::default());
        kept.enrolled(&server("a"), &["gearman".into(), "x".into()], &mut store).unwrap();
        kept.enrolled(&server("b"), &["gearman".into()], &mut store).unwrap();
        let before = kept.clone();
        kept.enrolled(&server("c"), &["y".into()], &mut store).unwrap();
        before.restore(&mut store).unwrap();
        kept = Kept::load(&store).unwrap();
        let change = ConfigChange { servers: Some(vec![server("c")]), step: Some(60) };
        kept.change(&change, &mut store).unwrap();
        let expected = Kept {
            servers: vec![server("c")],
            enrolled: vec![server("b"), server("a")],
            step: Some(60),
            wanted: vec!["gearman".into(), "x".into()],
        };
        assert_eq!((Kept::load(&store).unwrap(), &kept), (expected.clone(), &expected));
        kept.change(&ConfigChange { servers: Some(Vec::new()), step: None }, &mut store).unwrap();
        kept.unwant("BasicAgent", &mut store).unwrap();
        let expected = Kept { servers: Vec::new(), wanted: vec!["x".into()], ..expected };
        assert_eq!((Kept::load(&store).unwrap(), kept), (expected.clone(), expected));
    }

    #[test]
    fn what_cannot_be_read_is_not_set() {
        let mut store = Store::in_memory().unwrap();
        let odd = [("servers", "a b"), ("enrolled", "a b"), ("step", "5"), ("wanted", "{")];
        store.set_boot_settings(&odd.map(|(name, value)| (name, value.to_owned()))).unwrap();
        assert_eq!(Kept::load(&store).unwrap(), Kept::default());
    }
}
