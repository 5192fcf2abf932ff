//! The supervisor: what a daemon may be at, what may happen to it, what is done about it, and what
//! it is at then. Nothing here has a side; [`super::one`] carries it out.

use crate::wire::DaemonStatus;

macro_rules! names {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$doc])* $name,)* }

        impl $type {
            #[cfg_attr(not(test), allow(dead_code, reason = "tests go through all of them"))]
            pub const ALL: &'static [$type] = &[$($type::$name,)*];
        }
    };
}

names! {
    /// What a daemon is at.
    State {
        /// None of it runs, and nothing is under way.
        Stopped,
        /// Its package is being installed.
        Installing,
        /// Its user is looked up, its precheck runs.
        Checking,
        /// It was started, and is given time to come up.
        Starting,
        Running,
        /// It is being ended as somebody wants it so.
        Halting,
        /// It is being ended as it is not well, or what is left of it when it failed.
        Failing,
        /// It is being ended for what it used.
        Killing,
        /// It failed, and waits for its next try.
        Backoff,
        /// It was ended for what it used, and waits for its next try.
        Killed,
        /// It failed too often.
        Fatal,
        /// Its package is being taken away.
        Removing,
        /// It is forgotten.
        Gone,
    }
}

names! {
    /// What may happen.
    Event {
        /// It is to run.
        Run,
        /// Its package is here, and to be installed.
        Install,
        /// What is under way is not what is wanted.
        Halt,
        /// It is to be uninstalled and forgotten.
        Remove,
        /// What is under way has come to a good end: installed, checked, up, ended as wanted,
        /// uninstalled.
        Passed,
        /// It has not, and none of the daemon runs.
        Failed,
        /// The same, and this too often.
        Spent,
        /// Its main process has ended, and others of it have not.
        Left,
        /// It runs and is not well.
        Sick,
        /// It used too much, too often in a row.
        Greedy,
        /// The time of what is under way has come.
        Due,
    }
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Installs the package.
    Install,
    /// Looks up the user and runs the precheck.
    Precheck,
    Start,
    /// Finds out whether it is up, or well.
    Check,
    /// Asks it to end, as its definition says.
    Stop,
    /// Asks what is left of it to end.
    StopRest,
    /// Kills whatever is left of it.
    Kill,
    /// Ends the child of ours that is under way.
    Abort,
    /// Sets the time of the next try.
    Wait,
    /// Says that nothing more is tried.
    Alarm,
    Uninstall,
    /// Only the state changes.
    Settle,
}

macro_rules! table {
    ($($state:ident { $($event:ident => $action:ident, $next:ident;)* })*) => {
        /// What is done, and what it is at then. `None` where it is passed over.
        pub fn cell(state: State, event: Event) -> Option<(Action, State)> {
            match (state, event) {
                $($((State::$state, Event::$event) => Some((Action::$action, State::$next)),)*)*
                _ => None,
            }
        }
    };
}

table! {
    Stopped {
        Run     => Precheck,  Checking;
        Install => Install,   Installing;
        Remove  => Uninstall, Removing;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
    }
    Installing {
        Halt    => Abort,     Stopped;
        Passed  => Settle,    Stopped;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
    }
    Checking {
        Halt    => Abort,     Stopped;
        Passed  => Start,     Starting;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
        Due     => Precheck,  Checking;
    }
    Starting {
        Halt    => Stop,      Halting;
        Passed  => Settle,    Running;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
        Left    => StopRest,  Failing;
        Sick    => Stop,      Failing;
        Due     => Check,     Starting;
    }
    Running {
        Halt    => Stop,      Halting;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
        Left    => StopRest,  Failing;
        Sick    => Stop,      Failing;
        Greedy  => Stop,      Killing;
        Due     => Check,     Running;
    }
    Halting {
        Passed  => Settle,    Stopped;
        Left    => StopRest,  Halting;
        Due     => Kill,      Halting;
    }
    Failing {
        Halt    => Settle,    Halting;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
        Left    => StopRest,  Failing;
        Due     => Kill,      Failing;
    }
    Killing {
        Halt    => Settle,    Halting;
        Failed  => Wait,      Killed;
        Spent   => Alarm,     Fatal;
        Left    => StopRest,  Killing;
        Due     => Kill,      Killing;
    }
    Backoff {
        Halt    => Settle,    Stopped;
        Due     => Settle,    Stopped;
    }
    Killed {
        Halt    => Settle,    Stopped;
        Due     => Settle,    Stopped;
    }
    Fatal {
        Halt    => Settle,    Stopped;
    }
    Removing {
        Halt    => Abort,     Stopped;
        Passed  => Settle,    Gone;
        Failed  => Wait,      Backoff;
        Spent   => Alarm,     Fatal;
    }
}

