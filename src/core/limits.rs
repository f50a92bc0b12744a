//! Every bound of the product, with its unit, in one place. What is configurable has its default here as well.
//!
//! A limit that depends on another one says so with a `const` assertion at the end of the file.

use std::time::Duration;

mod pages;

pub use pages::*;

// === Codes, cookies, tokens ===

/// Longest code (of a program, link, partner, ad or share link), bytes.
pub const CODE_MAX_BYTES: usize = 48;
/// Longest cookie, `fp=` and the value, bytes (RFC 6265 §6.1 lets a browser keep 4,096; ours must never matter).
pub const COOKIE_MAX_BYTES: usize = 512;
/// Message authentication code of cookies and tokens, bytes.
pub const MAC_BYTES: usize = 16;
/// Longest cookie payload before base64: head, two touches, MAC.
pub const COOKIE_RAW_MAX_BYTES: usize = 1 + 1 + 16 + 4 + 2 * TOUCH_RAW_MAX_BYTES + MAC_BYTES;
/// A touch: click id, then link, partner and ad with a length byte each.
pub const TOUCH_RAW_MAX_BYTES: usize = 16 + 3 * (1 + CODE_MAX_BYTES);
/// Longest click token before base64: version, key, click id, four codes, MAC.
pub const TOKEN_RAW_MAX_BYTES: usize = 1 + 1 + 16 + 4 * (1 + CODE_MAX_BYTES) + MAC_BYTES;

// === Catalog ===

/// Longest website address or template, bytes.
pub const ADDRESS_MAX_BYTES: usize = 2_048;
/// Longest name of anything, characters.
pub const NAME_MAX_CHARS: usize = 200;
/// Longest description, characters.
pub const DESCRIPTION_MAX_CHARS: usize = 2_000;
/// Longest e-mail address, bytes (RFC 5321 §4.5.3.1.3).
pub const EMAIL_MAX_BYTES: usize = 254;
/// Rules on one link.
pub const RULES_MAX: usize = 32;
/// Title of a preview, characters. Chats cut at about 70.
pub const PREVIEW_TITLE_MAX_CHARS: usize = 150;
/// Description of a preview, characters. Chats cut at about 200.
pub const PREVIEW_DESCRIPTION_MAX_CHARS: usize = 300;
/// Name of the site in a preview, characters.
pub const PREVIEW_SITE_NAME_MAX_CHARS: usize = 100;
/// Address of a preview's picture, bytes.
pub const PREVIEW_IMAGE_MAX_BYTES: usize = 1_024;
/// Address of the link, and of its destination, on the page for previews, bytes. With a longer one the previewer is redirected like anybody else.
pub const PREVIEW_PAGE_ADDRESS_MAX_BYTES: usize = 3_072;

