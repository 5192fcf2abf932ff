//! Where what a host says of a request belongs.

use super::Live;
use aspire_wire::session::Output;
use aspire_wire::{Outcome, Retcode};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    pub request: Arc<Live>,
    pub position: u32,
    pub asked: Asked,
}

/// What the host was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The request itself.
    Request,
    /// To cancel it.
    Cancel,
}

impl ReplyTo {
    /// The host has answered.
    pub fn answered(&self, outcome: &Outcome) {
        match self.asked {
            Asked::Request => self.settle(outcome),
            // The request's own reply went before it.
            Asked::Cancel if outcome.is_success() => {}
            Asked::Cancel => self.settle(&not_cancelled(outcome)),
        }
    }

    /// There will be no answer. To whoever wants to cancel, the request's own end says so.
    pub fn lost(&self, outcome: &Outcome) {
        if self.asked == Asked::Request {
            self.settle(outcome);
        }
    }

    /// The command has written something. Whether that is passed on.
    pub fn output(&self, piece: &Output) -> bool {
        self.asked == Asked::Request && self.request.output(self.position, piece)
    }

    fn settle(&self, outcome: &Outcome) {
        self.request.settle(self.position, outcome);
    }
}

/// The host refuses to cancel and has not answered the request either.
fn not_cancelled(refusal: &Outcome) -> Outcome {
    let detail = if refusal.retcode == Retcode::NotFound.code() {
        "the host says that it does not run this request, and has not answered it".to_owned()
    } else {
        let Outcome { retcode, message, .. } = refusal;
        format!("the host did not cancel it ({retcode} {message}): the command may still run")
    };
    Outcome::with_detail(Retcode::NoReplyInTime, detail)
}
