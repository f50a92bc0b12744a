//! Every bound of the product, with its unit, in one place. What is configurable has its default here as well.
//!
//! A limit that depends on another one says so with a `const` assertion at the end of the file.

use std::time::Duration;

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
/// cost grows with the square of its parameters: 250 rows of 16 took 73 µs a row, 16 rows of 14 take a fifth.
pub const BULK_ROWS: usize = 16;
/// Rows of one statement that writes into the change feed, two parameters each.
pub const BULK_CHANGES: usize = 128;
/// Codes in one query that asks which of them exist.
pub const LOOKUP_CODES: usize = 256;
/// How long a write waits for another writer of the catalog.
pub const CATALOG_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
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

// === Journal ===

/// Payload of one record, bytes.
pub const RECORD_PAYLOAD_MAX_BYTES: usize = 16 * 1024;
/// Bytes of one segment when the configuration names none.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Smallest segment that can be configured.
pub const SEGMENT_MIN_BYTES: u64 = 256 * 1024;
/// Records that one lane may hold in memory before the first write.
pub const LANE_BUFFER_MAX_BYTES: usize = 4 * 1024 * 1024;

// === Pump ===

/// Events of one sink batch.
pub const BATCH_MAX_EVENTS: usize = 10_000;
/// Bytes of one sink batch.
pub const BATCH_MAX_BYTES: usize = 4 * 1024 * 1024;

// === Shutdown ===

/// Connections may finish for that long after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

const fn base64_len(raw: usize) -> usize {
    (raw * 4).div_ceil(3)
}
const _: () = assert!("fp=".len() + base64_len(COOKIE_RAW_MAX_BYTES) <= COOKIE_MAX_BYTES);
const _: () = assert!(CODE_MAX_BYTES < 256, "lengths are one byte on the wire");
const _: () = assert!(RECORD_PAYLOAD_MAX_BYTES < LANE_BUFFER_MAX_BYTES);
const _: () = assert!(
    RULES_MAX_BYTES
        + 2 * CODE_LIST_MAX * (CODE_MAX_BYTES + 1)
        + TO_HOSTS_MAX * (HOST_MAX_BYTES + 2)
        + 4 * ADDRESS_MAX_BYTES
        < SNAPSHOT_RECORD_MAX_BYTES
);
const _: () = assert!(BATCH_MAX_BYTES > 2 * RECORD_PAYLOAD_MAX_BYTES);
const _: () = assert!(SEGMENT_MIN_BYTES as usize > 4 * RECORD_PAYLOAD_MAX_BYTES);
const _: () =
    assert!(ADDRESS_MAX_BYTES + REQUEST_LINE_MAX_BYTES + base64_len(TOKEN_RAW_MAX_BYTES) < LOCATION_MAX_BYTES);
