//! What is installed on the simulated host, and its processes.

use aspire::machine::{ChildId, Content, Exit, Instant, Launch, Placed, Process, Survey, Task};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A process of an agent.
#[derive(Debug, Clone)]
pub struct Played {
    pub name: String,
    pub family: String,
    /// Of the package that was installed when it was started.
    pub version: String,
    pub process: Process,
    ends: Option<Instant>,
}

/// Everything on the host that boot changes.
#[derive(Debug, Default)]
pub struct Tree {
    pub processes: Vec<Played>,
    /// By the agent's name: the version that is installed.
    pub installed: BTreeMap<String, String>,
    /// By the agent's name and version: files that were fetched.
    pub fetched: Vec<String>,
    /// Versions whose processes end after half a second.
    pub broken: Vec<String>,
    /// Words of URLs whose file is another than it should be.
    pub wrong: Vec<String>,
    /// Words of URLs that nobody serves.
    pub missing: Vec<String>,
    /// Versions that do not let themselves be installed.
    pub refused: Vec<String>,
    /// Files that boot has placed.
    pub files: BTreeMap<PathBuf, String>,
    /// Helpers of boot's own upgrade that were started.
    pub helpers: usize,
    /// What a helper brings the plan to, at once.
    pub helper_leaves: Option<String>,
    /// What all of an agent has in memory, in bytes, where it is anything remarkable.
    pub memory: Option<u64>,
    /// What the name service says next.
    pub addresses: Option<Vec<SocketAddr>>,
    watched: Vec<(ChildId, Process)>,
    last_pid: i32,
}

impl Tree {
    /// The versions of this agent that run.
    pub fn running(&self, name: &str) -> Vec<&str> {
        let of_it = self.processes.iter().filter(|played| played.name == name);
        of_it.map(|played| played.version.as_str()).collect()
    }

    /// Boot is gone: nobody watches.
    pub fn unwatch(&mut self) {
        self.watched.clear();
    }

    /// Does what the task is for. Its exit code, and what it says.
    pub fn does(&mut self, task: &Task) -> (i32, String) {
        let has = |words: &[String], text: &str| words.iter().any(|word| text.contains(word.as_str()));
        match task {
            Task::Resolve(_) => match self.addresses.take() {
                Some(addresses) => (0, json!(addresses).to_string()),
                None => (1, "no such name".into()),
            },
            Task::Fetch(fetch) if has(&self.missing, &fetch.url) => {
                (0, json!({"Err": {"Download": format!("{}: HTTP status 404", fetch.url)}}).to_string())
            }
            Task::Fetch(fetch) if has(&self.wrong, &fetch.url) => {
                let (expected, got) = (fetch.checksum, fetch.checksum);
                let error = json!({"url": fetch.url, "expected": expected, "got": got});
                (0, json!({"Err": {"Checksum": error}}).to_string())
            }
            Task::Fetch(fetch) => {
                self.fetched.push(fetch.to.display().to_string());
                (0, json!({"Ok": {"bytes": 1, "resumed_at": 0}}).to_string())
            }
            Task::Install(install) if self.refused.contains(&install.version) => {
                (0, json!({"Err": {"Install": "dpkg does not take it"}}).to_string())
            }
            Task::Install(install) => {
                let file = install.file.display().to_string();
                assert!(self.fetched.contains(&file), "{file} was not fetched");
                let name = install.folder.file_name().unwrap().to_string_lossy().into_owned();
                assert_eq!(self.running(&name), [""; 0], "it is installed where none of it runs");
                self.installed.insert(name, install.version.clone());
                (0, json!({"Ok": {"package": null}}).to_string())
            }
            Task::Uninstall(uninstall) => {
                if let Some(folder) = &uninstall.folder {
                    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
                    assert_eq!(self.running(&name), [""; 0], "it is taken away where none of it runs");
                    self.installed.remove(&name);
                    self.fetched.retain(|file| !file.contains(&format!("/{name}/")));
                }
                (0, json!({"Ok": null}).to_string())
            }
            Task::Place(files) => {
                for Placed { to, content, .. } in files {
                    match content {
                        Content::Nothing => drop(self.files.remove(to)),
                        Content::Text(text) => drop(self.files.insert(to.clone(), text.clone())),
                        Content::CopyOf(from) => {
                            drop(self.files.insert(to.clone(), from.display().to_string()));
                        }
                    }
                }
                (0, "null".into())
            }
            other => panic!("nobody plays {other:?}"),
        }
    }

