//! The system call that no safe crate wraps.

/// What the kernel knows of its clock: adjtimex(2), which changes nothing here.
#[derive(Debug, Clone, Copy)]
pub struct ClockState {
    /// Whether something keeps it right.
    pub synchronized: bool,
    /// Seconds.
    pub offset: f64,
    pub max_error: f64,
    pub est_error: f64,
}

/// `None` where a filter of system calls forbids the question.
pub fn clock_state() -> Option<ClockState> {
    // SAFETY: a structure of numbers, for which zeros are a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a structure that outlives the call.
    let clock = unsafe { libc::adjtimex(&raw mut state) };
    let unit = if state.status & libc::STA_NANO != 0 { 1e9 } else { 1e6 };
    (clock >= 0).then(|| ClockState {
        synchronized: clock != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
        offset: seconds(state.offset, unit),
        max_error: seconds(state.maxerror, 1e6),
        est_error: seconds(state.esterror, 1e6),
    })
}

/// A part of a second, which a float holds exactly enough.
#[allow(clippy::cast_precision_loss, reason = "nine digits fit")]
fn seconds(parts: libc::c_long, unit: f64) -> f64 {
    parts as f64 / unit
}
