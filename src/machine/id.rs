//! Names of what the reactor holds for a machine. Never used twice, so a late
//! event can not be taken for another's.

/// One connection, from the wish to connect, or from its acceptance, to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// One child process, from the wish to start it until it is reaped and released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(pub u64);