/// The largest amount that anybody may be owed or have paid, minor units.
pub const AMOUNT_MAX_MINOR: i64 = 1_000_000_000_000_000;
/// Bytes of what a teller adds to a lead, as JSON.
pub const METADATA_MAX_BYTES: usize = 16 * 1024;
/// Bytes of an Idempotency-Key.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;
/// Doors for webhooks of others.
pub const INBOUND_MAX: i64 = 100;
/// Body of such a webhook, bytes.
pub const INBOUND_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Secrets of a door that are accepted at once.
pub const INBOUND_SECRETS_MAX: usize = 5;
/// Facts that one webhook may tell.
pub const INBOUND_FACTS_MAX: usize = 100;
/// How far a signature's time may be from ours, seconds.
pub const SIGNATURE_TOLERANCE_SECONDS: i64 = 300;
/// A file of facts that is uploaded, bytes.
pub const UPLOAD_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Shortest secret of such a door, bytes.
pub const INBOUND_SECRET_MIN_BYTES: usize = 16;
/// Longest one.
pub const INBOUND_SECRET_MAX_BYTES: usize = 255;
/// Lines of facts that are told in one transaction.
pub const FACT_LINES: usize = 200;
/// Sites whose forms may send leads to a program.
pub const ORIGINS_MAX: usize = 64;
/// Leads that one network may send through forms within a minute; the first ones may come at once.
pub const FORM_LEADS_PER_MINUTE: u32 = 30;
/// Networks that are counted at a time.
pub const FORM_NETWORKS_MAX: usize = 10_000;
/// Requests that wait for the control plane; more are answered 503.
pub const HANDED_MAX: usize = 256;
/// Rewards that one call may issue.
pub const ISSUE_MAX: usize = 1_000;
/// The highest score of a referral that a rule may name, and the most points of a signal.
pub const SCORE_MAX: u32 = 1_000;
/// Leads of one network and the minutes between them that a rule may call a burst.
pub const BURST_LEADS_MAX: u32 = 100;
/// The same.
pub const BURST_MAX_MINUTES: u32 = 7 * 24 * 60;
/// Leads of one network before and after a lead that are looked at to tell whether it is part of a burst: enough for the largest one, also
/// where some people left several.
pub const BURST_LOOK_ROWS: u32 = 4 * BURST_LEADS_MAX;
/// Leads of one person around which others are looked for.
pub const LEADS_LOOKED_AROUND: usize = 8;
/// Seconds between a click and its lead that a rule may call too fast.
pub const FAST_MAX_SECONDS: u32 = 3_600;
/// Domains that a program may call disposable, beside those that are known.
pub const DISPOSABLE_DOMAINS_MAX: usize = 1_000;
/// Others whom one fact may make somebody look at again in its own transaction; the rest waits for the background.
pub const NEIGHBOURS_MAX: usize = 32;
/// Referrals whose history is computed in memory, for a dry-run and to follow changed terms. A larger program's terms are followed person
/// by person, and it has no dry-run.
pub const PLAN_REFERRALS_MAX: u64 = 200_000;
/// People whose referrals are computed anew in one transaction of the background.
pub const FOLLOW_BATCH: usize = 25;
/// Rewards of one rule that are gone through in one transaction of the background.
pub const FOLLOW_LEDGER_ROWS: u32 = 1_000;
/// The background rests so many times as long as its last transaction took, where others recorded facts meanwhile, and at most so long.
pub const BACKGROUND_REST_TIMES: u32 = 9;
/// The same.
pub const BACKGROUND_REST_MAX: Duration = Duration::from_secs(1);
/// How often the background looks for changed terms that other processes wrote.
pub const FOLLOW_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often the event store is asked for the clicks of all partners, and how far back.
pub const CLICKS_ASK_INTERVAL: Duration = Duration::from_secs(600);
/// The same.
pub const CLICKS_LOOK_BACK: Duration = Duration::from_secs(30 * 86_400);
/// With fewer clicks nothing is said about a partner's.
pub const CLICKS_JUDGED_MIN: u64 = 20;
/// Shares of clicks are rounded down to these steps, percent: what is kept of them seldom changes.
pub const CLICKS_STEP_PERCENT: u64 = 5;
/// Examples that a dry-run gives.
pub const DRY_RUN_SAMPLES: usize = 20;
/// Reward rules of a program.
pub const REWARD_RULES_MAX: usize = 32;
/// Characters of a gift's description.
pub const GIFT_MAX_CHARS: usize = 500;
/// How far apart rewards of `every` and events of `nth` may be, and how many a cap may allow.
pub const NTH_MAX: u32 = 1_000_000;
pub const MILESTONES_MAX: usize = 32;
/// Days for which a reward may be held.
pub const HOLD_MAX_DAYS: u32 = 3_650;
/// Months for which further sales may earn.
pub const RECURRING_MAX_MONTHS: u32 = 1_200;
/// Parents above a partner that share in its credit.
pub const PARENT_LEVELS: usize = 3;
/// All rules of one link as JSON, bytes.
pub const RULES_MAX_BYTES: usize = 256 * 1024;
/// Values in one condition of a rule, and arms of a split.
pub const RULE_VALUES_MAX: usize = 64;
/// Hosts that `?to=` may name on one link.
pub const TO_HOSTS_MAX: usize = 64;
/// Codes in a list on one item (programs of a link, links of a partner).
pub const CODE_LIST_MAX: usize = 1_000;
/// Length of a generated slug, characters of a 31-letter alphabet: 31^8 ≈ 8.5 × 10^11.
pub const SLUG_GENERATED_CHARS: usize = 8;
/// Parents above one partner.
pub const PARENTS_MAX: usize = 32;
/// Days for which a program may credit a touch.
pub const WINDOW_MAX_DAYS: u64 = 3_650;
/// Media type of an ad, characters.
pub const MEDIA_TYPE_MAX_CHARS: usize = 64;
/// Name of a query parameter, bytes.
pub const PARAMETER_MAX_BYTES: usize = 32;
/// Host name, bytes (RFC 1035 §2.3.4, without the last dot).
pub const HOST_MAX_BYTES: usize = 253;
/// Newest rows of the change feed that are kept; who is further behind loads everything again.
pub const CHANGES_KEPT: i64 = 1_000_000;
/// Changes that the edge takes in one step.
pub const CHANGES_PER_STEP: u32 = 5_000;
/// Items of one bulk statement. SQLite finds the name of each parameter by walking along those before it, so a statement's
/// cost grows with the square of its parameters: with 250 rows a link took 73 µs of CPU, with 16 it takes 13.
pub const BULK_ROWS: usize = 16;
/// Rows of one statement that writes into the change feed, two parameters each.
pub const BULK_CHANGES: usize = 128;
/// The same where each statement crosses a network (PostgreSQL, which takes 65,535 parameters in one).
pub const BULK_ROWS_REMOTE: usize = 512;
/// The same.
pub const BULK_CHANGES_REMOTE: usize = 1_024;
/// Parameters of one statement of a copy: SQLite takes 32,766.
pub const COPY_PARAMETERS_MAX: usize = 30_000;
/// Codes in one query that asks which of them exist.
pub const LOOKUP_CODES: usize = 256;
/// How long a write waits for another writer of the catalog.
pub const CATALOG_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read of the catalog, or the next row of a long one, may take.
pub const CATALOG_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Who waits longer than that for a connection to the catalog asks whether there is anybody at the other end.
pub const CATALOG_PATIENCE: Duration = Duration::from_millis(250);
/// After that long without a hint from the catalog it is asked whether it is still there.
pub const CATALOG_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest pause between two tries to reach the catalog.
pub const CATALOG_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// One item in the snapshot file, bytes: rules, lists and addresses at their longest stay below.
pub const SNAPSHOT_RECORD_MAX_BYTES: usize = 512 * 1024;
/// Bytes of one checksummed block of the snapshot file.
pub const SNAPSHOT_BLOCK_BYTES: usize = 256 * 1024;
/// Rows of one page of a list.
pub const PAGE_MAX_ROWS: u32 = 1_000;
/// Rows of one page when the caller names no limit.
pub const PAGE_DEFAULT_ROWS: u32 = 100;

