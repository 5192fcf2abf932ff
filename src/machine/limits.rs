//! Every cap on a queue, a buffer or a wait, with its unit in the name.

use crate::wire::MAX_FRAME_BYTES;
use std::time::Duration;

/// What the reactor reads from one source in one turn.
pub const READ_BUDGET_BYTES: usize = 64 * 1024;
/// How long a child's standard error is left alone: of one that ends before it is read at the
/// end, and has cost no wake-up of its own.
pub const WATCH_STDERR_AFTER: Duration = Duration::from_millis(5);
/// A connection with this much unsent is not read from: no new work for a peer
/// that does not take its answers.
pub const SEND_HIGH_WATER_BYTES: usize = 1024 * 1024;
/// A connection with this much unsent is given up.
pub const SEND_CAP_BYTES: usize = 64 * 1024 * 1024;
/// How long a closing connection may take to send what it has.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long the peer of a closing connection may take, once it was sent everything, to close its side.
pub const GOODBYE: Duration = Duration::from_millis(500);
/// Connections from this host at the same time, those that are closing included. One more is
/// closed as soon as it is accepted.
pub const LOCAL_CONNECTIONS: usize = 16;
/// How long callers from this host wait where the system has no descriptor for them.
pub const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// The largest file that the reactor reads for a machine.
pub const FILE_CAP_BYTES: u64 = 1024 * 1024;
/// After this much work, freed memory is given back to the system before the next sleep.
pub const TRIM_AFTER_BYTES: usize = 256 * 1024;
/// A frugal agent that sleeps at least this long gives back its code, too.
pub const LONG_SLEEP: Duration = Duration::from_secs(1);

/// What counts for the start of a child, with all that is said of it and kept.
pub const START_BYTES: usize = 8 * 1024;
/// What counts for a look at a family: what other work of an agent that has only daemons freed is
/// given back, too, in time.
pub const SURVEY_BYTES: usize = 1024;

/// What a task may answer.
pub const TASK_ANSWER_BYTES: usize = 64 * 1024;
/// How long a task may take.
pub const TASK_TIMEOUT: Duration = Duration::from_secs(30);
/// What of a task's own words is kept.
pub const TASK_REASON_BYTES: usize = 4 * 1024;

/// Queries that plugins answer at the same time.
pub const QUERIES: usize = 16;
/// Queries that wait for a free place: each may answer with [`DOCUMENT_BYTES`].
pub const WAITING_QUERIES: usize = 240;
/// The memory for their arguments.
pub const WAITING_QUERIES_BYTES: usize = 1024 * 1024;
/// The largest document that a plugin may answer with: what a frame has room for beside it.
pub const DOCUMENT_BYTES: usize = MAX_FRAME_BYTES - 2 * 1024;
/// The same where no frame is involved.
pub const LOCAL_DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
/// The memory that a plugin may have for itself: what it shares with others is not counted.
pub const PLUGIN_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// What of a plugin's symbols is read to find out what it is.
pub const PLUGIN_SYMBOLS: usize = 100_000;
/// Plugins that are named as unfit where none has an answer.
pub const UNFIT_PLUGINS_SHOWN: usize = 8;
/// After they could not be taken, how long until they are again.
pub const FACTS_RETRY: Duration = Duration::from_mins(10);
/// How often the host's facts are taken while the link is up.
pub const FACTS_EVERY: Duration = Duration::from_hours(24);

