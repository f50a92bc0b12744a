//! Each signal by a case where it is there and one where it is not.

use super::*;
use crate::{
    catalog::record::{PartnerClicks, Related, RelatedLead},
    core::{
        fact::{Credited, FactId, Place, Ruling},
        id::EventId,
    },
};

const NOON: i64 = 1_772_366_400_000;
const ME: FactId = FactId([1; 16]);
const OTHER: FactId = FactId([2; 16]);

fn place(minute: i64, id: u8) -> Place {
    Place { at: Millis(NOON + minute * 60_000), id: FactId([id; 16]) }
}

fn ann() -> Code {
    "ann".parse().unwrap()
}

/// My lead at noon, of ann, from a network, `seconds` after the click.
fn lead(seconds: i64) -> Lead {
    let click = Some(EventId::new(Millis(NOON - seconds * 1_000), [7; 10]));
    let credited = Some(Credited { partner: ann(), link: None, ad: None, click });
    Lead { place: place(0, 1), credited, network: Some("192.0.2.0/24".to_owned()) }
}

/// Somebody else's lead from the same network.
fn from_there(minute: i64, id: u8, partner: &str, network: &str) -> RelatedLead {
    let source = Some((partner.parse().unwrap(), network.to_owned()));
    RelatedLead { contact: FactId([id; 16]), place: place(minute, id), source }
}

fn came(contact: FactId, minute: i64) -> RelatedLead {
    RelatedLead { contact, place: place(minute, 9), source: None }
}

fn signals(related: Related, seconds: i64, review: &serde_json::Value) -> Vec<Signal> {
    let review: Review = serde_json::from_value(review.clone()).unwrap();
    let case = Case { leads: vec![lead(seconds)], ..Case::default() };
    let world = World::new(related).with_case(ME, &case);
    let partner = ann();
    let subject = Subject { contact: ME, partner: &partner, lead: &case.leads[0] };
    let judged = judge(&world, subject, &case, Millis(NOON), &review);
    assert_eq!(judged.score, judged.reasons.iter().map(|reason| reason.points).sum::<u32>());
    judged.reasons.iter().map(|reason| reason.signal).collect()
}

fn lines(values: &[(FactId, &str)]) -> Vec<(FactId, String)> {
    values.iter().map(|(contact, value)| (*contact, (*value).to_owned())).collect()
}

#[test]
fn each_signal_is_there_and_is_not() {
    let partner = || vec![(ann(), "ann@home.example".to_owned())];
    let mails = |mine: &str, other: &str| lines(&[(ME, mine), (OTHER, other)]);
    let clicks = |bots, own| vec![PartnerClicks { partner: ann(), bots, own }];
    let base = Related::default;
    let four = |minutes: [i64; 4], partner: &str, network: &str| {
        minutes.iter().zip(10..).map(|(minute, id)| from_there(*minute, id, partner, network)).collect::<Vec<_>>()
    };
    let here = "192.0.2.0/24";
    let cases: Vec<(&str, Related, i64, Option<Signal>)> = vec![
        ("nothing", base(), 60, None),
        (
            "own address",
            Related { mails: mails("ann@home.example", "x"), partners: partner(), ..base() },
            60,
            Some(Signal::SelfMail),
        ),
        ("another address", Related { mails: mails("bo@home.example", "x"), partners: partner(), ..base() }, 60, None),
        (
            "own payment",
            Related {
                mails: mails("bo@home.example", "ann@home.example"),
                payments: lines(&[(ME, "card"), (OTHER, "card")]),
                partners: partner(),
                ..base()
            },
            60,
            Some(Signal::SelfPayment),
        ),
        (
            "somebody else's payment, who is no partner and came to no program",
            Related {
                mails: mails("bo@home.example", "eve@home.example"),
                payments: lines(&[(ME, "card"), (OTHER, "card")]),
                partners: partner(),
                ..base()
            },
            60,
            None,
        ),
        (
            "own browser",
            Related {
                mails: mails("bo@home.example", "ann@home.example"),
                visitors: lines(&[(ME, "v"), (OTHER, "v")]),
                partners: partner(),
                ..base()
            },
            60,
            Some(Signal::SelfVisitor),
        ),
        (
            "another browser",
            Related {
                mails: mails("bo@home.example", "ann@home.example"),
                visitors: lines(&[(ME, "v"), (OTHER, "w")]),
                partners: partner(),
                ..base()
            },
            60,
            None,
        ),
        (
            "the same address, before",
            Related { mails: mails("bo@home.example", "bo@home.example"), leads: vec![came(OTHER, -1)], ..base() },
            60,
            Some(Signal::SameMail),
        ),
        (
            "the same address, afterwards",
            Related { mails: mails("bo@home.example", "bo@home.example"), leads: vec![came(OTHER, 1)], ..base() },
            60,
            None,
        ),
        (
            "the same payment, before",
            Related { payments: lines(&[(ME, "card"), (OTHER, "card")]), leads: vec![came(OTHER, -1)], ..base() },
            60,
            Some(Signal::SamePayment),
        ),
        (
            "another payment, before",
            Related { payments: lines(&[(ME, "card"), (OTHER, "cash")]), leads: vec![came(OTHER, -1)], ..base() },
            60,
            None,
        ),
        ("thrown away", Related { mails: mails("x@mailinator.com", "y"), ..base() }, 60, Some(Signal::DisposableMail)),
        ("kept", Related { mails: mails("x@gmail.com", "y"), ..base() }, 60, None),
        ("a burst around", Related { leads: four([-30, -10, 5, 29], "ann", here), ..base() }, 60, Some(Signal::Burst)),
        (
            "a burst before",
            Related { leads: four([-60, -40, -20, -1], "ann", here), ..base() },
            60,
            Some(Signal::Burst),
        ),
        ("too far apart", Related { leads: four([-40, -30, 30, 40], "ann", here), ..base() }, 60, None),
        ("another network", Related { leads: four([-3, -2, 2, 3], "ann", "198.51.100.0/24"), ..base() }, 60, None),
        ("another partner", Related { leads: four([-3, -2, 2, 3], "bob", here), ..base() }, 60, None),
        ("too fast", base(), 2, Some(Signal::TooFast)),
        ("not too fast", base(), 3, None),
        ("bots", Related { clicks: clicks(50, 0), ..base() }, 60, Some(Signal::BotShare)),
        ("few bots", Related { clicks: clicks(45, 0), ..base() }, 60, None),
        ("own clicks", Related { clicks: clicks(0, 20), ..base() }, 60, Some(Signal::OwnClicks)),
        ("few own clicks", Related { clicks: clicks(0, 15), ..base() }, 60, None),
    ];
    for (name, related, seconds, expected) in cases {
        assert_eq!(signals(related, seconds, &serde_json::json!({})), Vec::from_iter(expected), "{name}");
    }
}

