//! Events of the same links and partners, stored by the sink that the server has.

use std::path::Path;

use fingerpost::{
    core::{
        event::{Class, Event, Kind},
        id::{EventId, LaneId},
        time::{DAY_MS, Millis},
    },
    io::clock::Clock,
    store::{
        Batch, Sink,
        sqlite::{FILE, SqliteSink},
    },
};
use prost::Message;

use super::people::{LINKS, PROGRAMS, partner_of, popular};
use crate::common::Random;

const DAYS: u64 = 365;
/// Events of one batch.
const BATCH: u64 = 20_000;
/// Different visitors, of the number of events.
const EVENTS_A_VISITOR: u64 = 5;
const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "GB", "AT", "CH", "NL", "SE"];

/// Makes `DATA/events.db`.
pub(crate) async fn fill(data: &Path, seed: u64, events: u64, now: Millis) {
    let mut sink = SqliteSink::open(&data.join(FILE), Clock::System).await.unwrap();
    let mut random = Random::new(seed ^ 0xe5e5);
    let lane = LaneId(1);
    let step = DAYS * DAY_MS as u64 / events;
    let mut next = 0;
    while next < events {
        let size = BATCH.min(events - next);
        let records = (next..next + size).map(|number| {
            let at = Millis(now.0 - (DAYS as i64) * DAY_MS + (number * step + random.below(step)) as i64);
            (number, event(&mut random, at, events / EVENTS_A_VISITOR).encode_to_vec())
        });
        let batch = Batch { lane, records: records.collect(), next: next + size };
        sink.store(&[batch]).await.unwrap();
        next += size;
    }
    sink.close().await;
}

fn event(random: &mut Random, at: Millis, visitors: u64) -> Event {
    let link = popular(random, LINKS);
    let partner = partner_of(random, link);
    let kind = match random.below(100) {
        0..87 => Kind::Click,
        87..97 => Kind::View,
        _ => Kind::Share,
    };
    let class = match random.below(100) {
        0..70 => Class::Human,
        70..80 => Class::Repeat,
        80..92 => Class::Bot,
        _ => Class::Preview,
    };
    let channel = if kind == Kind::Share { ["whatsapp", "email", "x"][(link % 3) as usize] } else { "" };
    let mut visitor = [7; 16];
    visitor[..8].copy_from_slice(&random.below(visitors.max(1)).to_le_bytes());
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.next().to_le_bytes());
    Event {
        id: EventId::new(at, bytes).0.into(),
        kind: kind as i32,
        class: class as i32,
        time_ms: at.0,
        program: format!("program{}", link % PROGRAMS),
        link: format!("l{link}"),
        partner: format!("p{partner}"),
        ad: if link.is_multiple_of(4) { "ad1".to_owned() } else { String::new() },
        channel: channel.to_owned(),
        visitor: visitor.into(),
        country: COUNTRIES[popular(random, 8) as usize].to_owned(),
        ..Event::default()
    }
}
