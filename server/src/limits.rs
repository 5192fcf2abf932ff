//! Every bound of the server, with its unit, in one place. What the agents
//! must know too is in `aspire_wire`.

mod boot;
mod people;

pub use boot::*;
pub use people::*;

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
/// How long a peer that is written to may be waited for, in all and at a time; what it takes earns
/// the time back at [`MIN_BODY_RATE`]. An answer that is silent because there is nothing to write is
/// none of that.
pub const WRITE_PATIENCE: Duration = Duration::from_mins(1);
/// How long a body may be waited for, in all and at a time; what arrives of it earns the time back
/// at [`MIN_BODY_RATE`].
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes a second that a body must come with in the long run, and an answer be taken with.
pub const MIN_BODY_RATE: u32 = 4096;
/// The longest `x-request-id` that is taken over, in characters.
pub const MAX_REQUEST_ID_CHARS: usize = 64;
/// How long browsers are told to use this server by TLS only, in seconds.
pub const HSTS_SECONDS: u32 = 31_536_000;
/// Entries on one page of a list.
pub const PAGE_ENTRIES: RangeInclusive<u64> = 1..=1000;
/// Entries on a page where the caller does not say.
pub const DEFAULT_PAGE_ENTRIES: u64 = 50;

// What one caller may ask for; the rest of it stands in the table of `throttle`.

/// Calls a second and connections, in `[limits]`.
pub const LIMIT: RangeInclusive<u64> = 1..=1_000_000;
/// `connections_per_address`, of the web listener, where the configuration does not say.
pub const CONNECTIONS_PER_ADDRESS: u32 = 256;
/// `requests_per_second` of one caller where the configuration does not say.
pub const REQUESTS_PER_SECOND: u32 = 1000;
/// `changes_per_second` of one caller where the configuration does not say.
pub const CHANGES_PER_SECOND: u32 = 1000;
/// `reads_per_second` of one caller where the configuration does not say.
pub const READS_PER_SECOND: u32 = 2000;
/// `enrolments_per_second` from one address where the configuration does not say.
pub const ENROLMENTS_PER_SECOND: u32 = 1000;
/// Requests of one user that are read at a time where they are looked through for those that he may see.
pub const OWN_REQUESTS_READ: u64 = 50;
/// Seconds whose calls may come at once.
pub const BURST_SECONDS: u32 = 10;
/// How many times as much a loopback address may have open at once: a proxy may stand there.
pub const LOOPBACK_IN_FLIGHT: u32 = 16;
/// Callers that are remembered, of each row of the table.
pub const LIMITER_CALLERS: usize = 10_000;

// The agents' port.

/// TLS handshakes at once; more wait in the kernel's queue.
pub const MAX_HANDSHAKES: usize = 4096;
/// The same of one address: there is room for others whatever it does, and for a thousand hosts
/// behind it that come back at once. Whoever is beyond is dropped, and tries again.
pub const MAX_HANDSHAKES_PER_ADDRESS: u32 = 1024;
/// What a peer has for the first byte of its handshake. An agent sends it with the connection.
pub const HELLO_LIMIT: Duration = Duration::from_secs(3);
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
/// Short HTTP exchanges at once, of hosts that have shown their certificates.
pub const MAX_AGENT_EXCHANGES: usize = 256;
/// The same of all others, among them those that enrol.
pub const MAX_STRANGERS: usize = 1024;
/// The same of one address.
pub const MAX_STRANGERS_PER_ADDRESS: u32 = 256;
/// From one word in the log on those of an address that were too many to the next.
pub const CROWD_TOLD: Duration = Duration::from_secs(1);
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
/// `batch` of a rollout, in hosts.
pub const BATCH_HOSTS: RangeInclusive<u64> = 1..=MAX_HOSTS_PER_REQUEST as u64;
/// `max_errors` of a rollout, in hosts.
pub const MAX_ERRORS_HOSTS: RangeInclusive<u64> = 0..=MAX_HOSTS_PER_REQUEST as u64;
/// `pause` of a rollout, in seconds.
pub const PAUSE_SECONDS: RangeInclusive<u64> = 0..=3600;
/// `requests.confirm_above`, in hosts.
pub const CONFIRM_ABOVE_HOSTS: RangeInclusive<u64> = 1..=1_000_000;
/// `requests.confirm_above` where the configuration does not say.
pub const DEFAULT_CONFIRM_ABOVE_HOSTS: usize = 1000;
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
/// Bytes of results of one request that are in memory, its live output included: of a host that
/// answers when there are more, what its command wrote is not kept.
pub const MAX_RESULT_BYTES_PER_REQUEST: usize = 128 * 1024 * 1024;
/// The same of all requests together.
pub const MAX_HELD_RESULT_BYTES: usize = 2 * MAX_LIVE_RESULT_BYTES;
/// Bytes of a result that is kept whole whatever there is.
pub const ALWAYS_KEPT_RESULT_BYTES: usize = 1024;
/// How long news is gathered before it is recorded: one transaction for many requests, and for
/// the begin and the end of a short one. What is asked is on disk that much later than it is sent.
pub const RECORD_LINGER: Duration = Duration::from_millis(2);
/// From one write of the recorder to the next, so that under load many requests share one.
pub const RECORD_PAUSE: Duration = Duration::from_millis(50);
/// Rows of one transaction of the recorder.
pub const MAX_ROWS_PER_COMMIT: usize = 2000;
/// Rows of one statement.
pub const MAX_ROWS_PER_STATEMENT: usize = 50;
/// Bytes of their texts, where one row alone has no more.
pub const MAX_STATEMENT_BYTES: usize = 4 * 1024 * 1024;
/// How often a transaction is begun that others stand in the way of.
pub const TRANSACTION_TRIES: usize = 5;
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
/// Characters from one `*` of a pattern to the next where a `?` is among them: as many as a word has
/// bits, one for each.
pub const MAX_SOUGHT_CHARS: usize = 128;

