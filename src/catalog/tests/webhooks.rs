//! Endpoints and mails in the catalog: leases, records, replays, secrets. The time stands still unless a test moves it.

use super::{
    super::{
        mails::{MailOutcome, NewMail},
        outbox::Entry,
        retention::Expiring,
        webhooks::{Delivery, DeliveryResult, ReplayFrom, Retry, Step, WebhookSettings, WebhookState},
    },
    *,
};
use crate::core::{
    limits::WEBHOOK_LOG_ROWS,
    time::{DAY_MS, HOUR_MS},
};

const LEASE_MS: i64 = 20_000;

fn settings(body: Value) -> WebhookSettings {
    let Value::Object(body) = body else { panic!("an object is needed") };
    WebhookSettings::read(body, |address| Ok(address.to_owned())).unwrap()
}

/// An endpoint, and so many events behind it.
async fn with_events(events: i64) -> (Fixture, String) {
    let fixture = Fixture::new(BACKEND).await;
    let body = settings(json!({"address": "https://shop.example/hooks"}));
    let made = fixture.catalog.create_webhook(&body).await.unwrap();
    happen(&fixture, events).await;
    (fixture, made.webhook.id)
}

async fn happen(fixture: &Fixture, events: i64) {
    let entry =
        |n| Entry { kind: "reward.due", program: "spring".to_owned(), body: format!("{{\"n\":{n}}}"), event: None };
    fixture.catalog.tell((0..events).map(entry)).await.unwrap();
}

fn step(seq: i64) -> Step {
    Step {
        seq,
        failures: 0,
        failing_since: Millis(0),
        resume_at: Millis(0),
        log: None,
        set_aside: None,
        done: None,
        back_since: None,
        disable: None,
    }
}

fn tried(result: DeliveryResult) -> Delivery {
    Delivery {
        number: 0,
        seq: Some(1),
        kind: "reward.due".to_owned(),
        message: "msg_1".to_owned(),
        attempt: 1,
        at: NOON,
        duration_ms: 3,
        result,
        status: Some(500),
        error: None,
        answer: Some("oh".to_owned()),
    }
}

fn retry(seq: i64, due_at: Millis) -> Retry {
    Retry { seq, attempts: 1, first_at: NOON, due_at, row: None }
}

fn lease_end(fixture: &Fixture) -> Millis {
    fixture.clock.now().plus(LEASE_MS)
}

/// Whether this process gets the endpoint.
async fn claims(fixture: &Fixture, id: &str, holder: &str) -> bool {
    let now = fixture.clock.now();
    fixture.catalog.claim_webhook(id, holder, now, lease_end(fixture)).await.unwrap().is_some()
}

async fn records(fixture: &Fixture, id: &str, holder: &str, step: Step) -> bool {
    fixture.catalog.record_webhook(id, holder, lease_end(fixture), step).await.unwrap()
}

async fn to_serve(fixture: &Fixture, holder: &str) -> usize {
    fixture.catalog.webhooks_to_serve(holder, fixture.clock.now()).await.unwrap().len()
}

fn mail() -> NewMail {
    let (recipient, subject) = ("ann@shop.example".to_owned(), "Hello".to_owned());
    NewMail { recipient, subject, text: "…".to_owned(), html: None }
}

