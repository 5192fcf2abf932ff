//! Bytes to frame to meaning, and back: what Polaris and the agents say to
//! each other, shared by both so that it is written once. No I/O.
//!
//! A frame is one JSON object on one line ([`frame`]). Its head says what it
//! is ([`session`]): part of the link's own life, a [`request`] or a
//! [`reply`]. Each is read from the line straight into its own type, so that
//! hostile input costs no more memory than the values it really carries.

pub mod boot;
pub mod command;
pub mod cron;
pub mod daemon;
pub mod enroll;
pub mod facts;
mod fields;
pub mod frame;
pub mod getinfo;
mod head;
pub mod job;
pub mod renewal;
pub mod reply;
pub mod request;
pub mod retcode;
pub mod server_list;
pub mod session;

pub use command::{Account, Command, Limits};
pub use cron::{CronFilter, CronName, CronSet, Overlap};
pub use daemon::{DaemonEvent, DaemonFilter, DaemonInit, DaemonName, DaemonStatus, DaemonTold, Daemons};
pub use facts::Facts;
pub use frame::{FrameError, FrameReader, MAX_FRAME_BYTES};
pub use getinfo::{GetInfo, GetInfoParams};
pub use job::{Job, JobFilter, JobName, JobNotice, JobResult, JobState};
pub use reply::{Encoding, Outcome, Reply};
pub use request::{Call, CallError, Rejected, Request};
pub use retcode::Retcode;
