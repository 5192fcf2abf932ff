//! Users, their passwords, tokens and sessions, and the audit log.

use std::ops::RangeInclusive;
use std::time::Duration;

// People.

/// Users.
pub const MAX_USERS: usize = 10_000;
/// The name of a user or of an access token, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// A password, in bytes.
pub const PASSWORD_BYTES: RangeInclusive<usize> = 12..=1024;
/// Passwords that are hashed at once, each with 19 MiB of memory and a processor.
pub const PASSWORDS_AT_ONCE: usize = 2;
/// Calls that wait for a password to be hashed, those whose is included.
pub const MAX_PASSWORDS_WAITING: usize = 64;
/// Passwords that are known again without being hashed.
pub const KNOWN_PASSWORDS: usize = 1000;
/// How long they are.
pub const PASSWORD_KNOWN: Duration = Duration::from_mins(5);
/// Access tokens of one user.
pub const MAX_TOKENS_PER_USER: usize = 100;
/// `ttl` of an access token, in seconds: up to ten years.
pub const ACCESS_TOKEN_TTL_SECONDS: RangeInclusive<u64> = 60..=315_360_000;
/// Sessions of one user; the one that was not used the longest ends for a new one.
pub const MAX_SESSIONS_PER_USER: usize = 20;
/// A session that is not used ends.
pub const SESSION_IDLE: Duration = Duration::from_hours(12);
/// A session that is used ends, too.
pub const SESSION_LIFE: Duration = Duration::from_hours(7 * 24);
/// How often sessions that are over are forgotten, and is written what was used since.
pub const SESSION_SWEEP: Duration = Duration::from_mins(1);
/// How often the audit log is looked through for what is older than it is kept.
pub const AUDIT_PRUNED: Duration = Duration::from_hours(24);
/// Wrong passwords of one name from one address at once.
pub const LOGIN_FAILURES_PER_NAME: u32 = 10;
/// From one to the next after that.
pub const LOGIN_FORGIVEN_OF_NAME: Duration = Duration::from_secs(30);
/// Wrong passwords of one name at once, from whatever address.
pub const LOGIN_FAILURES_FROM_EVERYWHERE: u32 = 100;
/// From one to the next after that.
pub const LOGIN_FORGIVEN_FROM_EVERYWHERE: Duration = Duration::from_secs(5);
/// Wrong passwords from one address at once, whatever the name; from loopback [`LOOPBACK_IN_FLIGHT`] times
/// as many, and as often.
///
/// [`LOOPBACK_IN_FLIGHT`]: super::LOOPBACK_IN_FLIGHT
pub const LOGIN_FAILURES_PER_ADDRESS: u32 = 30;
/// From one to the next after that.
pub const LOGIN_FORGIVEN_OF_ADDRESS: Duration = Duration::from_secs(10);
/// Passwords that are looked at one after the other where they are of one name from one address; others
/// share a turn by chance.
pub const LOGIN_TURNS: usize = 256;
/// Calls that wait for their turn.
pub const MAX_LOGINS_WAITING: usize = 1024;
/// Names, and addresses, whose failures are remembered.
pub const MAX_LIMITED: usize = 10_000;
/// Patterns of methods in a role's policy.
pub const MAX_POLICY_METHODS: usize = 100;

// The audit log.

/// Entries that wait to be written, those of calls that are under way included.
pub const MAX_AUDIT_QUEUED: usize = 4096;
/// How long entries are gathered before they are written.
pub const AUDIT_LINGER: Duration = Duration::from_millis(20);
/// How long whoever reads it waits for what is queued.
pub const AUDIT_FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// Characters that are kept of each text of an entry: its beginning.
pub const MAX_AUDIT_CHARS: usize = 2000;
/// The same of the method of the call, which may be anybody's invention.
pub const MAX_AUDIT_METHOD_CHARS: usize = 16;
/// The same of the name of a host that is not known.
pub const MAX_AUDIT_HOST_CHARS: usize = 255;
/// Hosts that an entry names, the first of them.
pub const AUDIT_HOSTS: usize = 100;
/// Calls of nobody that are recorded at once.
pub const AUDIT_REFUSALS: u32 = 100;
/// From one to the next after that.
pub const AUDIT_REFUSALS_EVERY: Duration = Duration::from_secs(1);
/// From one line of polaris' log to the next that says that there was no room for more entries.
pub const AUDIT_CROWDED_EVERY: Duration = Duration::from_secs(10);
/// How long entries are kept where the configuration does not say.
pub const AUDIT_KEPT: Duration = Duration::from_hours(365 * 24);
/// `audit.keep`, unless it is for ever.
pub const AUDIT_KEEP: RangeInclusive<Duration> = Duration::from_hours(24)..=Duration::from_hours(36_500 * 24);
/// Rows that one statement takes out of it.
pub const AUDIT_PRUNED_ROWS: i64 = 1000;

// Refusals in polaris' own log.

/// Calls of nobody, and connections, that are refused and logged at once.
pub const LOGGED_REFUSALS: u32 = 100;
/// From one to the next after that.
pub const LOGGED_REFUSALS_EVERY: Duration = Duration::from_secs(1);
