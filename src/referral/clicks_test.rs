//! Clicks of people who are known, step by step.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::{
    ClickFollower,
    arrival_test::{Fact, Office, Whose, block_on, object},
    told::ToldLead,
};
use crate::{
    core::{code::Code, event::Class, event::Event},
    store::{
        Arrived, BoxFuture, CreditedClick, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery, ReachRow,
        ReportError, Reports, TouchQuery, model::Model,
    },
};

fn click(visitor: u8, partner: &'static str, program: &'static str, day: i64) -> Fact {
    Fact::Click { visitor, partner, program, class: Class::Human, day }
}

fn lead(program: &'static str, visitor: Option<u8>, partner: Option<&'static str>, day: i64) -> Fact {
    Fact::Lead { program, visitor, email: Some('x'), external: None, partner, day, token: false }
}

/// The lines about referrals: program, partner, since how many days.
async fn referrals(office: &mut Office) -> Vec<String> {
    office.told().await.into_iter().filter(|line| line.starts_with("referral ")).collect()
}

async fn leads(office: &mut Office) -> Vec<String> {
    office.told().await.into_iter().filter(|line| line.starts_with("lead ")).collect()
}

#[test]
fn a_lead_is_credited_by_what_its_visitor_did_before_also_when_that_turns_up_late() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        office.tell(&click(1, "ann", "spring", 9)).await;
        office.tell(&lead("spring", Some(1), None, 5)).await;
        let before = referrals(&mut office).await;
        assert!(before.len() == 1 && before[0].contains(" in spring of ann by "), "{before:?}");
        // The program credits the last touch, and this one was later; it was on its way for days.
        office.tell(&click(1, "bob", "spring", 6)).await;
        let after = referrals(&mut office).await;
        assert!(after.len() == 1 && after[0].contains(" in spring of bob by "), "{after:?}");
        office.tell(&click(1, "ann", "spring", 5)).await;
        office.tell(&click(1, "ann", "spring", 4)).await;
        office.tell(&Fact::Click { visitor: 1, partner: "ann", program: "spring", class: Class::Test, day: 6 }).await;
        let same = leads(&mut office).await;
        assert_eq!(same.len(), 1, "who is a referral already needs no click: {same:?}");
        assert!(!same[0].contains("history_unasked"), "{same:?}");
    });
}

#[test]
fn who_is_known_is_credited_by_the_click_alone() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        office.tell(&lead("spring", Some(1), None, 9)).await;
        assert!(referrals(&mut office).await.is_empty(), "nobody brought them");
        office.tell(&click(2, "ann", "spring", 8)).await;
        office.tell(&Fact::Click { visitor: 1, partner: "ann", program: "spring", class: Class::Bot, day: 7 }).await;
        assert!(referrals(&mut office).await.is_empty(), "neither a stranger nor a bot counts");
        office.tell(&click(1, "bob", "spring", 5)).await;
        let first = referrals(&mut office).await;
        assert!(first.len() == 1 && first[0].contains(" of bob by "), "{first:?}");
        // An earlier one arrives later, and takes its place.
        office.tell(&click(1, "ann", "spring", 6)).await;
        let earlier = referrals(&mut office).await;
        assert!(earlier.len() == 1 && earlier[0].contains(" of ann by "), "{earlier:?}");
        let both = leads(&mut office).await;
        assert_eq!(both.len(), 2, "the lead that was told, and one for the click: {both:?}");
        assert!(both.iter().any(|line| line.contains("\"source\":\"click\"")), "{both:?}");
        // A form that was filled in before that leaves the click nothing to stand for.
        office.tell(&lead("spring", None, Some("bob"), 8)).await;
        let form = referrals(&mut office).await;
        assert!(form.len() == 1 && form[0].contains(" of bob by  "), "{form:?}");
        assert_eq!(leads(&mut office).await.len(), 2);
    });
}