// === Webhooks and mail ===

/// Endpoints of one installation.
pub const WEBHOOKS_MAX: i64 = 100;
/// Kinds of events that one endpoint names.
pub const WEBHOOK_KINDS_MAX: usize = 64;
/// One of them, bytes.
pub const WEBHOOK_KIND_MAX_BYTES: usize = 64;
/// Rows of one endpoint's log that are kept.
pub const WEBHOOK_LOG_ROWS: i64 = 1_000;
/// Endpoints that one process serves at the same time.
pub const WEBHOOKS_AT_ONCE: usize = 16;
/// Rows of the outbox that are read at once for one endpoint.
pub const WEBHOOK_BATCH_ROWS: u32 = 100;
/// How long one endpoint is served before others that wait have their turn.
pub const WEBHOOK_VISIT_TIME: Duration = Duration::from_secs(10);
/// So many failures without a success between them, and the endpoint rests: it is not one event's fault.
pub const WEBHOOK_FAILURES_TO_REST: i64 = 5;
/// Longest rest: so late it may be noticed that an endpoint is back.
pub const WEBHOOK_REST_MAX: Duration = Duration::from_secs(5 * 60);
/// How often the outbox is told how far webhooks are.
pub const WEBHOOK_POSITION_INTERVAL: Duration = Duration::from_secs(60);
/// A lease of an endpoint, or of a mail, outlives its longest try by that much.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Answer of an endpoint that is read, bytes: what is more is not waited for.
pub const WEBHOOK_ANSWER_MAX_BYTES: usize = 16 * 1024;
/// What the log keeps of it, bytes.
pub const WEBHOOK_ANSWER_KEPT_BYTES: usize = 1_024;
/// Addresses of one host that are tried.
pub const WEBHOOK_ADDRESSES_MAX: usize = 4;
/// A try that is under way when the process ends may finish for that long.
pub const OUTBOX_STOP_GRACE: Duration = Duration::from_secs(1);
/// A mail server may take that long for a command, when the configuration names nothing else.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
/// A mail with all its commands may take so many times as long.
pub const MAIL_COMMANDS_MAX: u32 = 4;
/// Mails that are sent at the same time.
pub const MAILS_AT_ONCE: usize = 4;

