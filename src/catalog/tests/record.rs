//! The operating record: one of everything in it, and people who turn out to be one.

use super::*;
use crate::{
    catalog::record::{
        Answer, Answered, ConversionRow, Inbound, Known, LeadRow, Name, NameKind, Person, ReferralRow, RefundRow,
        RewardRow, RulingRow, Told,
    },
    core::{
        code::Code,
        fact::{Credited, FactId, Verdict},
        id::VisitorId,
        money::Money,
        terms::{Owed, RewardState, Side},
    },
};

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn person(email: &str, external: &str) -> Person {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Person { email: some(email), external: some(external), ..Person::default() }
}

/// One of everything about one person.
pub(super) async fn fill(catalog: &Catalog) {
    let mut record = catalog.record().await.unwrap();
    let (contact, known) = record.contact(&person("ann@home.example", "7")).await.unwrap();
    assert!(!known);
    record.bind_visitor(contact, VisitorId([3; 16])).await.unwrap();
    let credited = Credited { partner: code("abc123"), link: Some(code("haircare")), ad: None, click: None };
    let lead = LeadRow {
        id: None,
        program: code("spring"),
        contact,
        click: None,
        metadata: "{}".to_owned(),
        credited: Some(credited.clone()),
        decision: "{}".to_owned(),
        at: NOON,
    };
    let lead = record.lead(&lead).await.unwrap();
    let sale = ConversionRow {
        invoice: Some("in_1".to_owned()),
        contact: Some(contact),
        told_by: "email",
        told_as: "ann@home.example".to_owned(),
        program: None,
        event: "sale".to_owned(),
        money: Some(Money::new(999, "EUR".parse().unwrap())),
        source: "api".to_owned(),
        digest: "d".to_owned(),
        payment: Some("hash".to_owned()),
        standing: 9,
        at: NOON,
    };
    let Told::New(cause) = record.conversion(&sale).await.unwrap() else { panic!("it is new") };
    assert_eq!(record.conversion(&sale).await.unwrap(), Told::Again(cause));
    let email = Name { place: 2, kind: NameKind::Email, value: "ann@home.example".to_owned() };
    record.add_names(cause, &[email]).await.unwrap();
    record.one_payment(&["pi_1".to_owned(), "in_1".to_owned()], Some("hash")).await.unwrap();
    let event = Inbound { endpoint: "stripe", event: "evt_1", kind: "invoice.paid", ignored: false };
    assert!(record.first_time(event).await.unwrap() && !record.first_time(event).await.unwrap());
    record.fact_told(cause, &code("spring"), None).await.unwrap();
    let other = ConversionRow { digest: "e".to_owned(), ..sale };
    assert_eq!(record.conversion(&other).await.unwrap(), Told::Otherwise(cause));
    let refund = RefundRow {
        id: FactId([9; 16]),
        invoice: "in_1".to_owned(),
        amount: Some(99),
        reason: String::new(),
        digest: "d".to_owned(),
        at: NOON,
    };
    record.refund(&refund).await.unwrap();
    let (program, note) = (code("spring"), "seen".to_owned());
    record.ruling(&RulingRow { program, contact, verdict: Verdict::Qualify, note, at: NOON }).await.unwrap();
    let case = record.case(contact, &code("spring")).await.unwrap();
    assert_eq!((case.leads.len(), case.conversions.len(), case.rulings.len()), (1, 1, 1));
    assert_eq!((case.conversions[0].refunded, &case.leads[0].credited), (99, &Some(credited)));
    let id = record.fresh_id().unwrap();
    let referral = ReferralRow {
        id,
        program: code("spring"),
        contact,
        partner: code("abc123"),
        link: Some(code("haircare")),
        ad: None,
        click: None,
        lead,
        state: "qualified".to_owned(),
        state_at: NOON,
        reason: String::new(),
        since: NOON,
    };
    record.put_referral(&referral).await.unwrap();
    assert_eq!(record.referral_of(contact, &code("spring")).await.unwrap(), Some(referral));
    let reward = RewardRow {
        id: record.fresh_id().unwrap(),
        referral: id,
        program: code("spring"),
        partner: code("abc123"),
        rule: code("welcome"),
        side: Side::Partner,
        cause,
        level: 1,
        owed: Owed::Gift("a mug".to_owned()),
        state: RewardState::Held,
        reason: String::new(),
        withheld: String::new(),
        auto_issue: true,
        earned_at: NOON,
        held_until: NOON.plus(5),
        issued_at: None,
        reference: String::new(),
    };
    record.put_reward(&reward).await.unwrap();
    assert!(record.notice(&reward).await.unwrap());
    assert!(!record.notice(&reward).await.unwrap(), "it was told");
    assert_eq!(record.rewards_of(id).await.unwrap(), [reward]);
    let answer = Answer { status: 201, body: "{}".to_owned() };
    record.keep_answer("leads", "k", "d", &answer).await.unwrap();
    assert_eq!(record.answered("leads", "k", "d").await.unwrap(), Answered::Yes(answer.clone()));
    assert_eq!(record.answered("leads", "k", "e").await.unwrap(), Answered::Otherwise(answer));
    assert_eq!(record.answered("refunds", "k", "d").await.unwrap(), Answered::No);
    record.commit().await.unwrap();
    let secret = crate::config::secret::Secret::new("whsec_1");
    catalog.put_inbound(&code("stripe"), "stripe", &json!({}), Some(&[secret])).await.unwrap();
    let kind = uploads::UploadKind::Leads;
    let file = "email\nno\n";
    let upload = catalog.create_upload(kind, &["email".to_owned()], file, 6).await.unwrap();
    let mut record = catalog.record().await.unwrap();
    let refused = uploads::RefusedLine { line: 2, reason: "email".to_owned(), cells: vec!["no".to_owned()] };
    let step = uploads::UploadStep {
        from: 6,
        to: 9,
        line: 3,
        refused: vec![refused.clone()],
        done: true,
        ..Default::default()
    };
    assert!(record.upload_step(&upload.id, &step).await.unwrap());
    assert!(!record.upload_step(&upload.id, &step).await.unwrap(), "somebody has done it");
    record.commit().await.unwrap();
    assert_eq!(catalog.refused_lines(&upload.id).await.unwrap(), (vec!["email".to_owned()], vec![refused]));
}