/// How long one address may take to accept, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may take to answer `init`.
pub const INIT_TIMEOUT: Duration = Duration::from_secs(15);
/// A link that lived this long was good: the next back-off begins anew.
pub const STABLE_LINK: Duration = Duration::from_secs(30);
/// From the begin of one renewal of the host's certificate to the next.
pub const RENEWAL_PACE: Duration = Duration::from_secs(60);
/// Addresses of one name that are tried in one exchange.
pub const ADDRESSES_A_NAME: usize = 16;
/// How long a server may take over a short exchange, once it was asked.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one exchange may take in all, whoever is tried; where there are many servers, as long as
/// each takes over one of its addresses.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_mins(10);
/// From the begin of one of boot's reports to the next, where there is something to tell.
pub const REPORT_PACE: Duration = Duration::from_secs(10);
/// The least wait after one that nobody took.
pub const REPORT_AGAIN_MIN: Duration = Duration::from_secs(60);
/// One of boot's jobs, as it came, in bytes.
pub const BOOT_JOB_BYTES: usize = 64 * 1024;
/// Characters of what names the action or the agent of a job that is none.
pub const BOOT_KEY_CHARS: usize = 64;
/// Jobs of boot that have not ended. More are refused.
pub const UNFINISHED_BOOT_JOBS: usize = 128;
/// Jobs whose end no server has taken. More are not taken in.
pub const UNTOLD_BOOT_JOBS: usize = 1000;
/// Characters of what the result of a job says: as many results as are told at once stay far below the
/// largest body, whatever is in them.
pub const BOOT_MESSAGE_CHARS: usize = 1100;
/// The longest that an agent which could not be installed is not asked for. It begins with a step.
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(86_400);
/// Jobs that are known to be done.
pub const DONE_BOOT_JOBS: usize = 1000;
/// How long it may take until a host is as it was before a job that failed.
pub const UNDO_TIMEOUT: Duration = Duration::from_mins(20);
/// How long enrolment may take in all.
pub const ENROLL_TIMEOUT: Duration = Duration::from_secs(60);

/// Commands that wait for a free place, beyond `exec.max_children` running.
pub const WAITING_COMMANDS: usize = 1024;
/// The memory for their lines and environments.
pub const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How long a command's pipes are read after it has ended, where a descendant still holds them.
pub const DRAIN: Duration = Duration::from_millis(200);
/// How long a killed command may take to end before the answer is given without it.
pub const KILL_WAIT: Duration = Duration::from_secs(1);
/// The least time between two pieces of a command's live output.
pub const LIVE_INTERVAL: Duration = Duration::from_millis(100);

/// How long a package may take to come to this host.
pub const FETCH_TIMEOUT: Duration = Duration::from_hours(1);
/// How long one may take to be installed or taken away.
pub const INSTALL_TIMEOUT: Duration = Duration::from_mins(15);
/// The largest package.
pub const PACKAGE_BYTES: u64 = 4 << 30;
/// How long a precheck may take.
pub const PRECHECK_TIMEOUT: Duration = Duration::from_secs(60);
/// From a precheck that failed to the next.
pub const PRECHECK_AGAIN: Duration = Duration::from_secs(1);
/// What of a precheck's or a check's output is kept.
pub const SCRIPT_OUTPUT_BYTES: usize = 4 * 1024;
/// How often a changed definition may fail to come up before the last good one is brought back.
pub const TRIES_OF_A_CHANGE: u32 = 3;
/// How long a daemon may take to write its pidfile, beyond `start_delay`.
pub const PIDFILE_WAIT: Duration = Duration::from_secs(5);
/// From one look at processes that are to end, or to show themselves, to the next.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a daemon's first process may take to show whose it is, where the agent was killed just when
/// it started it: until it executes it looks like that agent.
pub const UNBORN_WAIT: Duration = Duration::from_secs(1);
/// From one SIGKILL to the next, where somebody is left.
pub const KILL_AGAIN: Duration = Duration::from_secs(1);
/// From a check that failed to the next, while a daemon comes up.
pub const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// A daemon that ran this long was up for good: it is started again at once, and the next back-off
/// begins anew.
pub const STABLE_DAEMON: Duration = Duration::from_secs(10);
/// The first wait after a failure, and the longest.
pub const RESTART_DELAY_MIN: Duration = Duration::from_secs(1);
pub const RESTART_DELAY_MAX: Duration = Duration::from_secs(60);
/// Characters of the reason why a daemon is not as it is wanted.
pub const REASON_CHARS: usize = 500;
/// What is told of what a daemon wrote before it failed.
pub const LAST_LINES_BYTES: usize = 4 * 1024;
/// Processes of a daemon that are looked at one by one; the others are counted in what it uses.
pub const FAMILY_SHOWN: usize = 1024;
/// How often a process is looked at that an earlier agent started, where there is no descriptor to
/// watch it by.
pub const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// The longest datagram that a daemon's word of life is read from.
pub const HEARD_BYTES: usize = 1024;
/// What is read of a process's environment to find out whose it is.
pub const ENVIRONMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Datagrams that are taken from one path in one turn.
pub const DATAGRAMS_A_TURN: usize = 16;

/// How long a local connection may be without a request that is under way.
pub const LOCAL_IDLE: Duration = Duration::from_secs(60);
/// Requests of all local connections under way.
pub const LOCAL_REQUESTS: usize = 1024;