// === Requests ===

/// Request line, bytes: longer is 414.
pub const REQUEST_LINE_MAX_BYTES: usize = 8 * 1024;
/// Head without the request line, bytes: longer is 431.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Header fields in one head: more is 431.
pub const HEADERS_MAX: usize = 100;
/// Body of `POST /e`, bytes: longer is 413.
pub const EVENT_BODY_MAX_BYTES: usize = 4 * 1024;
/// Body of a control API request, bytes: longer is 413.
pub const API_BODY_MAX_BYTES: usize = 1024 * 1024;
/// Query parameters that are kept; further ones are dropped.
pub const QUERY_PARAMETERS_MAX: usize = 64;
/// Longest `Location`, bytes. A destination that would be longer loses the visitor's own query.
pub const LOCATION_MAX_BYTES: usize = 16 * 1024;
/// `sub1`…`sub5` as recorded, bytes each.
pub const SUB_MAX_BYTES: usize = 128;
/// Number of `sub` parameters.
pub const SUBS: usize = 5;
/// Referrer host as recorded, bytes.
pub const REFERRER_MAX_BYTES: usize = 128;
/// Short texts that come from enrichment (city, network, browser …), bytes each.
pub const LABEL_MAX_BYTES: usize = 64;
/// User-Agent that is looked at, bytes; the rest is cut off. Bounds each worker's cache to half a MiB.
pub const AGENT_MAX_BYTES: usize = 512;
/// Names of browser and operating system as recorded, bytes.
pub const AGENT_NAME_MAX_BYTES: usize = 31;
/// User-Agents that each worker remembers: a power of two.
pub const AGENTS_CACHED: usize = 1_024;
/// Language tag as recorded, bytes.
pub const LANGUAGE_MAX_BYTES: usize = 16;

// === Connections ===

