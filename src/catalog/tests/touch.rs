//! Touches, visitors, the positions of followers, and what was told of a fact.

use std::collections::BTreeSet;

use super::*;
use crate::{
    catalog::record::{Binding, ClickPosition, ContactId, DecidedLead, Person, Recording, TouchRow, VisitorHistory},
    core::{
        code::Code,
        fact::{Credited, FactId},
        id::{EventId, VisitorId},
    },
};

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn touch(number: u8, visitor: u8, at: Millis) -> TouchRow {
    TouchRow {
        click: EventId([number; 16]),
        visitor: VisitorId([visitor; 16]),
        program: Some(code("spring")),
        link: None,
        partner: code("abc123"),
        ad: None,
        at,
    }
}

/// One of everything.
pub(super) async fn fill(record: &mut Recording) {
    assert!(record.put_touch(&touch(1, 3, NOON)).await.unwrap());
    assert!(!record.put_touch(&touch(1, 3, NOON)).await.unwrap(), "it is known");
    let position = ClickPosition { source: "topic".to_owned(), log: 3, next: 7 };
    assert!(record.move_click_positions("clickhouse", &[], &[position]).await.unwrap());
}

async fn known(record: &mut Recording) -> ContactId {
    let person = Person { email: Some("ann@home.example".to_owned()), ..Person::default() };
    record.contact(&person).await.unwrap().0
}

#[tokio::test]
async fn touches_and_visitors_come_back_and_the_earliest_binding_counts() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut record = fixture.catalog.record().await.unwrap();
    let contact = known(&mut record).await;
    let [one, two] = [3, 4].map(|number| VisitorId([number; 16]));
    record.history_asked(&[two]).await.unwrap();
    record.bind_visitor(contact, one, NOON.plus(9)).await.unwrap();
    record.bind_visitor(contact, one, NOON).await.unwrap();
    record.bind_visitor(contact, one, NOON.plus(5)).await.unwrap();
    record.bind_visitor(contact, two, NOON.plus(1)).await.unwrap();
    for touch in [touch(2, 4, NOON.plus(6)), touch(1, 3, NOON.plus(5)), touch(3, 5, NOON)] {
        record.put_touch(&touch).await.unwrap();
    }
    assert_eq!(record.touches_of(&[one, two]).await.unwrap(), [touch(1, 3, NOON.plus(5)), touch(2, 4, NOON.plus(6))]);
    let mut bindings = record.bindings(contact).await.unwrap();
    bindings.sort_by_key(|binding| binding.visitor);
    let binding = |visitor, since, history| Binding { visitor, since, history };
    assert_eq!(
        bindings,
        [binding(one, NOON, VisitorHistory::Unasked), binding(two, NOON.plus(1), VisitorHistory::AtLead)]
    );
    assert_eq!(record.contacts_of(&BTreeSet::from([two])).await.unwrap(), BTreeSet::from([contact]));
    record.commit().await.unwrap();

    let both = BTreeSet::from([one, two]);
    assert_eq!(fixture.catalog.unasked_visitors(10).await.unwrap().into_iter().collect::<BTreeSet<_>>(), both);
    let others = BTreeSet::from([two, VisitorId([9; 16])]);
    assert_eq!(fixture.catalog.bound_among(&others).await.unwrap(), BTreeSet::from([two]));
    let mut record = fixture.catalog.record().await.unwrap();
    record.history_is(&[one, two], VisitorHistory::Whole).await.unwrap();
    record.history_asked(&[one]).await.unwrap();
    record.commit().await.unwrap();
    assert!(fixture.catalog.unasked_visitors(10).await.unwrap().is_empty(), "what is whole stays whole");
    let person = Person { email: Some("ann@home.example".to_owned()), ..Person::default() };
    let visitors = fixture.catalog.visitors_of(&person).await.unwrap();
    assert!(visitors.len() == 2 && visitors.contains(&(one, VisitorHistory::Whole)), "{visitors:?}");
}

#[tokio::test]
async fn positions_move_for_one_follower_only() {
    let fixture = Fixture::spring(BACKEND).await;
    let position = |next| ClickPosition { source: "topic".to_owned(), log: 3, next };
    for (before, after, moved) in [(None, 7, true), (None, 8, false), (Some(7), 9, true), (Some(7), 10, false)] {
        let mut record = fixture.catalog.record().await.unwrap();
        let before: Vec<ClickPosition> = before.map(position).into_iter().collect();
        let done = record.move_click_positions("clickhouse", &before, &[position(after)]).await.unwrap();
        assert_eq!(done, moved, "{before:?} to {after}");
        record.commit().await.unwrap();
    }
    assert_eq!(fixture.catalog.click_positions("clickhouse").await.unwrap(), [position(9)]);
    assert!(fixture.catalog.click_positions("sqlite:other").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lead_by_click_comes_goes_and_owns_no_click_of_its_own() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut record = fixture.catalog.record().await.unwrap();
    let contact = known(&mut record).await;
    let credited = Credited { partner: code("abc123"), link: None, ad: None, click: Some(EventId([1; 16])) };
    let lead = DecidedLead {
        id: FactId([8; 16]),
        program: code("spring"),
        at: NOON,
        by_click: true,
        decision: "{}".to_owned(),
    };
    for _ in 0..2 {
        record.put_click_lead(contact, &lead, Some(&credited)).await.unwrap();
    }
    assert_eq!(record.decided_leads(contact).await.unwrap(), std::slice::from_ref(&lead));
    assert_eq!(record.case(contact, &code("spring")).await.unwrap().leads[0].credited, Some(credited));
    record.drop_click_lead(lead.id).await.unwrap();
    assert!(record.decided_leads(contact).await.unwrap().is_empty());
    assert!(record.programs_of(contact).await.unwrap().is_empty());
    record.sweep_click_leads(contact).await.unwrap();

    // A click belongs to the browser of whoever was bound before it.
    let click = EventId([1; 16]);
    assert_eq!(record.contact_of_click(click).await.unwrap(), None);
    record.put_touch(&touch(1, 3, NOON)).await.unwrap();
    record.bind_visitor(contact, VisitorId([3; 16]), NOON.plus(1)).await.unwrap();
    assert_eq!(record.contact_of_click(click).await.unwrap(), None, "it was clicked before");
    record.bind_visitor(contact, VisitorId([3; 16]), NOON).await.unwrap();
    assert_eq!(record.contact_of_click(click).await.unwrap(), Some(contact));
    assert!(record.converted_clicks(contact).await.unwrap().is_empty());
    record.commit().await.unwrap();
}
