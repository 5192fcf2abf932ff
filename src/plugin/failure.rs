//! Why there is no answer.

use aspire_wire::Retcode;

/// A query that is not answered, and why, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    pub retcode: Retcode,
    pub reason: String,
}

impl Failure {
    pub fn new(retcode: Retcode, reason: impl Into<String>) -> Self {
        Failure { retcode, reason: reason.into() }
    }

    /// The arguments are wrong: the caller is at fault.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Failure::new(Retcode::InvalidParams, reason)
    }

    /// What was asked about is not there.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Failure::new(Retcode::NotFound, reason)
    }

    /// The host does not tell: nobody who asked is at fault.
    pub fn broken(reason: impl Into<String>) -> Self {
        Failure::new(Retcode::ExitedWithAnError, reason)
    }
}
