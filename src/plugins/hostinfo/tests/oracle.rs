//! What the queries answer, against what other programs say of the same: on this
//! machine, and with recorded files of others.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "oracle/ask.rs"]
mod ask;
#[path = "oracle/cpu.rs"]
mod cpu;
#[path = "../../../../tests/elsewhere/mod.rs"]
mod elsewhere;
#[path = "oracle/facts.rs"]
mod facts;
#[path = "oracle/files.rs"]
mod files;
#[path = "oracle/kernel.rs"]
mod kernel;
#[path = "oracle/memory.rs"]
mod memory;
#[path = "oracle/net.rs"]
mod net;
#[path = "oracle/network.rs"]
mod network;
#[path = "oracle/os.rs"]
mod os;
#[path = "oracle/time.rs"]
mod time;