impl State {
    /// As it is on disk and in logs.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Installing => "installing",
            State::Checking => "checking",
            State::Starting => "starting",
            State::Running => "running",
            State::Halting => "halting",
            State::Failing => "failing",
            State::Killing => "killing",
            State::Backoff => "backoff",
            State::Killed => "killed",
            State::Fatal => "fatal",
            State::Removing => "removing",
            State::Gone => "gone",
        }
    }

    pub fn named(name: &str) -> Option<State> {
        State::ALL.iter().copied().find(|state| state.name() == name)
    }

    /// What others are told.
    pub fn status(self) -> DaemonStatus {
        match self {
            State::Stopped | State::Gone => DaemonStatus::Stoped,
            State::Installing | State::Removing => DaemonStatus::Installing,
            State::Checking | State::Starting => DaemonStatus::Starting,
            State::Running => DaemonStatus::Running,
            State::Halting | State::Failing | State::Killing => DaemonStatus::Stopping,
            State::Backoff => DaemonStatus::Backoff,
            State::Killed => DaemonStatus::Killed,
            State::Fatal => DaemonStatus::Fatal,
        }
    }

    /// Whether there may be processes of it.
    pub fn has_processes(self) -> bool {
        matches!(self, State::Starting | State::Running | State::Halting | State::Failing | State::Killing)
    }

    /// Whether it is being ended.
    pub fn is_ending(self) -> bool {
        matches!(self, State::Halting | State::Failing | State::Killing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_have_names_of_their_own() {
        for state in State::ALL {
            assert_eq!(State::named(state.name()), Some(*state));
        }
    }

    /// Nothing that operators want can be held up for ever: from each state some event of our own
    /// making, or of the daemon's, leads to where nothing of it is left.
    #[test]
    fn every_state_can_be_interrupted_by_a_wish() {
        for state in State::ALL.iter().copied() {
            let halted = cell(state, Event::Halt).map(|(_, next)| next);
            match state {
                State::Stopped | State::Halting | State::Gone => assert_eq!(halted, None, "{state:?}"),
                state if state.has_processes() => assert_eq!(halted, Some(State::Halting), "{state:?}"),
                _ => assert_eq!(halted, Some(State::Stopped), "{state:?}"),
            }
        }
    }

    #[test]
    fn it_is_started_only_where_none_of_it_runs() {
        for (state, event) in every() {
            let Some((action, next)) = cell(state, event) else { continue };
            if matches!(action, Action::Start | Action::Precheck | Action::Install | Action::Uninstall) {
                assert!(!state.has_processes(), "{state:?} {event:?}");
            }
            // Whoever has processes keeps them until nobody is left of them.
            if state.has_processes() && !next.has_processes() {
                assert!(matches!(event, Event::Failed | Event::Spent | Event::Passed), "{state:?} {event:?}");
            }
            if !state.has_processes() && next.has_processes() {
                assert_eq!(action, Action::Start, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn what_is_given_up_waits_for_a_wish() {
        for event in Event::ALL.iter().copied().filter(|event| *event != Event::Halt) {
            assert_eq!(cell(State::Fatal, event), None, "{event:?}");
        }
    }

    fn every() -> impl Iterator<Item = (State, Event)> {
        State::ALL.iter().flat_map(|state| Event::ALL.iter().map(|event| (*state, *event)))
    }
}
