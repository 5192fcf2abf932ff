//! What became of a request, as a number (the process's own status is the
//! exitcode). The one table: messages, the server's states and the man page
//! `cargo-exec.5` come from here.

macro_rules! retcodes {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// See the module.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Retcode { $($name = $code,)* }

        impl Retcode {
            /// Every retcode, in order.
            pub const ALL: &'static [Retcode] = &[$(Retcode::$name,)*];

            /// The fixed text that goes with the number.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Retcode::$name => $message,)* }
            }
        }
    };
}

retcodes! {
    Accepted = 1, "Accepted";
    NormalTermination = 2, "Normal termination";
    NoSuchHost = 203, "No such host";
    HostOffline = 204, "Host offline";
    NoReplyInTime = 205, "No reply in time";
    LinkLost = 206, "Link lost";
    CancelledBeforeDelivery = 207, "Cancelled before delivery";
    MalformedMessage = 3020, "Malformed message";
    InvalidParams = 3021, "Invalid params";
    UnknownMethod = 3022, "Unknown method";
    NoSuchUserOrGroup = 3023, "No such user or group";
    NotFound = 3024, "Not found";
    NotPermitted = 3025, "Not permitted";
    Busy = 3026, "Busy";
    ExitedWithAnError = 3101, "Exited with an error";
    KilledByASignal = 3102, "Killed by a signal";
    TimedOut = 3103, "Timed out";
    TimedOutForceKilled = 3104, "Timed out, force-killed";
    OutOfMemoryForceKilled = 3105, "Out of memory, force-killed";
    ReadFailedForceKilled = 3106, "Read failed, force-killed";
    CouldNotStart = 3107, "Could not start";
    Cancelled = 3108, "Cancelled";
    Expired = 3109, "Expired";
    Lost = 3110, "Lost";
    StorageFailure = 3201, "Storage failure";
    DownloadFailed = 3301, "Download failed";
    ChecksumMismatch = 3302, "Checksum mismatch";
    InstallationFailed = 3303, "Installation failed";
    Unhealthy = 3304, "Unhealthy";
    LimitExceeded = 3305, "Limit exceeded";
}

impl Retcode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Accepted and Normal termination are successes, the rest are failures.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Retcode::Accepted | Retcode::NormalTermination)
    }
}

#[cfg(test)]
mod tests {
    use super::Retcode;

    #[test]
    fn numbers_and_messages_are_unique_and_in_order() {
        assert!(Retcode::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for code in Retcode::ALL {
            let same = Retcode::ALL.iter().filter(|other| other.message() == code.message());
            assert_eq!(same.count(), 1, "{code:?}");
        }
    }
}
