//! Every bound of the server, with its unit, in one place. What the agents
//! must know too is in `aspire_wire`.

use std::ops::RangeInclusive;
use std::time::Duration;

// The web listener.

/// The body of one call, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Connections at once; more wait in the kernel's queue.
pub const MAX_WEB_CONNECTIONS: usize = 4096;
/// A peer's time for a TLS handshake. Generous: a herd of agents that comes
/// back shares the processor.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A peer's time for the head of an HTTP request, idle time between two included.
pub const HTTP_HEAD_LIMIT: Duration = Duration::from_mins(1);
/// The head of an HTTP request, in bytes.
pub const HTTP_HEAD_BYTES: usize = 64 * 1024;
/// Entries on one page of a list.
pub const PAGE_ENTRIES: RangeInclusive<u64> = 1..=1000;
/// Entries on a page where the caller does not say.
pub const DEFAULT_PAGE_ENTRIES: u64 = 50;

// The agents' port.

/// TLS handshakes at once; more wait in the kernel's queue.
pub const MAX_HANDSHAKES: usize = 1024;
/// `handshakes`, in handshakes a second.
pub const HANDSHAKES_PER_SECOND: RangeInclusive<u64> = 1..=100_000;
/// `handshakes` where the configuration does not say: as much as two thirds of a processor do, so
/// that the rest is for whoever has a link already.
pub const DEFAULT_HANDSHAKES_PER_SECOND: u32 = 2000;
/// Seconds of handshakes that may wait in the kernel's queue. An agent waits 15 s in all, for a
/// place there too: whoever has one is still there when his turn comes, and no turn is wasted.
pub const BACKLOG_SECONDS: u32 = 4;
/// Connections that wait there at most, however many the server shakes a second. The kernel's own
/// limit, `net.core.somaxconn`, may be less.
pub const MAX_BACKLOG: u32 = 4096;
/// Short HTTP exchanges at once.
pub const MAX_AGENT_EXCHANGES: usize = 256;
/// One short HTTP exchange, from its handshake to its end.
pub const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);
/// From the handshake to `init`.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);
/// From `bye` to the end of the connection.
pub const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// What a replaced link has to prove that it is alive.
pub const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// Silence that ends a link, in heartbeats times two.
pub const SILENCE_HALF_HEARTBEATS: u32 = 5;
/// Bytes that wait to be written to one link, [`QUEUED_FRAME_BYTES`] included.
pub const MAX_OUTBOX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that a frame which waits costs beyond its own.
pub const QUEUED_FRAME_BYTES: usize = 256;
/// Characters that are kept of a reason that quotes an agent.
pub const MAX_REASON_CHARS: usize = 200;
/// Requests that one link owes a reply.
pub const MAX_PENDING_PER_LINK: usize = 4096;
/// Bytes of one read from a link, on the stack.
pub const READ_BYTES: usize = 8 * 1024;
/// Boot ids that are remembered of one host.
pub const KEPT_BOOT_IDS: usize = 16;
/// How long a conflict is shown after the last evidence.
pub const CONFLICT_SHOWN: Duration = Duration::from_hours(1);
/// Bytes of what all hosts tell of themselves, as JSON text; in memory it is five times as many as
/// a rule, twelve at worst.
pub const MAX_FACTS_BYTES: usize = 128 * 1024 * 1024;
/// `heartbeat` where the configuration does not say, in seconds.
pub const DEFAULT_HEARTBEAT_SECONDS: u64 = 60;
/// `max_links`.
pub const MAX_LINKS: RangeInclusive<u64> = 1..=1_000_000;

// Requests.

/// Hosts in one request.
pub const MAX_HOSTS_PER_REQUEST: usize = 10_000;
/// The longest name, region, tag or version, in bytes.
pub const MAX_WORD_BYTES: usize = 255;
/// Tags of one host.
pub const MAX_TAGS: usize = 64;
/// `deadline`, in seconds.
pub const DEADLINE_SECONDS: RangeInclusive<u64> = 1..=90_000;
/// The default deadline is the time of the command's last time-out and this, in seconds.
pub const DEADLINE_MARGIN_SECONDS: u64 = 30;
/// Requests that run or are not recorded yet.
pub const MAX_LIVE_REQUESTS: usize = 10_000;
/// Bytes of results and of live output that are in memory when a new request is taken; from then on
/// no live output is.
pub const MAX_LIVE_RESULT_BYTES: usize = 256 * 1024 * 1024;
/// How long news is gathered before it is recorded: one transaction for many requests, and for
/// the begin and the end of a short one. What is asked is on disk that much later than it is sent.
pub const RECORD_LINGER: Duration = Duration::from_millis(2);
/// From one write of the recorder to the next, so that under load many requests share one.
pub const RECORD_PAUSE: Duration = Duration::from_millis(50);
/// Rows of one transaction of the recorder.
pub const MAX_ROWS_PER_COMMIT: usize = 2000;
/// Rows of one statement: with results of usual size it is far from what a database takes as one.
pub const MAX_ROWS_PER_STATEMENT: usize = 50;
/// From a write that failed to the next try.
pub const RECORD_RETRY: Duration = Duration::from_secs(1);

/// Lines that a streaming reader gets in one piece.
pub const MAX_LINES_PER_CHUNK: usize = 64;

// Live output, and the end of what runs.