    /// `None` where it is a command that comes to its end.
    pub fn execute(&mut self, child: ChildId, launch: &Launch, now: Instant) -> Option<Process> {
        let lasting = launch.lasting.as_ref()?;
        self.last_pid += 1;
        let process = Process { pid: self.last_pid, start: 1 };
        if launch.argv.iter().any(|word| word == "--take-over") {
            self.helpers += 1;
            if let Some(stage) = &self.helper_leaves {
                let (_, plan) = self.files.iter_mut().find(|(path, _)| path.ends_with("plan.json")).unwrap();
                let mut changed: serde_json::Value = serde_json::from_str(plan).unwrap();
                changed["stage"] = json!(stage);
                if stage == "rolled_back" {
                    changed["reason"] = json!("it was no good");
                    changed["failed_at"] = json!("proving");
                }
                *plan = changed.to_string();
            }
            self.watched.push((child, process));
            return Some(process);
        }
        let name = lasting.family.rsplit_once('.').unwrap().0.to_owned();
        let version = self.installed.get(&name).expect("what is started is installed").clone();
        assert_eq!(self.running(&name), [""; 0], "one of it at a time");
        let ends = self.broken.contains(&version).then(|| now + Duration::from_millis(500));
        self.processes.push(Played { name, family: lasting.family.clone(), version, process, ends });
        self.watched.push((child, process));
        Some(process)
    }

    pub fn watch(&mut self, child: ChildId, process: Process) -> bool {
        self.watched.push((child, process));
        self.processes.iter().any(|played| played.process == process)
    }

    pub fn survey(&self, family: &str) -> Survey {
        let of_it = self.processes.iter().filter(|played| played.family == family);
        let processes = of_it.map(|played| played.process).collect();
        Survey { processes, memory: self.memory.unwrap_or(1000), ..Survey::default() }
    }

    pub fn next_end(&self) -> Option<Instant> {
        self.processes.iter().filter_map(|played| played.ends).min()
    }

    /// Those whose time has come end.
    pub fn let_end(&mut self, now: Instant) -> Vec<(ChildId, Exit)> {
        self.end(|played| played.ends.is_some_and(|ends| now >= ends), Exit::Code(1))
    }

    pub fn signal_child(&mut self, child: ChildId, signal: i32) -> Vec<(ChildId, Exit)> {
        let process = self.watched.iter().find(|(watched, _)| *watched == child).map(|(_, process)| *process);
        self.end(|played| Some(played.process) == process, Exit::Signal(signal))
    }

    pub fn signal_family(&mut self, family: &str, signal: i32) -> Vec<(ChildId, Exit)> {
        self.end(|played| played.family == family, Exit::Signal(signal))
    }

    /// An agent falls.
    pub fn kill(&mut self, name: &str) {
        for played in self.processes.iter_mut().filter(|played| played.name == name) {
            played.ends = Some(Instant::default());
        }
    }

    fn end(&mut self, which: impl Fn(&Played) -> bool, exit: Exit) -> Vec<(ChildId, Exit)> {
        let gone: Vec<Process> =
            self.processes.extract_if(.., |played| which(played)).map(|p| p.process).collect();
        let told = self.watched.extract_if(.., |(_, process)| gone.contains(process));
        told.map(|(child, _)| (child, exit)).collect()
    }
}