#[test]
fn a_sale_that_is_told_by_the_click_of_somebody_known_is_theirs() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        office.tell(&lead("spring", Some(1), None, 9)).await;
        // The fact of this number is the click below: the shop was quicker than the event store.
        office.tell(&Fact::Sale { invoice: 1, whose: Whose::Click(4), amount: 100, day: 4 }).await;
        assert!(office.told().await.contains(&"sale 1 of nobody".to_owned()));
        office.tell(&click(1, "bob", "spring", 5)).await;
        let told = office.told().await;
        assert!(told.contains(&"sale 1 of x@home.example".to_owned()), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("referral ") && line.contains(" qualified ")), "{told:?}");
    });
}

#[test]
fn with_the_latest_credit_a_click_moves_it() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        office.tell(&lead("autumn", Some(1), Some("ann"), 9)).await;
        office.tell(&click(1, "bob", "autumn", 3)).await;
        let moved = referrals(&mut office).await;
        assert!(moved.len() == 1 && moved[0].contains(" in autumn of bob by "), "{moved:?}");
        office.tell(&click(1, "ann", "spring", 2)).await;
        let other = referrals(&mut office).await;
        assert!(other.len() == 2 && other[1].contains(" in spring of ann by "), "another program: {other:?}");
    });
}

/// An event store that is away at times.
#[derive(Default)]
struct Fickle {
    model: Model,
    away: AtomicBool,
}

impl Fickle {
    fn there(&self) -> Result<&Model, ReportError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(ReportError::Unavailable("it is away".to_owned())),
            false => Ok(&self.model),
        }
    }
}

impl Reports for Fickle {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        Box::pin(async { self.there()?.reach(query).await })
    }
    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        Box::pin(async { self.there()?.links(query).await })
    }
    fn events<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Box::pin(async move { self.there()?.events(filter, after, limit).await })
    }
    fn link_clicks<'a>(&'a self, links: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        Box::pin(async { self.there()?.link_clicks(links).await })
    }
    fn touches<'a>(&'a self, query: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        Box::pin(async { self.there()?.touches(query).await })
    }
    fn arrived<'a>(&'a self, behind: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        Box::pin(async { self.there()?.arrived(behind).await })
    }
}

#[test]
fn an_event_store_that_is_away_holds_no_lead_up_and_is_asked_again() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        let store = Arc::new(Fickle::default());
        office.tell(&click(1, "ann", "spring", 9)).await;
        std::mem::swap(&mut *office.events.events.lock().unwrap(), &mut *store.model.events.lock().unwrap());
        store.away.store(true, Ordering::Relaxed);
        office.desk = office.desk.clone().with_history(Arc::clone(&store) as _);
        office.follower = ClickFollower::new(office.desk.catalog.clone(), Arc::clone(&store) as _, "fickle");
        let told = json!({"program": "spring", "email": "x@home.example", "cookie": office.cookie(1)});
        let answer = office.desk.lead(&ToldLead::read(object(told)).unwrap(), None).await.unwrap();
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["referral"], Value::Null, "{answer:#}");
        assert!(answer["attribution"][1].as_str().unwrap().contains("could not be asked"), "{answer:#}");
        assert!(office.follower.turn().await.is_err(), "it is away");
        store.away.store(false, Ordering::Relaxed);
        let healed = office.told().await;
        assert!(healed.iter().any(|line| line.contains(" in spring of ann by ")), "{healed:?}");
        assert!(!healed.iter().any(|line| line.contains("history_unasked")), "{healed:?}");
    });
}

#[test]
fn two_followers_of_one_store_do_no_harm_to_each_other() {
    block_on(async {
        let mut office = Office::new(json!([])).await;
        office.tell(&lead("spring", Some(1), None, 9)).await;
        let mut other = ClickFollower::new(office.desk.catalog.clone(), Arc::clone(&office.events) as _, "model");
        for (day, partner) in [(8, "ann"), (7, "bob"), (6, "ann")] {
            office.tell(&click(1, partner, "spring", day)).await;
            other.catch_up().await.unwrap();
            office.follower.catch_up().await.unwrap();
        }
        let told = referrals(&mut office).await;
        assert!(told.len() == 1 && told[0].contains(" of ann by "), "{told:?}");
        let positions = office.desk.catalog.click_positions("model").await.unwrap();
        assert!(positions.len() == 1 && positions[0].next == 3, "{positions:?}");
    });
}
