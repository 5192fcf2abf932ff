//! The matrix: every shape of command that is known to hang, to leak or to be
//! misreported somewhere, in bash and in dash, with and without a time-out.
//!
//! `MATRIX_ROUNDS=20 cargo test --test real_matrix` goes through it twenty
//! times; with two busy loops beside it, it must pass as well:
//!
//! ```text
//! for i in 1 2; do (while :; do :; done) & done
//! MATRIX_ROUNDS=20 cargo test --test real_matrix; kill $(jobs -p)
//! ```

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![expect(clippy::disallowed_methods, reason = "what the contract says in seconds is measured in seconds")]

mod matrix;
mod rig;

use matrix::emfile::starve;
use matrix::pass::{Mode, go_through, rounds};

// The bombs run as users of their own: the system counts a user's processes,
// whoever started them.

#[test]
fn bash_with_a_time_out() {
    go_through("bash", Mode::WithTimeout, "nobody");
}

#[test]
fn dash_with_a_time_out() {
    go_through("dash", Mode::WithTimeout, "daemon");
}

#[test]
fn bash_without_a_time_out() {
    go_through("bash", Mode::WithoutTimeout, "bin");
}

#[test]
fn dash_without_a_time_out() {
    go_through("dash", Mode::WithoutTimeout, "mail");
}

#[test]
fn without_descriptors_time_outs_leave_nothing_behind() {
    starve_again_and_again(Mode::WithTimeout);
}

#[test]
fn without_descriptors_cancels_leave_nothing_behind() {
    starve_again_and_again(Mode::WithoutTimeout);
}

fn starve_again_and_again(mode: Mode) {
    for _ in 0..rounds() {
        // Each command holds two descriptors: an even number of them or an odd one
        // leaves the agent the least that it can have.
        for (shell, descriptors) in [("bash", 24), ("dash", 24), ("bash", 25), ("dash", 25)] {
            starve(shell, mode, descriptors);
        }
    }
}
