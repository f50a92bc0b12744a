//! Who came, and what they did: facts as the doors are told them.
//!
//! A year; 5,000 partners and 1,000 links in 5 programs, popular by a power law; one in four with an ad. Each person comes by a
//! click token; one in five names another partner's code as well. Six in ten buy within two months, one in ten of these
//! twice; one sale in twenty is paid back.

use fingerpost::core::{
    id::EventId,
    time::{DAY_MS, HOUR_MS, Millis},
};

use crate::common::Random;

pub(crate) const PROGRAMS: u64 = 5;
pub(crate) const PARTNERS: u64 = 5_000;
pub(crate) const LINKS: u64 = 1_000;
const DAYS: i64 = 365;

#[derive(Clone, Debug)]
pub(crate) struct Sale {
    pub(crate) at: Millis,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) paid_back: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) number: u64,
    pub(crate) program: u64,
    pub(crate) link: u64,
    pub(crate) partner: u64,
    pub(crate) ad: bool,
    pub(crate) click: EventId,
    /// A partner whose code came with the lead.
    pub(crate) code: Option<u64>,
    pub(crate) at: Millis,
    pub(crate) sales: Vec<Sale>,
}

/// A number below `bound`, the small ones more often.
pub(crate) fn popular(random: &mut Random, bound: u64) -> u64 {
    let part = random.below(1 << 20) as f64 / (1 << 20) as f64;
    ((bound as f64) * part * part) as u64
}

/// The partner of a link: one of ten.
pub(crate) fn partner_of(random: &mut Random, link: u64) -> u64 {
    (link * 7 + popular(random, 10)) % PARTNERS
}

/// The currency of a program.
pub(crate) const fn currency(program: u64) -> &'static str {
    if program == 4 { "USD" } else { "EUR" }
}

/// Everybody, in the order in which they came.
pub(crate) fn all(seed: u64, people: u64, now: Millis) -> impl Iterator<Item = Person> {
    let mut random = Random::new(seed);
    let step = DAYS as u64 * DAY_MS as u64 / people;
    (0..people).map(move |number| {
        let at = Millis(now.0 - DAYS * DAY_MS + (number * step + random.below(step)) as i64);
        let link = popular(&mut random, LINKS);
        let partner = partner_of(&mut random, link);
        let clicked = at.plus(-((random.below(HOUR_MS as u64 * 72) >> random.below(12)) as i64) - 1);
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&random.next().to_le_bytes());
        let code = (random.below(5) == 0).then(|| partner_of(&mut random, link));
        let sales = sales(&mut random, at, now);
        let click = EventId::new(clicked, bytes);
        Person { number, program: link % PROGRAMS, link, partner, ad: link.is_multiple_of(4), click, code, at, sales }
    })
}

fn sales(random: &mut Random, came: Millis, now: Millis) -> Vec<Sale> {
    let how_many = match random.below(100) {
        0..40 => 0,
        40..94 => 1,
        _ => 2,
    };
    let mut at = came;
    let mut sales = Vec::new();
    for _ in 0..how_many {
        at = at.plus(1 + random.below(60 * DAY_MS as u64) as i64);
        if at < now {
            let amount = 500 + random.below(20_000) as i64;
            sales.push(Sale { at, amount, paid_back: random.below(20) == 0 });
        }
    }
    sales
}
