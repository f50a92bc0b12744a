//! Rows of an answer, as the statements of `reports.rs` select them.

use std::net::IpAddr;

use clickhouse::Row;
use serde::Deserialize;

use super::super::{LinkRow, ReachRow};
use crate::core::{event::Event, time::Millis};

/// A row of reach; sums and visitors come as rows of their own.
#[derive(Debug, Row, Deserialize)]
pub(super) struct Reach {
    pub(super) key: Vec<String>,
    pub(super) views: u64,
    pub(super) clicks: u64,
    pub(super) shares: u64,
    pub(super) visitors: u64,
    pub(super) missing: u64,
}

impl From<Reach> for ReachRow {
    fn from(row: Reach) -> ReachRow {
        let Reach { key, views, clicks, shares, visitors: _, missing } = row;
        ReachRow { key, views, clicks, shares, missing, unique_visitors: None }
    }
}

/// A line of links; sums and visitors come as rows of their own.
#[derive(Debug, Row, Deserialize)]
pub(super) struct Link {
    pub(super) link: String,
    pub(super) partner: String,
    pub(super) ad: String,
    pub(super) views: u64,
    pub(super) clicks: u64,
    pub(super) shares: u64,
    pub(super) visitors: u64,
    pub(super) not_counted: u64,
    pub(super) last_click_ms: i64,
}

impl From<Link> for LinkRow {
    fn from(row: Link) -> LinkRow {
        let Link { link, partner, ad, views, clicks, shares, visitors: _, not_counted, last_click_ms } = row;
        let last_click = (clicks > 0).then_some(Millis(last_click_ms));
        LinkRow { link, partner, ad, views, clicks, shares, not_counted, last_click, unique_visitors: None }
    }
}

#[derive(Debug, Row, Deserialize)]
pub(super) struct Clicks {
    pub(super) link: String,
    pub(super) clicks: u64,
}

/// A row of `events` as [`Stored::COLUMNS`] selects it.
#[derive(Debug, Row, Deserialize)]
pub(super) struct Stored {
    id_bytes: [u8; 16],
    kind_number: i8,
    class_number: i8,
    time_ms: i64,
    program: String,
    link: String,
    partner: String,
    ad: String,
    slug: String,
    channel: String,
    visitor_bytes: Option<[u8; 16]>,
    country: String,
    region: String,
    city: String,
    network: String,
    address: String,
    referrer: String,
    language: String,
    device_number: i8,
    browser: String,
    os: String,
    sub1: String,
    sub2: String,
    sub3: String,
    sub4: String,
    sub5: String,
    reason: String,
    named: String,
    click_bytes: Option<[u8; 16]>,
    rule: u32,
    count: u64,
}

impl Stored {
    /// Ids as their bytes: ClickHouse sorts and sends a UUID by halves.
    pub(super) const COLUMNS: &str = "UUIDToNum(id) AS id_bytes, CAST(kind, 'Int8') AS kind_number, \
        CAST(class, 'Int8') AS class_number, toUnixTimestamp64Milli(time) AS time_ms, program, link, partner, ad, slug, \
        channel, UUIDToNum(visitor) AS visitor_bytes, country, region, city, network, address, referrer, language, \
        CAST(device, 'Int8') AS device_number, browser, os, sub1, sub2, sub3, sub4, sub5, reason, named, \
        UUIDToNum(click) AS click_bytes, rule, count";
}

impl From<Stored> for Event {
    fn from(row: Stored) -> Event {
        let bytes = |id: Option<[u8; 16]>| id.map(Vec::from).unwrap_or_default();
        Event {
            id: row.id_bytes.into(),
            kind: row.kind_number.into(),
            class: row.class_number.into(),
            time_ms: row.time_ms,
            program: row.program,
            link: row.link,
            partner: row.partner,
            ad: row.ad,
            slug: row.slug,
            channel: row.channel,
            visitor: bytes(row.visitor_bytes),
            country: row.country,
            region: row.region,
            city: row.city,
            network: row.network,
            address: cut(&row.address),
            referrer: row.referrer,
            language: row.language,
            device: row.device_number.into(),
            browser: row.browser,
            os: row.os,
            sub1: row.sub1,
            sub2: row.sub2,
            sub3: row.sub3,
            sub4: row.sub4,
            sub5: row.sub5,
            reason: row.reason,
            named: row.named,
            click: bytes(row.click_bytes),
            rule: row.rule,
            count: row.count,
            // It was needed on the way only.
            sequence: 0,
        }
    }
}

/// `203.0.113.0/24` or `2001:db8:1::/48` as the bytes that were kept; what is not such a text is none.
fn cut(text: &str) -> Vec<u8> {
    match text.split_once('/').map(|(address, length)| (address.parse(), length)) {
        Some((Ok(IpAddr::V4(address)), "24")) => address.octets()[..3].into(),
        Some((Ok(IpAddr::V6(address)), "48")) => address.octets()[..6].into(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_its_bytes() {
        assert_eq!(cut("203.0.113.0/24"), [203, 0, 113]);
        assert_eq!(cut("2001:db8:1::/48"), [0x20, 0x01, 0x0d, 0xb8, 0, 1]);
        assert!(["", "203.0.113.0", "x/24", "203.0.113.0/48"].iter().all(|text| cut(text).is_empty()));
    }
}
