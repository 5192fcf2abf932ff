//! Where what a host says of a request belongs.

use super::Live;
use crate::jobs::Follow;
use crate::queue::Delivery;
use aspire_wire::session::Output;
use aspire_wire::{Outcome, Retcode};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
pub enum ReplyTo {
    /// To a request that somebody may wait for.
    Live { request: Arc<Live>, position: u32, asked: Asked },
    /// To one that has waited for its host, and for which nobody waits.
    Queued(Arc<Delivery>),
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
    /// The request's id and what its answer means beside being one, where it means something.
    pub fn follow(&self) -> Option<(&Arc<str>, &Arc<Follow>)> {
        match self {
            ReplyTo::Live { request, asked: Asked::Request, .. } => {
                request.head.follow.as_ref().map(|follow| (&request.head.id, follow))
            }
            ReplyTo::Live { .. } => None,
            ReplyTo::Queued(delivery) => delivery.follow.as_ref().map(|follow| (&delivery.request, follow)),
        }
    }

    /// The host has answered.
    pub fn answered(&self, outcome: &Outcome) {
        match self {
            ReplyTo::Live { request, position, asked: Asked::Request } => request.settle(*position, outcome),
            // The request's own reply went before it.
            ReplyTo::Live { .. } if outcome.is_success() => {}
            ReplyTo::Live { request, position, .. } => request.settle(*position, &not_cancelled(outcome)),
            ReplyTo::Queued(delivery) => delivery.answered(outcome),
        }
    }

    /// There will be no answer. To whoever wants to cancel, the request's own end says so.
    pub fn lost(&self, outcome: &Outcome) {
        match self {
            ReplyTo::Live { request, position, asked: Asked::Request } => request.settle(*position, outcome),
            ReplyTo::Live { .. } => {}
            ReplyTo::Queued(delivery) => delivery.lost(),
        }
    }

    /// The command has written something. Whether that is passed on.
    pub fn output(&self, piece: &Output) -> bool {
        match self {
            ReplyTo::Live { request, position, asked: Asked::Request } => request.output(*position, piece),
            ReplyTo::Live { .. } | ReplyTo::Queued(_) => false,
        }
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