#[tokio::test]
async fn everything_comes_back_as_it_was_written() {
    let fixture = Fixture::spring(BACKEND).await;
    fill(&fixture.catalog).await;
    let referrals = fixture.catalog.referrals(Some("spring"), None, None, 10).await.unwrap();
    assert_eq!((referrals.items.len(), referrals.next), (1, None));
    let view = fixture.catalog.referral(referrals.items[0].id).await.unwrap();
    assert_eq!(view.person.email.as_deref(), Some("ann@home.example"));
    assert!(!fixture.catalog.has_rewards_to_release().await.unwrap());
    fixture.clock.advance(5);
    assert!(fixture.catalog.has_rewards_to_release().await.unwrap());
}

#[tokio::test]
async fn two_contacts_that_are_one_become_the_older_one() {
    let fixture = Fixture::spring(BACKEND).await;
    fill(&fixture.catalog).await;
    fixture.clock.advance(5);
    let mut record = fixture.catalog.record().await.unwrap();
    let (older, known) = record.contact(&person("", "7")).await.unwrap();
    assert!(known);
    let (younger, known) = record.contact(&person("ann@work.example", "")).await.unwrap();
    assert!(!known && younger != older);
    record.bind_visitor(younger, VisitorId([4; 16])).await.unwrap();
    let (one, _) = record.contact(&person("ann@work.example", "7")).await.unwrap();
    assert_eq!(one, older);
    for email in ["ann@work.example", "ann@home.example"] {
        assert_eq!(record.contact_by(Known::Email, email).await.unwrap(), Some(older), "{email}");
    }
    record.commit().await.unwrap();
}