/// Bytes of one stream of one host that are passed on while the command runs: the most that an
/// agent keeps of it (`exec.output_limit`).
pub const MAX_OUTPUT_BYTES_PER_STREAM: usize = 64 * 1024;
/// Bytes of memory for the live output of one request, all hosts together. What comes after that
/// is in the final states alone.
pub const MAX_OUTPUT_BYTES_PER_REQUEST: usize = 4 * 1024 * 1024;
/// Bytes that a line of live output costs beyond its own.
pub const OUTPUT_LINE_BYTES: usize = 128;
/// How long a host has to confirm that a command was cancelled is its grace and this, in seconds:
/// one for a process that was killed, the rest for the way there and back.
pub const CANCEL_MARGIN_SECONDS: u64 = 6;

// Targets.

/// The longest expression, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// Parentheses and `not` within each other.
pub const MAX_TARGET_DEPTH: usize = 32;

// Tokens.

/// `ttl`, in seconds.
pub const TOKEN_TTL_SECONDS: RangeInclusive<u64> = 60..=31_536_000;
/// `ttl` where the caller does not say, in seconds.
pub const DEFAULT_TOKEN_TTL_SECONDS: u64 = 3600;
/// `uses`.
pub const TOKEN_USES: RangeInclusive<u64> = 1..=100_000;

// Certificates.

/// The CA's life, in days.
pub const CA_DAYS: i64 = 3653;
/// The life of the server's and the hosts' certificates, in days.
pub const LEAF_DAYS: i64 = 397;
/// How often the server looks at its own certificate.
pub const CERTIFICATE_CHECK: Duration = Duration::from_hours(24);

// The database and the end.

/// Connections to the database.
pub const DATABASE_CONNECTIONS: u32 = 4;
/// How long a writer waits for another one, in milliseconds.
pub const DATABASE_BUSY_MS: u32 = 5000;
/// How long states of hosts are gathered before they are written.
pub const HOSTS_LINGER: Duration = Duration::from_millis(500);
/// How often the time of last sign of life is written.
pub const LAST_SEEN_WRITTEN: Duration = Duration::from_mins(1);
/// What connections and links have to end when the server stops.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);

// Jobs and what their hosts tell of them.

/// Bytes of one host's results that wait to be on disk, [`FACT_BYTES`] included. Its link is not
/// read from while there are more, so that what it sends waits where it is safe: with the agent.
pub const MAX_UNSTORED_BYTES_PER_LINK: usize = 2 * 1024 * 1024;
/// The same of all hosts together. Whatever else they tell of jobs is passed over from then on.
pub const MAX_UNSTORED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that a piece of news of a job costs beyond its own.
pub const FACT_BYTES: usize = 512;
/// Characters of a job's command that are kept beside it.
pub const JOB_CMD_CHARS: usize = 500;
/// Entries that are taken of one host's cron table: as many as an agent keeps.
pub const MAX_CRON_PER_HOST: usize = 4096;
/// Characters of a command in a host's list of its entries: one that has so many may go on.
pub const LISTED_CMD_CHARS: usize = 200;
/// Times to come that are kept of a cron entry.
pub const KEPT_CRON_TIMES: usize = 5;
/// Bytes of memory for the live output of one job, all its attempts together.
pub const MAX_OUTPUT_BYTES_PER_JOB: usize = 512 * 1024;
/// The same of all jobs. From then on no more is passed on before the results.
pub const MAX_JOB_OUTPUT_BYTES: usize = 64 * 1024 * 1024;
/// Jobs whose output is passed on while they run.
pub const MAX_JOB_LOGS: usize = 10_000;

// Daemons and what their hosts tell of them.

/// Events of one daemon that are kept, the latest.
pub const MAX_EVENTS_PER_DAEMON: usize = 1000;
/// The same of one host, whatever daemons they are of.
pub const MAX_EVENTS_PER_HOST: usize = 10_000;
/// Characters that are kept of the reason of an event: its beginning.
pub const MAX_EVENT_DETAIL_CHARS: usize = 1000;
/// Bytes that are kept of what a daemon wrote last: its end.
pub const MAX_EVENT_OUTPUT_BYTES: usize = 16 * 1024;
/// Hosts whose daemons are listed by one call that selects them: as many as a statement can name.
pub const MAX_LISTED_HOSTS: usize = 30_000;

// Requests that wait for their hosts.

/// Requests that wait for one host.
pub const MAX_QUEUED_PER_HOST: usize = 1000;
/// The same of all hosts together.
pub const MAX_QUEUED: usize = 100_000;
/// Bytes of requests that were delivered to one host and not answered, [`EXPECTED_ANSWER_BYTES`]
/// included, beyond which no more are: far less than the link would take.
pub const DELIVERY_WINDOW_BYTES: usize = 2 * 1024 * 1024;
/// What an answer is taken for, in bytes, of what was delivered and may write something: an agent
/// remembers no more than 2 MiB of its latest answers, and must know those that may be asked for again.
pub const EXPECTED_ANSWER_BYTES: usize = 128 * 1024;
/// How long after it was first sent a request is sent again: agents remember their answers for a day.
pub const REDELIVERED: Duration = Duration::from_hours(24);
/// Bytes of answers that wait to be on disk. Of one beyond that no output is kept.
pub const MAX_UNSTORED_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// How often the waiting requests are looked through for those whose time is over.
pub const QUEUE_SWEEP: Duration = Duration::from_secs(1);