/// Rows in every table that is about endpoints and mails.
pub(super) async fn fill(fixture: &Fixture) {
    let body = settings(json!({"address": "https://shop.example/hooks"}));
    let id = fixture.catalog.create_webhook(&body).await.unwrap().webhook.id;
    assert!(claims(fixture, &id, "a").await);
    let failed = Step { set_aside: Some(retry(1, NOON)), log: Some(tried(DeliveryResult::Failed)), ..step(1) };
    assert!(records(fixture, &id, "a", failed).await);
    fixture.catalog.queue_mail(&mail()).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_belongs_to_one_process_at_a_time() {
    let (fixture, id) = with_events(2).await;
    assert_eq!(to_serve(&fixture, "a").await, 1);
    assert!(claims(&fixture, &id, "a").await);
    assert!(!claims(&fixture, &id, "b").await);
    assert_eq!((to_serve(&fixture, "a").await, to_serve(&fixture, "b").await), (1, 0));
    assert!(!records(&fixture, &id, "b", step(1)).await, "only the holder records");
    fixture.clock.advance(LEASE_MS - 1);
    assert!(records(&fixture, &id, "a", step(1)).await, "and renews its lease by it");
    fixture.clock.advance(LEASE_MS - 1);
    assert!(!claims(&fixture, &id, "b").await);
    fixture.clock.advance(1);
    assert!(claims(&fixture, &id, "b").await, "it has run out");
    assert!(!records(&fixture, &id, "a", step(2)).await, "who lost it writes nothing");
    assert_eq!(fixture.catalog.webhook(&id).await.unwrap().seq, 1);
    fixture.catalog.release_webhook(&id, "a").await.unwrap();
    assert!(!claims(&fixture, &id, "a").await, "nobody lets go of another's");
    fixture.catalog.release_webhook(&id, "b").await.unwrap();
    assert!(claims(&fixture, &id, "a").await);
    assert!(records(&fixture, &id, "a", step(2)).await);
    assert_eq!(to_serve(&fixture, "a").await, 0, "nothing is left to do");
}

/// Whoever reads the lease's row second waits for the first, and then sees that it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_claim_at_once_one_gets_it() {
    let (fixture, id) = with_events(1).await;
    let now = fixture.clock.now();
    let mut claims = Vec::new();
    for process in 0..4 {
        let (catalog, id) = (fixture.open(false).await.unwrap(), id.clone());
        claims.push(tokio::spawn(async move {
            catalog.claim_webhook(&id, &format!("process {process}"), now, now.plus(LEASE_MS)).await.unwrap().is_some()
        }));
    }
    let mut got = 0;
    for claim in claims {
        got += usize::from(claim.await.unwrap());
    }
    assert_eq!(got, 1);
}