// Tokens.

/// `ttl`, in seconds.
pub const TOKEN_TTL_SECONDS: RangeInclusive<u64> = 60..=31_536_000;
/// `ttl` where the caller does not say, in seconds.
pub const DEFAULT_TOKEN_TTL_SECONDS: u64 = 3600;
/// `uses`.
pub const TOKEN_USES: RangeInclusive<u64> = 1..=100_000;

// Certificates.

/// The CA's life, in days.
pub const CA_DAYS: u32 = 3653;
/// The life of the server's certificate, and of the hosts' where the configuration does not say, in days.
pub const LEAF_DAYS: u32 = 397;
/// `certificate_days`: the life of the hosts' certificates, in days.
pub const CERTIFICATE_DAYS: RangeInclusive<u64> = 1..=3653;
/// How often the server looks at its own certificate.
pub const CERTIFICATE_CHECK: Duration = Duration::from_hours(24);
/// How often links are looked through for those whose hosts' certificates are to be renewed.
pub const RENEWAL_SWEEP: Duration = Duration::from_hours(1);
/// Hosts that are asked in one go, and how long until the next are.
pub const RENEWALS_AT_ONCE: usize = 100;
pub const RENEWAL_PAUSE: Duration = Duration::from_secs(1);
/// From a renewal that failed to the next try on the same link.
pub const RENEWAL_RETRY: Duration = Duration::from_hours(1);
/// The same where the agent does not answer, as an old one that does not know how.
pub const RENEWAL_UNANSWERED: Duration = Duration::from_hours(24);
/// The passphrase of the CA's key, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;
/// What it costs to try one passphrase, as scrypt's log N, r and p: 16 MiB of memory, five times over.
/// OWASP names these as enough, and more memory than that openssl(1) does not allow.
pub const SCRYPT: (u8, u32, u32) = (14, 8, 5);

// The database and the end.

/// `connections`.
pub const DATABASE_CONNECTIONS: RangeInclusive<u64> = 1..=100;
/// `connections` where the configuration does not say.
pub const DEFAULT_DATABASE_CONNECTIONS: u32 = 4;
/// How long a writer waits for another one, in milliseconds.
pub const DATABASE_BUSY_MS: u32 = 5000;
/// Bytes of a statement that a database server must take: what one request for ten thousand hosts has.
pub const DATABASE_PACKET_BYTES: i64 = 16 * 1024 * 1024;
/// Statements that a database server keeps for all connections together: of so many rows each, and a
/// quarter of what it keeps for everybody.
pub const DATABASE_STATEMENTS: u32 = 4000;
/// How long a connection to a database server may take to be there.
pub const DATABASE_CONNECT: Duration = Duration::from_secs(10);
/// How long a call waits for a connection while a database server is away.
pub const DATABASE_ACQUIRE: Duration = Duration::from_secs(5);
/// How long the lock of a database server's is waited for, in seconds.
pub const CLAIM_WAIT_SECONDS: u32 = 5;
/// How often that lock is looked at.
pub const CLAIM_WATCHED: Duration = Duration::from_secs(5);
/// From a try to have it again to the next.
pub const CLAIM_RETRY: Duration = Duration::from_secs(1);
/// When a database server gives the lock of a silent polaris to another, in seconds.
pub const CLAIM_SILENCE_SECONDS: u32 = 60;
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

// Packages and the catalogue of plugins.

/// `[packages] max_size`, the most of one file, in bytes.
pub const PACKAGE_BYTES: RangeInclusive<u64> = 1..=1 << 50;
/// The same where the configuration does not say: as much as an agent fetches.
pub const DEFAULT_PACKAGE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// One name of a path, in bytes: as the file systems have it.
pub const MAX_PACKAGE_NAME_BYTES: usize = 255;
/// A path below the packages' folder, in bytes: as the kernel has it.
pub const MAX_PACKAGE_PATH_BYTES: usize = 4095;
/// Entries of one folder that are listed.
pub const MAX_FOLDER_ENTRIES: usize = 20_000;
/// Bytes of a file that are in memory at once, of one download or one upload.
pub const PACKAGE_CHUNK_BYTES: usize = 128 * 1024;
/// Uploads at once.
pub const MAX_UPLOADS: usize = 16;
/// Downloads at once from the agents' port: fewer than [`MAX_AGENT_EXCHANGES`], so that the rest is
/// left for what is short.
pub const MAX_DOWNLOADS: usize = 128;
/// Those of one host among them.
pub const MAX_DOWNLOADS_PER_HOST: usize = 4;
/// One download from the agents' port: as long as an agent waits for it.
pub const DOWNLOAD_LIMIT: Duration = Duration::from_hours(1);
/// Files whose checksums are computed at once because somebody asks.
pub const MAX_CHECKSUMS: usize = 2;
/// Who may wait for one, those whose checksums are being computed included.
pub const MAX_CHECKSUMS_AWAITED: usize = 16;
/// Plugins in the catalogue.
pub const MAX_PLUGINS: i64 = 10_000;
/// A plugin's name, in bytes.
pub const MAX_PLUGIN_NAME_BYTES: usize = 128;
/// A plugin's version, in bytes.
pub const MAX_PLUGIN_VERSION_BYTES: usize = 64;
/// A plugin's architecture or system, in bytes.
pub const MAX_PLUGIN_PLACE_BYTES: usize = 32;