/// First byte of a connection, or its PROXY header, or the protocol's preface, must be complete by then.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head, from its first byte.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body, from the end of the head.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that does not read what was written to it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How often a worker looks for connections that are past a deadline.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Connections of one worker; more are closed at once.
pub const CONNECTIONS_PER_WORKER_MAX: usize = 16_384;
/// Requests of one worker that wait for the journal; more are answered 503.
pub const REQUESTS_WAITING_MAX: usize = 8_192;
/// Streams of one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 128;
/// HTTP/2 control frames (PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, empty DATA) that a
/// connection may send beyond four a request.
pub const H2_CONTROL_FRAMES_FREE: u32 = 1_000;
/// PROXY protocol v2 header, bytes (v1 is at most 107).
pub const PROXY_HEADER_MAX_BYTES: usize = 16 + 4 * 1024;
/// HTTP/2 resets (RST_STREAM) that a connection may send beyond one for four requests.
pub const H2_RESETS_FREE: u32 = 100;
/// A DATA frame of fewer bytes that does not end its stream counts as a control frame.
pub const H2_TINY_DATA_BYTES: u32 = 32;
/// Streams that were reset before we looked at them, and streams that we reset for the client's errors, of one HTTP/2 connection.
pub const H2_PENDING_RESETS_MAX: usize = 64;
/// Receive window of one HTTP/2 stream, bytes.
pub const H2_STREAM_WINDOW_BYTES: u32 = 16 * 1024;
/// Receive window of one HTTP/2 connection, bytes (RFC 9113 §6.9.2 lets nobody start with less than 65,535).
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// Response bytes that one HTTP/2 stream holds while the client does not read.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Response bytes that the kernel holds for one connection (SO_SNDBUF; the kernel doubles it for its own bookkeeping).
pub const SOCKET_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Connections that wait in one listener to be accepted.
pub const SOCKET_BACKLOG: i32 = 4_096;
/// A worker that has run out of file descriptors leaves its listeners alone for that long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After an answer that ends the connection, what the client still sends is read for that long, so that the answer arrives.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// While draining, a connection without a request may still send one for that long; it is told to close with the answer.
pub const DRAIN_IDLE_GRACE: Duration = Duration::from_secs(1);

// === Journal ===

/// Payload of one record, bytes.
pub const RECORD_PAYLOAD_MAX_BYTES: usize = 16 * 1024;
/// Bytes of one segment when the configuration names none.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Smallest segment that can be configured.
pub const SEGMENT_MIN_BYTES: u64 = 256 * 1024;
/// Records that one lane may hold in memory before the first write.
pub const LANE_BUFFER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// A lane that cannot write asks for a new segment that often.
pub const LANE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Hours for which a lane remembers clicks that it could not record; older ones are added to the oldest.
pub const SHED_HOURS_MAX: usize = 168;
/// Groups that were refused, as far back as a waiter may still ask.
pub const REFUSED_GROUPS_MAX: usize = 64;
/// A reader reads a segment in pieces of this size, bytes.
pub const READ_BYTES: usize = 64 * 1024;
/// A piece of a segment that cannot be read so many times is taken for damaged.
pub const READ_ATTEMPTS_MAX: u32 = 5;

// === Pump ===

/// Events of one sink batch.
pub const BATCH_MAX_EVENTS: usize = 10_000;
/// Bytes of one sink batch.
pub const BATCH_MAX_BYTES: usize = 4 * 1024 * 1024;

/// First wait after a sink that does not answer; doubles with each try.
pub const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
pub const RETRY_MAX: Duration = Duration::from_secs(15);
/// Longest wait between two tries of a source of events. The library behind it has its own waits; while nobody asks it,
/// nobody hears what the group decides, and the other loaders wait for us.
pub const SOURCE_RETRY_MAX: Duration = Duration::from_secs(1);
/// How often the pump looks for lanes that nobody owns.
pub const ORPHAN_SCAN_INTERVAL: Duration = Duration::from_secs(2);

// === Outbox ===