/// Answers kept so that a repeated request is not run again.
pub const ANSWERED_REQUESTS: usize = 1024;
/// The memory for them.
pub const ANSWERED_BYTES: usize = 2 * 1024 * 1024;
/// How long they are kept on disk.
pub const ANSWERED_AGE: Duration = Duration::from_hours(24);
/// Of many requests in a row, how often what is new of them is written to disk.
pub const ANSWERED_PACE: Duration = Duration::from_millis(100);
/// How often it is written at once after a quiet time.
pub const ANSWERED_BURST: u32 = 16;
/// Requests that are forgotten on disk at once.
pub const FORGOTTEN_REQUESTS: usize = 1024;

/// Jobs that have not ended.
pub const UNFINISHED_JOBS: usize = 10_000;
/// The disk space for what they are to run.
pub const UNFINISHED_JOBS_BYTES: usize = 64 * 1024 * 1024;
/// Jobs that begin or expire in one turn of the loop: each has the disk synced.
pub const JOBS_A_TURN: usize = 32;
/// Jobs that have ended and are still listed, and as many runs of cron entries.
pub const ENDED_JOBS: usize = 1000;
/// How long they are.
pub const ENDED_JOBS_AGE: Duration = Duration::from_hours(7 * 24);
/// What one `job.list` shows.
pub const LISTED_JOBS: usize = 500;
/// After the database failed, how long until it is tried again.
pub const STORE_RETRY: Duration = Duration::from_secs(1);
/// Where there is none, how long until it is opened again: with what comes next, no one wakes up for it.
pub const STORE_REOPEN: Duration = Duration::from_mins(1);

/// Results that wait for the server, beyond which no new job is taken on: none is ever dropped.
pub const OUTBOX_RESULTS: usize = 100_000;
/// The disk space for them, beyond which the oldest lose their output.
pub const OUTBOX_BYTES: usize = 64 * 1024 * 1024;
/// Results that are sent before the first of them is acknowledged.
pub const OUTBOX_WINDOW_RESULTS: usize = 64;
/// The memory for reading them.
pub const OUTBOX_WINDOW_BYTES: usize = 1024 * 1024;

/// Entries of the cron table.
pub const CRON_ENTRIES: usize = 4096;
/// The disk space for what they are to run.
pub const CRON_ENTRIES_BYTES: usize = 16 * 1024 * 1024;
/// Fire times to come that are shown of an entry.
pub const CRON_SHOWN_TIMES: usize = 5;
/// The room for them in one `cron.list`: a frame holds twice as much.
pub const CRON_SHOWN_BYTES: usize = 512 * 1024;
/// Missed runs are counted up to here.
pub const CRON_MISSED_COUNT: u64 = 100;
/// The largest file with a time zone's rules.
pub const ZONE_FILE_BYTES: u64 = 64 * 1024;

/// How long a new boot may take to prove itself, in seconds: until a report of its is answered.
pub const HANDOVER_SECONDS: u64 = 300;
/// From one look at a handover that is under way to the next, of boot's.
pub const HANDOVER_LOOK: Duration = Duration::from_secs(1);
/// After a helper has ended before its work has, how long until the next is started.
pub const HELPER_AGAIN: Duration = Duration::from_secs(10);
/// Helpers that fail before anything was done, until it is left at that.
pub const HELPER_TRIES: u32 = 5;
/// Workers of one helper that are killed.
pub const WORKER_TRIES: u32 = 100;
/// Looks at an installation that took too long and was killed, until it is taken for gone.
pub const KILLED_LOOKS: u32 = 500;
/// From one look of the helper at a boot that is to come or to go to the next.
pub const HELPER_LOOK: Duration = Duration::from_millis(20);
/// How long programs that the helper asks may take: the service manager, and the new boot when it
/// checks its configuration.
pub const HELPER_CALL: Duration = Duration::from_secs(30);
/// What is told of their last words.
pub const HELPER_WORDS_BYTES: u64 = 1024;
/// Starts of a new boot that are in vain, until the version before is brought back.
pub const NEW_STARTS: u32 = 10;
/// How often what could not be written to the disk is written again.
pub const PLAN_WRITES: u32 = 5;
/// The largest plan, in bytes.
pub const PLAN_BYTES: u64 = 256 * 1024;