/// One person who leaves many leads is no burst.
#[test]
fn a_burst_counts_people() {
    let mut leads: Vec<RelatedLead> = (1..9).map(|minute| from_there(minute, 10, "ann", "192.0.2.0/24")).collect();
    for (minute, lead) in (1..).zip(&mut leads) {
        lead.place.id = FactId([100 + minute; 16]);
    }
    assert_eq!(signals(Related { leads, ..Related::default() }, 60, &serde_json::json!({})), []);
}

#[test]
fn weights_and_own_domains_are_the_programs() {
    let mails = lines(&[(ME, "x@throw.example")]);
    let related = || Related { mails: mails.clone(), ..Related::default() };
    let own = serde_json::json!({"disposable_domains": ["throw.example"]});
    assert_eq!(signals(related(), 1, &own), [Signal::DisposableMail, Signal::TooFast]);
    let off = serde_json::json!({"disposable_domains": ["throw.example"], "weights": {"too_fast": 0}});
    assert_eq!(signals(related(), 1, &off), [Signal::DisposableMail]);
}

#[test]
fn an_approval_speaks_for_what_was_seen() {
    let review: Review = serde_json::from_value(serde_json::json!({"hold_from": 30})).unwrap();
    let held = |covers: &[Signal], bots: u32, review: &Review| {
        let verdict = Verdict::Approve;
        let ruling = Ruling { place: place(5, 5), verdict, note: String::new(), covers: covers.to_vec() };
        let case = Case { leads: vec![lead(1)], rulings: vec![ruling], ..Case::default() };
        let clicks = vec![PartnerClicks { partner: ann(), bots, own: 0 }];
        let world = World::new(Related { clicks, ..Related::default() }).with_case(ME, &case);
        let partner = ann();
        let subject = Subject { contact: ME, partner: &partner, lead: &case.leads[0] };
        judge(&world, subject, &case, Millis(NOON), review).held
    };
    assert!(held(&[], 0, &review));
    assert!(!held(&[Signal::TooFast], 0, &review));
    assert!(held(&[Signal::TooFast], 90, &review), "nobody had seen the bots");
    assert!(!held(&[Signal::TooFast, Signal::BotShare], 90, &review));
    assert!(!held(&[], 0, &Review { hold_from: Some(31), ..review.clone() }));
    assert!(!held(&[], 0, &Review { hold_from: None, ..review.clone() }));
    assert!(held(&[], 0, &Review { from: Some(Millis(NOON)), ..review.clone() }));
    assert!(!held(&[], 0, &Review { from: Some(Millis(NOON + 1)), ..review }), "who came before is left alone");
}

#[test]
fn those_whom_a_fact_concerns_are_found() {
    let case = Case { leads: vec![lead(60)], ..Case::default() };
    let review = Review { burst_leads: 3, ..Review::default() };
    let leads = vec![
        from_there(-20, 10, "ann", "192.0.2.0/24"),
        from_there(20, 11, "ann", "192.0.2.0/24"),
        from_there(59, 12, "bob", "192.0.2.0/24"),
        came(OTHER, 5),
    ];
    let mails = lines(&[(ME, "bo@home.example"), (OTHER, "bo@home.example")]);
    let world = World::new(Related { mails, leads, ..Related::default() }).with_case(ME, &case);
    let found: Vec<(u8, Vec<Signal>)> = neighbours(&world, ME, &case, &review)
        .into_iter()
        .map(|(who, s)| (who.0[0], s.into_iter().collect()))
        .collect();
    assert_eq!(found, [(2, vec![Signal::SameMail]), (10, vec![Signal::Burst]), (11, vec![Signal::Burst])]);
}