/// Rows of the outbox that are brought to the journal at once.
pub const OUTBOX_BATCH_ROWS: u32 = 1_000;
/// How often the outbox is asked for rows that another process wrote.
pub const OUTBOX_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Who brings them waits that long for more.
pub const OUTBOX_LINGER: Duration = Duration::from_millis(100);
/// Rows that wait are counted up to that many.
pub const OUTBOX_COUNTED_MAX: u32 = 1_000_000;
/// How often old rows of the outbox are deleted, and how many at once.
pub const OUTBOX_PURGE_INTERVAL: Duration = Duration::from_secs(3_600);
/// The same.
pub const OUTBOX_PURGE_ROWS: u32 = 1_000;
/// How long rows stay that everybody has taken, when the configuration says nothing.
pub const OUTBOX_RETENTION: Duration = Duration::from_secs(30 * 86_400);

// === Persons ===

/// Items of one import that have a row each in the audit log; a larger one has its own row and their number.
pub const AUDIT_IMPORT_ROWS: u64 = 10_000;
/// Rows of the catalog that an erasure or the retention goes through in one transaction.
pub const SWEEP_ROWS: u32 = 500;
/// Rows of each kind that the export of a person shows.
pub const PERSON_ROWS_MAX: u32 = 10_000;
/// Clicks of a person that an erasure looks for in later events.
pub const PERSON_CLICKS_MAX: usize = 10_000;
/// Rows of the event store that an erasure looks through at once in SQLite.
pub const ERASE_SPAN_ROWS: i64 = 50_000;
/// Rows of events that the retention deletes in one transaction.
pub const EXPIRE_ROWS: i64 = 5_000;
/// How often the retention looks for what is too old.
pub const RETENTION_INTERVAL: Duration = Duration::from_secs(600);
/// How often a complete erasure looks for late events.
pub const ERASURE_LOOK_INTERVAL: Duration = Duration::from_secs(3_600);
/// Addresses that one program mails due rewards to.
pub const NOTIFY_MAX: usize = 20;
/// Text of such a mail, characters.
pub const NOTIFY_TEXT_MAX_CHARS: usize = 10_000;

// === Kafka and ClickHouse ===

/// Events of one Kafka partition in one insert.
pub const LOAD_BATCH_EVENTS: u64 = 100_000;
/// The most that can be configured for it.
pub const LOAD_BATCH_EVENTS_MAX: u64 = 250_000;
/// Offsets that such a range may span: ends of transactions have offsets of their own.
pub const LOAD_DOUBT_OFFSETS: u64 = 4 * LOAD_BATCH_EVENTS_MAX;
/// Records of one batch that Kafka or ClickHouse may refuse one by one: more, and it is not the records' fault.
pub const REFUSED_ROWS_MAX: usize = 32;
/// Ranges that one loader sends at the same time.
pub const LOAD_INSERTS_MAX: usize = 4;
/// A range that is sent later than this after its intent may be somebody else's by now: the table is asked first. As long
/// as the group waits for a member that is silent.
pub const LOAD_INTENT_FRESH: Duration = Duration::from_secs(10);
/// Bytes of one partition in one insert, as they stand in Kafka.
pub const LOAD_BATCH_BYTES: usize = 32 * 1024 * 1024;

// === Event store ===

