//! The operating record: one of everything in it, and people who turn out to be one.

use std::task::Poll;

use super::*;
use crate::{
    catalog::record::{
        Answer, Answered, ConversionRow, Following, Inbound, Known, LeadRow, Name, NameKind, PartnerClicks, Person,
        ReferralRow, RefundRow, ReviewQuery, RewardRow, RulingRow, Told,
    },
    core::{
        code::Code,
        fact::{Credited, FactId, Verdict},
        id::VisitorId,
        money::Money,
        review::{Reason, Signal},
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

fn clicks() -> PartnerClicks {
    PartnerClicks { partner: code("abc123"), bots: 60, own: 5 }
}

fn following() -> Following {
    let (program, digest, behind) = (code("spring"), "d".to_owned(), String::new());
    Following { program, digest, started_at: NOON, ended_at: None, total: 3, done: 1, behind }
}

/// One of everything about one person.
pub(super) async fn fill(catalog: &Catalog) {
    let mut record = catalog.record().await.unwrap();
    let (contact, known) = record.contact(&person("ann@home.example", "7")).await.unwrap();
    assert!(!known);
    record.bind_visitor(contact, VisitorId([3; 16]), NOON).await.unwrap();
    let credited = Credited { partner: code("abc123"), link: Some(code("haircare")), ad: None, click: None };
    let lead = LeadRow {
        id: None,
        program: code("spring"),
        contact,
        click: None,
        metadata: "{}".to_owned(),
        credited: Some(credited.clone()),
        decision: "{}".to_owned(),
        network: Some("192.0.2.0/24".to_owned()),
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
    let named = ConversionRow {
        invoice: Some("in_2".to_owned()),
        contact: None,
        told_by: "names",
        told_as: String::new(),
        ..sale.clone()
    };
    let Told::New(named) = record.conversion(&named).await.unwrap() else { panic!("it is new") };
    let email = Name { place: 4, kind: NameKind::Email, value: "somebody@home.example".to_owned() };
    record.add_names(named, &[email]).await.unwrap();
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
    let covers = vec![Signal::Burst];
    let ruling = RulingRow { program, contact, verdict: Verdict::Approve, note, covers: covers.clone(), at: NOON };
    record.ruling(&ruling).await.unwrap();
    let case = record.case(contact, &code("spring")).await.unwrap();
    assert_eq!((case.leads.len(), case.conversions.len(), case.rulings.len()), (1, 1, 1));
    assert_eq!((case.conversions[0].refunded, &case.leads[0].credited), (99, &Some(credited)));
    assert_eq!((case.leads[0].network.as_deref(), &case.rulings[0].covers), (Some("192.0.2.0/24"), &covers));
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
        score: 40,
        reasons: vec![Reason { signal: Signal::Burst, points: 40, words: "many".to_owned(), other: Some(contact) }],
        held: true,
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
    super::touch::fill(&mut record).await;
    let answer = Answer { status: 201, body: "{}".to_owned() };
    record.keep_answer("leads", "k", "d", &answer).await.unwrap();
    assert_eq!(record.answered("leads", "k", "d").await.unwrap(), Answered::Yes(answer.clone()));
    assert_eq!(record.answered("leads", "k", "e").await.unwrap(), Answered::Otherwise(answer));
    assert_eq!(record.answered("refunds", "k", "d").await.unwrap(), Answered::No);
    record.put_partner_clicks(&clicks()).await.unwrap();
    record.put_following(&following()).await.unwrap();
    record.commit().await.unwrap();
    let secret = crate::config::secret::Secret::new("whsec_1");
    catalog.put_inbound(&code("stripe"), "stripe", &json!({}), Some(&[secret])).await.unwrap();
    let kind = uploads::UploadKind::Leads;
    let file = "email\nno\n";
    let upload = catalog.create_upload(kind, &["email".to_owned()], file, (6, 2)).await.unwrap();
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
async fn what_is_held_is_listed_and_what_people_have_in_common_is_found() {
    let fixture = Fixture::spring(BACKEND).await;
    fill(&fixture.catalog).await;
    let query = |signal| ReviewQuery { signal: Some(signal), limit: 1, ..ReviewQuery::default() };
    let page = fixture.catalog.review(&query(Signal::Burst)).await.unwrap();
    assert_eq!(
        (page.items.len(), page.items[0].gifts, page.items[0].stake.len()),
        (1, 0, 0),
        "what is held until a date does not wait"
    );
    assert_eq!(page.items[0].person.external_id.as_deref(), Some("7"));
    assert!(fixture.catalog.review(&query(Signal::TooFast)).await.unwrap().items.is_empty());
    let last = &page.items[0].referral;
    let cursor = Some(format!("{}.{}.{}", last.score, last.since.0, last.id));
    let behind = ReviewQuery { cursor, limit: 1, ..ReviewQuery::default() };
    assert!(fixture.catalog.review(&behind).await.unwrap().items.is_empty());

    let mut record = fixture.catalog.record().await.unwrap();
    let (other, _) = record.contact(&person("Ann+2@home.example", "")).await.unwrap();
    let near = [(code("abc123"), "192.0.2.0/24".to_owned(), NOON.plus(5))];
    let related = record.related(other, &code("spring"), Some(&code("abc123")), &near, 5).await.unwrap();
    assert_eq!((related.mails.len(), related.clicks), (2, vec![clicks()]), "{:?}", related.mails);
    assert_eq!(related.leads.len(), 2, "once for the address, once for the network: {:?}", related.leads);
    let far = record.related(other, &code("spring"), Some(&code("abc123")), &near, 4).await.unwrap();
    assert_eq!(far.leads.len(), 1);
    assert_eq!(record.take_follow_due(5).await.unwrap(), [last.contact], "the partner's people are looked at again");
    record.follow_later(other).await.unwrap();
    record.follow_later(other).await.unwrap();
    record.commit().await.unwrap();
    assert!(fixture.catalog.has_follow_due().await.unwrap());
    assert_eq!(fixture.catalog.following(&code("spring")).await.unwrap(), Some(following()));
    assert_eq!(fixture.catalog.partner_clicks().await.unwrap(), [clicks()]);

    let history = fixture.catalog.history(&code("spring"), 5).await.unwrap().unwrap();
    assert_eq!((history.cases.len(), history.referrals.len(), history.rewards.len()), (1, 1, 1));
    let case = &history.cases[&last.contact];
    assert_eq!((case.leads.len(), case.conversions[0].refunded, case.rulings.len()), (1, 99, 1));
    assert_eq!(fixture.catalog.contacts_of(&code("spring"), "", 9).await.unwrap(), [last.contact]);
    assert!(fixture.catalog.history(&code("spring"), 0).await.unwrap().is_none(), "too many");
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
    record.bind_visitor(younger, VisitorId([4; 16]), NOON).await.unwrap();
    let (one, _) = record.contact(&person("ann@work.example", "7")).await.unwrap();
    assert_eq!(one, older);
    for email in ["ann@work.example", "ann@home.example"] {
        assert_eq!(record.contact_by(Known::Email, email).await.unwrap(), Some(older), "{email}");
    }
    record.commit().await.unwrap();
}

/// Many at once: the bad ones leave nothing, and take nothing with them.
#[tokio::test]
async fn facts_that_wait_share_a_transaction_and_a_bad_one_is_taken_back_alone() {
    let fixture = Fixture::spring(BACKEND).await;
    let told = fixture.catalog.outbox_last().await.unwrap();
    let tell = |number: usize| {
        let catalog = fixture.catalog.clone();
        async move {
            let mut record = catalog.record().await?;
            record.contact(&person(&format!("{number}@home.example"), "")).await?;
            record.tell("lead.created", &code("spring"), json!({ "number": number })).await?;
            if number.is_multiple_of(4) {
                // Dropped: in the middle of what it does, for all that others know.
                return Ok(false);
            }
            record.commit().await.map(|()| true)
        }
    };
    let tasks: Vec<_> = (0..40).map(|number| tokio::spawn(tell(number))).collect();
    let mut kept = 0;
    for task in tasks {
        kept += u64::from(task.await.unwrap().unwrap_or_else(|error: CatalogError| panic!("{error}")));
    }
    assert_eq!(kept, 30);
    // Items can be written: nobody holds the transaction.
    fixture.put::<Partner>(json!({"code": "later"})).await;
    assert_eq!(fixture.catalog.outbox_last().await.unwrap(), told + kept);
    let numbers: Vec<u64> = fixture.catalog.outbox_after(told, 100).await.unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(numbers, (told + 1..=told + kept).collect::<Vec<_>>(), "no gap");
    let mut record = fixture.catalog.record().await.unwrap();
    for number in 0..40 {
        let known = record.contact_by(Known::Email, &format!("{number}@home.example")).await.unwrap();
        assert_eq!(known.is_some(), number % 4 != 0, "{number}");
    }
}

/// Who gives up leaves the others alone.
#[tokio::test]
async fn a_fact_that_fails_in_the_database_is_taken_back_alone() {
    let fixture = Fixture::spring(BACKEND).await;
    let lead = |program: &str, contact| LeadRow {
        id: None,
        program: code(program),
        contact,
        click: None,
        metadata: "{}".to_owned(),
        credited: None,
        decision: "{}".to_owned(),
        network: None,
        at: NOON,
    };
    let (first, second) = tokio::join!(
        async {
            let mut record = fixture.catalog.record().await?;
            let (contact, _) = record.contact(&person("ann@home.example", "")).await?;
            record.lead(&lead("spring", contact)).await?;
            record.commit().await
        },
        async {
            let mut record = fixture.catalog.record().await?;
            let (contact, _) = record.contact(&person("bob@home.example", "")).await?;
            // There is no such contact: the database refuses it.
            record.lead(&lead("spring", FactId([7; 16]))).await?;
            record.lead(&lead("spring", contact)).await?;
            record.commit().await
        }
    );
    first.unwrap();
    assert!(second.is_err());
    let mut record = fixture.catalog.record().await.unwrap();
    assert!(record.contact_by(Known::Email, "ann@home.example").await.unwrap().is_some());
    assert_eq!(record.contact_by(Known::Email, "bob@home.example").await.unwrap(), None);
}

/// Who goes away in the middle of a fact, wherever that is, leaves nothing; and whoever was told that theirs is kept finds it.
#[tokio::test]
async fn a_fact_that_is_given_up_anywhere_leaves_nothing_behind() {
    let fixture = Fixture::spring(BACKEND).await;
    let told = fixture.catalog.outbox_last().await.unwrap();
    let catalog = fixture.catalog.clone();
    let tell = move |number: u64| {
        let catalog = catalog.clone();
        async move {
            let mut record = catalog.record().await?;
            record.contact(&person(&format!("{number}@home.example"), "")).await?;
            record.foresee_names(&[(Known::External, "nobody")], None, None, &[]).await?;
            record.tell("lead.created", &code("spring"), json!({ "number": number })).await?;
            record.commit().await
        }
    };
    let tasks: Vec<_> = (0..60_u64)
        .map(|number| {
            let tell = tell.clone();
            tokio::spawn(async move {
                if !number.is_multiple_of(3) {
                    // Who shared a transaction with one that was given up is told so, and tells it again.
                    while let Err(error) = tell(number).await {
                        assert!(error.is_passing(), "{error}");
                    }
                    return;
                }
                let mut fact = Box::pin(tell(number));
                for _ in 0..number % 11 {
                    let polled = std::future::poll_fn(|context| Poll::Ready(fact.as_mut().poll(context))).await;
                    if polled.is_ready() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    tell(99).await.unwrap();
    let rows = fixture.catalog.outbox_after(told, 100).await.unwrap();
    let there: Vec<u64> =
        rows.iter().map(|row| serde_json::from_str::<Value>(&row.body).unwrap()["number"].as_u64().unwrap()).collect();
    let mut record = fixture.catalog.record().await.unwrap();
    for number in 0..60 {
        let known = record.contact_by(Known::Email, &format!("{number}@home.example")).await.unwrap().is_some();
        assert_eq!(known, there.contains(&number), "{number}: its row, and what it tells");
        assert!(known || number.is_multiple_of(3), "{number} was told that it is kept");
    }
}