#[tokio::test]
async fn what_failed_is_set_aside_until_it_is_due() {
    let (fixture, id) = with_events(2).await;
    assert!(claims(&fixture, &id, "a").await);
    let due_at = NOON.plus(60_000);
    let failed = Step { set_aside: Some(retry(1, due_at)), log: Some(tried(DeliveryResult::Failed)), ..step(1) };
    assert!(records(&fixture, &id, "a", failed).await);
    assert!(records(&fixture, &id, "a", step(2)).await);
    let webhook = fixture.catalog.webhook(&id).await.unwrap();
    assert_eq!((webhook.seq, webhook.retries), (2, 1));
    assert_eq!(to_serve(&fixture, "a").await, 0);
    assert_eq!(fixture.catalog.due_webhook_retry(&id, fixture.clock.now()).await.unwrap(), None);
    assert_eq!(fixture.catalog.webhooks_passed().await.unwrap(), 0, "the outbox has to keep it");
    assert_eq!(fixture.catalog.oldest_webhook_row().await.unwrap(), Some(NOON));
    fixture.clock.advance(60_000);
    assert_eq!(to_serve(&fixture, "a").await, 1);
    let due = fixture.catalog.due_webhook_retry(&id, fixture.clock.now()).await.unwrap().unwrap();
    assert_eq!((due.seq, due.attempts, due.row.unwrap().body.as_str()), (1, 1, r#"{"n":0}"#));
    let later = Step { set_aside: Some(Retry { attempts: 2, ..retry(1, due_at.plus(HOUR_MS)) }), ..step(2) };
    assert!(records(&fixture, &id, "a", later).await);
    assert_eq!(to_serve(&fixture, "a").await, 0);
    assert!(records(&fixture, &id, "a", Step { back_since: Some(NOON.plus(1)), ..step(2) }).await);
    assert_eq!(to_serve(&fixture, "a").await, 0, "it choked on this one before it was away");
    assert!(records(&fixture, &id, "a", Step { back_since: Some(NOON), ..step(2) }).await);
    let due = fixture.catalog.due_webhook_retry(&id, fixture.clock.now()).await.unwrap().unwrap();
    assert_eq!((due.attempts, due.first_at), (2, NOON), "an endpoint that is back need not wait for it");
    assert!(records(&fixture, &id, "a", Step { done: Some(1), ..step(2) }).await);
    assert_eq!(fixture.catalog.webhooks_passed().await.unwrap(), 2);
    assert_eq!(fixture.catalog.oldest_webhook_row().await.unwrap(), None);
}

#[tokio::test]
async fn a_replay_goes_back_and_takes_the_endpoint_away_from_who_has_it() {
    let (fixture, id) = with_events(3).await;
    fixture.clock.advance(HOUR_MS);
    happen(&fixture, 2).await;
    assert!(claims(&fixture, &id, "a").await);
    let far = Step { set_aside: Some(retry(2, NOON)), ..step(5) };
    assert!(records(&fixture, &id, "a", far).await);
    let replayed = fixture.catalog.replay_webhook(&id, ReplayFrom::Seq(2)).await.unwrap();
    assert_eq!((replayed.seq, replayed.retries), (1, 0), "what was set aside comes with the rest");
    assert!(!records(&fixture, &id, "a", step(5)).await, "what was under way does not pass over it");
    assert!(claims(&fixture, &id, "b").await);

    let by_time = |time| fixture.catalog.replay_webhook(&id, ReplayFrom::Time(time));
    assert_eq!(by_time(NOON).await.unwrap().seq, 0);
    assert_eq!(by_time(NOON.plus(1)).await.unwrap().seq, 3);
    assert_eq!(by_time(NOON.plus(DAY_MS)).await.unwrap().seq, 5, "nothing is that new: everything is skipped");
    let nobody = fixture.catalog.replay_webhook("wh_0", ReplayFrom::Seq(1)).await;
    assert!(matches!(nobody, Err(CatalogError::NotFound { .. })));
}

#[tokio::test]
async fn the_older_secret_signs_until_its_end() {
    let fixture = Fixture::new(BACKEND).await;
    let made = fixture.catalog.create_webhook(&settings(json!({"address": "https://a.example/"}))).await.unwrap();
    let id = made.webhook.id;
    let secrets = async |catalog: &Catalog, now| {
        let claim = catalog.webhook_with_secrets(&id, now).await.unwrap().unwrap();
        claim.secrets.iter().map(|secret| secret.expose().to_owned()).collect::<Vec<_>>()
    };
    let first = made.secret.expose().to_owned();
    assert_eq!(secrets(&fixture.catalog, NOON).await, [first.as_str()]);
    let second = fixture.catalog.rotate_webhook_secret(&id, NOON.plus(HOUR_MS)).await.unwrap();
    let second = second.secret.expose().to_owned();
    assert_eq!(secrets(&fixture.catalog, NOON).await, [second.as_str(), &first]);
    assert_eq!(secrets(&fixture.catalog, NOON.plus(HOUR_MS)).await, [second.as_str()]);
    let third = fixture.catalog.rotate_webhook_secret(&id, NOON.plus(HOUR_MS)).await.unwrap();
    assert_eq!(secrets(&fixture.catalog, NOON).await, [third.secret.expose(), &second]);
    let printed = format!("{third:?}");
    assert!(!printed.contains("whsec_"), "{printed}");
}

#[tokio::test]
async fn the_log_keeps_the_newest_and_comes_in_pages() {
    let (fixture, id) = with_events(1).await;
    assert!(claims(&fixture, &id, "a").await);
    for _ in 0..WEBHOOK_LOG_ROWS + 2 {
        let log = Some(tried(DeliveryResult::Failed));
        assert!(records(&fixture, &id, "a", Step { log, ..step(1) }).await);
    }
    let test = Delivery { seq: None, ..tried(DeliveryResult::Delivered) };
    assert_eq!(fixture.catalog.log_webhook_test(&id, test).await.unwrap().number, WEBHOOK_LOG_ROWS + 3);
    let (mut numbers, mut cursor) = (Vec::new(), None);
    loop {
        let page = fixture.catalog.webhook_deliveries(&id, cursor.as_deref(), 300).await.unwrap();
        numbers.extend(page.items.iter().map(|row| row.number));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(numbers, (4..=WEBHOOK_LOG_ROWS + 3).rev().collect::<Vec<_>>());
    let wrong = fixture.catalog.webhook_deliveries(&id, Some("x"), 1).await;
    assert!(matches!(wrong, Err(CatalogError::Invalid(_))));
}

#[tokio::test]
async fn a_disabled_endpoint_is_left_alone_and_keeps_nothing() {
    let (fixture, id) = with_events(2).await;
    assert!(claims(&fixture, &id, "a").await);
    let gone = Step { disable: Some("it answered 410 Gone".to_owned()), failures: 9, ..step(0) };
    assert!(records(&fixture, &id, "a", gone).await);
    let webhook = fixture.catalog.webhook(&id).await.unwrap();
    assert_eq!((webhook.state, webhook.reason.as_deref()), (WebhookState::Disabled, Some("it answered 410 Gone")));
    assert_eq!(to_serve(&fixture, "a").await, 0);
    assert!(!claims(&fixture, &id, "a").await);
    assert_eq!(fixture.catalog.webhooks_passed().await.unwrap(), 2);
    let body = |state: &str| settings(json!({"address": "https://b.example/", "state": state}));
    let kept = fixture.catalog.update_webhook(&id, &body("disabled")).await.unwrap();
    assert_eq!(kept.reason.as_deref(), Some("it answered 410 Gone"));
    let active = fixture.catalog.update_webhook(&id, &body("active")).await.unwrap();
    assert_eq!((active.state, active.reason, active.failures, active.seq), (WebhookState::Active, None, 0, 0));
    let by_hand = fixture.catalog.update_webhook(&id, &body("disabled")).await.unwrap();
    assert_eq!(by_hand.reason.as_deref(), Some("by hand"));
    fixture.catalog.delete_webhook(&id).await.unwrap();
    assert!(matches!(fixture.catalog.delete_webhook(&id).await, Err(CatalogError::NotFound { .. })));
}

#[tokio::test]
async fn a_mail_belongs_to_one_process_and_is_done_once() {
    let fixture = Fixture::new(BACKEND).await;
    let mail = mail();
    let id = fixture.catalog.queue_mail(&mail).await.unwrap();
    let claim = async |holder: &str| {
        let now = fixture.clock.now();
        fixture.catalog.claim_mails(holder, now, now.plus(LEASE_MS), 10).await.unwrap()
    };
    let claimed = claim("a").await;
    assert_eq!((claimed.len(), &claimed[0].mail, claimed[0].attempts), (1, &mail, 0));
    assert!(!format!("{claimed:?}").contains("ann@"), "addresses do not print");
    assert!(claim("b").await.is_empty());
    assert!(!fixture.catalog.record_mail(&id, "b", &MailOutcome::Sent).await.unwrap());
    let later = MailOutcome::Later { due_at: NOON.plus(HOUR_MS), error: "smtp 451".to_owned() };
    assert!(fixture.catalog.record_mail(&id, "a", &later).await.unwrap());
    assert!(claim("b").await.is_empty(), "it is not due");
    fixture.clock.advance(HOUR_MS);
    assert_eq!(claim("b").await[0].attempts, 1);
    fixture.clock.advance(LEASE_MS);
    assert_eq!(claim("c").await.len(), 1, "whose process died is taken over");
    assert_eq!(fixture.catalog.oldest_mail().await.unwrap(), Some(NOON));
    assert!(fixture.catalog.record_mail(&id, "c", &MailOutcome::Sent).await.unwrap());
    assert!(!fixture.catalog.record_mail(&id, "c", &MailOutcome::Sent).await.unwrap());
    assert_eq!(fixture.catalog.oldest_mail().await.unwrap(), None);
    assert_eq!(fixture.catalog.expire(Expiring::Mails, fixture.clock.now()).await.unwrap(), 0);
    assert_eq!(fixture.catalog.expire(Expiring::Mails, fixture.clock.now().plus(1)).await.unwrap(), 1);
}

#[test]
fn every_mistake_in_an_endpoint_is_told() {
    let Value::Object(body) = json!({"address": "x", "kinds": ["Reward", "a.*.b", "ok.*"], "programs": ["a b"], "state": "on",
        "colour": "red", "id": "wh_1", "created_at": "2026-03-01T00:00:00Z"})
    else {
        unreachable!("it is an object")
    };
    let mistakes = WebhookSettings::read(body, |_| Err("is wrong".to_owned())).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["address", "kinds[0]", "kinds[1]", "programs[0]", "state", "colour"]);
}

#[tokio::test]
async fn an_endpoint_asks_for_kinds_and_programs() {
    let fixture = Fixture::new(BACKEND).await;
    let body =
        json!({"address": "https://a.example/", "kinds": ["referral.created", "reward.*"], "programs": ["spring"]});
    let webhook = fixture.catalog.create_webhook(&settings(body)).await.unwrap().webhook;
    for (kind, program, wanted) in [
        ("referral.created", "spring", true),
        ("reward.due", "spring", true),
        ("referral.created.x", "spring", false),
        ("rewards", "spring", false),
        ("reward.due", "summer", false),
        ("reward.due", "", false),
    ] {
        assert_eq!(webhook.wants(kind, program), wanted, "{kind} {program}");
    }
}