/// Events whose sums are not written yet; a report sums them when it is asked.
pub const SUMS_LAG_MAX_EVENTS: u64 = 50_000;
/// Sums held in memory before they are written.
pub const SUMS_KEYS_MAX: usize = 50_000;
/// Events that one row may stand for. 2^22 such rows still sum up below 2^63.
pub const EVENT_COUNT_MAX: u64 = 1 << 40;
/// Time of an event: the last millisecond of the year 2099. ClickHouse's DateTime ends in 2106, and a row expires
/// some time after the event.
pub const EVENT_TIME_MAX_MS: i64 = 4_102_444_799_999;
/// Events that an export reads at once from SQLite, which finds the next page by an index.
pub const EXPORT_PAGE_ROWS: u32 = 2_000;
/// The same from ClickHouse, which looks through the page's whole day: more events at once, fewer looks. An event whose texts
/// are all as long as they may be takes 3 KB.
pub const EXPORT_PAGE_ROWS_CLICKHOUSE: u32 = 50_000;
/// Events whose touches the SQLite sink gathers before it writes where they stand; a question looks through those behind them.
pub const VISITS_RUN_EVENTS: i64 = 16_384;
/// Events that are looked through at once for clicks that arrived.
pub const ARRIVED_MAX_EVENTS: i64 = 50_000;
/// Logs (partitions, lanes) that are looked through at once.
pub const ARRIVED_LOGS_MAX: usize = 64;
/// Touches of one visitor that the record keeps. A browser that clicks more is no person's.
pub const VISITOR_TOUCHES_MAX: u32 = 1_000;
/// Candidates that history may give to one decision: half of them the first ones in the program's window, half the last ones.
pub const HISTORY_CANDIDATES_MAX: usize = 32;
/// Visitors of one question about touches.
pub const TOUCH_VISITORS_MAX: u32 = 50;
/// Touches of one answer.
pub const TOUCH_PAGE_ROWS: u32 = 2_000;
/// How long a lead waits for the history of its visitors. What does not come in this time is asked again behind it.
pub const HISTORY_TIMEOUT: Duration = Duration::from_secs(1);
/// For so long nobody waits for an event store that has just not answered.
pub const HISTORY_PAUSE: Duration = Duration::from_secs(10);
/// Offsets that are read again on a cluster, where a replica may be behind.
pub const ARRIVED_AGAIN_OFFSETS: u64 = 5_000;

// === Shutdown ===

/// The pump may deliver what is left for that long after everything else has stopped. What it does not manage waits in
/// the journal for the next start.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections may finish for that long after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

const fn base64_len(raw: usize) -> usize {
    (raw * 4).div_ceil(3)
}
const _: () = assert!("fp=".len() + base64_len(COOKIE_RAW_MAX_BYTES) <= COOKIE_MAX_BYTES);
const _: () = assert!(AGENTS_CACHED.is_power_of_two() && AGENT_NAME_MAX_BYTES <= LABEL_MAX_BYTES);
const _: () = assert!(CODE_MAX_BYTES < 256, "lengths are one byte on the wire");
const _: () = assert!(
    H2_CONNECTION_WINDOW_BYTES >= H2_STREAM_WINDOW_BYTES && EVENT_BODY_MAX_BYTES < H2_STREAM_WINDOW_BYTES as usize
);
const _: () = assert!(DRAIN_IDLE_GRACE.as_millis() + LINGER_TIMEOUT.as_millis() < DRAIN_TIMEOUT.as_millis());
const _: () = assert!(RECORD_PAYLOAD_MAX_BYTES < LANE_BUFFER_MAX_BYTES);
const _: () = assert!(
    RULES_MAX_BYTES
        + 2 * CODE_LIST_MAX * (CODE_MAX_BYTES + 1)
        + TO_HOSTS_MAX * (HOST_MAX_BYTES + 2)
        + 4 * ADDRESS_MAX_BYTES
        + super::preview::Preview::MAX_JSON_BYTES
        < SNAPSHOT_RECORD_MAX_BYTES
);
const _: () = assert!(WEBHOOK_ANSWER_KEPT_BYTES <= WEBHOOK_ANSWER_MAX_BYTES);
const _: () = assert!(BATCH_MAX_BYTES > 2 * RECORD_PAYLOAD_MAX_BYTES);
const _: () = assert!(RECORD_PAYLOAD_MAX_BYTES <= u16::MAX as usize, "the length has 16 bits in a record's head");
const _: () = assert!(READ_BYTES > 2 * RECORD_PAYLOAD_MAX_BYTES);
const _: () = assert!(SEGMENT_MIN_BYTES as usize > 4 * RECORD_PAYLOAD_MAX_BYTES);
const _: () =
    assert!(ADDRESS_MAX_BYTES + REQUEST_LINE_MAX_BYTES + base64_len(TOKEN_RAW_MAX_BYTES) < LOCATION_MAX_BYTES);
