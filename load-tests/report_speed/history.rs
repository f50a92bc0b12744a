//! Events made inside ClickHouse, one day an insert, through every materialized view.
//!
//! 90 days; 1,000 links, each promoted by ten of 5,000 partners (10,000 link × partner pairs, one in four with one of two ads);
//! links, partners and countries (200) are popular by a power law; one visitor has five events on average.

use fingerpost::config::stores::ClickHouse;

pub(crate) const DAYS: u64 = 90;
/// 2026-03-01T00:00:00Z, seconds.
pub(crate) const START_S: u64 = 1_772_323_200;

/// A number from 0 to 1 that depends on the event's number and the use.
fn random(salt: u32) -> String {
    format!("(cityHash64(number, {salt}) / 18446744073709551616.)")
}

/// The statement that makes events `first..first + count`, all of one day.
fn insert(settings: &ClickHouse, day: u64, first: u64, count: u64, visitors: u64) -> String {
    let database = &settings.database;
    let [when, link, partner, country, kind, class, who, ad] = [1, 2, 3, 4, 5, 6, 7, 8].map(random);
    format!(
        "INSERT INTO `{database}`.events (id, kind, class, time, program, link, partner, ad, visitor, country, device, browser, \
         os, reason, channel, count, source, partition, offset, loaded_at) \
         WITH toUInt32(1000 * pow({link}, 2)) AS l, \
         multiIf({kind} < 0.85, 'click', {kind} < 0.95, 'view', {kind} < 0.98, 'share', {kind} < 0.995, 'lead', 'conversion') AS k, \
         toUInt64({START_S} * 1000 + {day} * 86400000 + toUInt64(86400000 * {when})) AS ms \
         SELECT generateUUIDv4(), k, \
         multiIf({class} < 0.7, 'human', {class} < 0.8, 'repeat', {class} < 0.92, 'bot', {class} < 0.97, 'preview', 'head'), \
         fromUnixTimestamp64Milli(toInt64(ms), 'UTC'), concat('program', toString(l % 5)), concat('link', toString(l)), \
         concat('partner', toString((l * 7 + toUInt32(10 * pow({partner}, 2))) % 5000)), \
         if(l % 4 = 0, concat('ad', toString(toUInt32({ad} * 2))), ''), \
         reinterpretAsUUID(toFixedString(concat(reinterpretAsString(cityHash64(toUInt64({who} * {visitors}), 11)), '12345678'), 16)), \
         concat(char(65 + toUInt32(20 * pow({country}, 3))), char(65 + toUInt32({country} * 1000) % 10)), \
         'mobile', 'Chrome', 'Android', '', if(k = 'share', ['whatsapp', 'email', 'x'][1 + l % 3], ''), 1, \
         'generated', toUInt32({day} % 6), number, toDateTime(ms / 1000) \
         FROM numbers({first}, {count})"
    )
}

/// Fills the tables with `events` events.
pub(crate) async fn generate(client: &clickhouse::Client, settings: &ClickHouse, events: u64) {
    for day in 0..DAYS {
        let (first, end) = (day * events / DAYS, (day + 1) * events / DAYS);
        let query = insert(settings, day, first, end - first, events / 5);
        let query = client.query_raw(&query);
        let result = query
            .with_setting("max_insert_block_size", "4000000")
            .with_setting("min_insert_block_size_rows", "1000000")
            .with_setting("min_insert_block_size_bytes", "0")
            .with_setting("max_partitions_per_insert_block", "0")
            .execute()
            .await;
        if let Err(error) = result {
            eprintln!("the history of day {day} was not made: {error}");
            std::process::exit(1);
        }
        if day % 10 == 9 {
            eprintln!("{end} events");
        }
    }
}
