//! What nodus and its readers say to each other. A reader is a child that lives as long as its plugins
//! do not harm it: it is told by lines on its standard input which plugins to read, and answers with
//! [`Told`]s on its standard output, each behind its length.

use crate::metrics::Value;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a reader is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The plugin folder: `NAME.so` is the library of the plugin NAME.
    pub dir: PathBuf,
    pub plugins: Vec<Planned>,
}

/// One plugin of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub name: String,
    /// A JSON object.
    pub settings: String,
}

/// What a reader answers. At its start each plugin is `Ready` or `Unfit`; then nothing, until it is
/// told to read some, which are read one after the other: `Begun`, its `Values`, `Done`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// Configured and initialised.
    Ready {
        plugin: String,
    },
    /// It is not read: it is no library, was configured wrongly, or does not work on this host.
    Unfit {
        plugin: String,
        reason: String,
    },
    Begun {
        plugin: String,
    },
    /// Of the plugin that has begun.
    Values {
        plugin_instance: String,
        type_name: String,
        type_instance: String,
        /// Milliseconds since 1970.
        time_ms: u64,
        values: Vec<Value>,
    },
    /// `failure` is why there were no values, or not all of them.
    Done {
        plugin: String,
        took_us: u64,
        failure: Option<String>,
    },
}
