//! One number, and of what kind it is.

use serde::{Deserialize, Serialize};

/// What a number means, as in types.db(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It stands for itself.
    Gauge,
    /// It changes by what happened; it may fall.
    Derive,
    /// It grows by what happened, and begins anew at 2^32 or 2^64.
    Counter,
    /// What happened since it was last read.
    Absolute,
}

/// A number of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// NaN is not known.
    Gauge(f64),
    Derive(i64),
    Counter(u64),
    Absolute(u64),
}

impl Kind {
    /// `G`, `D`, `C` or `A`, as `nodus -T` prints it.
    pub fn letter(self) -> char {
        match self {
            Kind::Gauge => 'G',
            Kind::Derive => 'D',
            Kind::Counter => 'C',
            Kind::Absolute => 'A',
        }
    }
}

impl Value {
    pub fn kind(self) -> Kind {
        match self {
            Value::Gauge(_) => Kind::Gauge,
            Value::Derive(_) => Kind::Derive,
            Value::Counter(_) => Kind::Counter,
            Value::Absolute(_) => Kind::Absolute,
        }
    }
}
