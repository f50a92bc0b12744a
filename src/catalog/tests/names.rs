//! One payment under several names, one person under several names; doors, and their secrets.

use super::*;
use crate::{
    catalog::record::{ConversionRow, Name, NameKind, Person, RefundRow, Told},
    config::secret::Secret,
    core::fact::FactId,
};

fn told(invoice: &str, standing: i64, amount: i64) -> ConversionRow {
    ConversionRow {
        invoice: Some(invoice.to_owned()),
        contact: None,
        told_by: "names",
        told_as: String::new(),
        program: None,
        event: "sale".to_owned(),
        money: Some(crate::core::money::Money::new(amount, "EUR".parse().unwrap())),
        source: "stripe".to_owned(),
        digest: standing.to_string(),
        payment: None,
        standing,
        at: NOON,
    }
}

fn name(place: i64, kind: NameKind, value: &str) -> Name {
    Name { place, kind, value: value.to_owned() }
}

#[tokio::test]
async fn two_names_of_a_payment_become_one_conversion() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut record = fixture.catalog.record().await.unwrap();
    let names = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let Told::New(session) = record.conversion(&told("pi_1", 1, 100)).await.unwrap() else { panic!("it is new") };
    let Told::New(invoice) = record.conversion(&told("in_1", 2, 200)).await.unwrap() else { panic!("it is new") };
    record.add_names(session, &[name(4, NameKind::Email, "ann@home.example")]).await.unwrap();
    record.add_names(invoice, &[name(6, NameKind::Customer, "cus_1")]).await.unwrap();
    let refund = RefundRow {
        id: FactId([9; 16]),
        invoice: "ch_1".to_owned(),
        amount: Some(50),
        reason: String::new(),
        digest: "d".to_owned(),
        at: NOON,
    };
    record.refund(&refund).await.unwrap();
    let (contact, _) =
        record.contact(&Person { email: Some("ann@home.example".to_owned()), ..Person::default() }).await.unwrap();
    assert_eq!(record.one_payment(&names(&["ch_1", "pi_1"]), Some("hash")).await.unwrap().0, "pi_1");
    let (name_now, concerned) = record.one_payment(&names(&["in_1", "pi_1"]), None).await.unwrap();
    assert_eq!((name_now.as_str(), concerned.contains(&contact)), ("in_1", true));
    for known in ["ch_1", "pi_1", "in_1"] {
        assert_eq!(record.payment(known).await.unwrap(), "in_1", "{known}");
    }
    // The invoice's word stays, with what the session knew of the person.
    assert_eq!(record.contact_of(invoice).await.unwrap(), Some(contact));
    assert_eq!(record.contact_of(session).await.unwrap(), None);
    let case = record.case(contact, &"spring".parse().unwrap()).await.unwrap();
    let [sale] = &case.conversions[..] else { panic!("{case:?}") };
    assert_eq!((sale.place.id, sale.money.unwrap().amount, sale.refunded), (invoice, 200, 50));
    assert!(!record.retold(invoice, &told("in_1", 1, 100)).await.unwrap(), "a lower word changes nothing");
    record.commit().await.unwrap();
}

#[tokio::test]
async fn whose_a_conversion_is_follows_from_all_names() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut record = fixture.catalog.record().await.unwrap();
    let mut sales = Vec::new();
    for (invoice, names) in [
        ("in_1", vec![name(3, NameKind::External, "c-7"), name(6, NameKind::Customer, "cus_1")]),
        ("in_2", vec![name(6, NameKind::Customer, "cus_1")]),
        ("in_3", vec![name(4, NameKind::Email, "ann@home.example"), name(6, NameKind::Customer, "cus_1")]),
    ] {
        let Told::New(sale) = record.conversion(&told(invoice, 2, 100)).await.unwrap() else { panic!("it is new") };
        record.add_names(sale, &names).await.unwrap();
        sales.push(sale);
    }
    assert!(record.rematch(&[("customer", "cus_1")]).await.unwrap().is_empty(), "nobody is known");
    let mail = Person { email: Some("ann@home.example".to_owned()), ..Person::default() };
    let (ann, _) = record.contact(&mail).await.unwrap();
    assert_eq!(record.rematch(&[("email", "ann@home.example")]).await.unwrap(), [ann].into());
    for sale in &sales {
        assert_eq!(record.contact_of(*sale).await.unwrap(), Some(ann), "by the customer's other sale");
    }
    let id = Person { external: Some("c-7".to_owned()), ..Person::default() };
    let (other, _) = record.contact(&id).await.unwrap();
    assert_eq!(record.rematch(&[("external", "c-7")]).await.unwrap(), [ann, other].into());
    let whose = [Some(other), Some(other), Some(ann)];
    for (sale, whose) in sales.iter().zip(whose) {
        assert_eq!(
            record.contact_of(*sale).await.unwrap(),
            whose,
            "the lowest place counts, its own name before others'"
        );
    }
    record.commit().await.unwrap();
}

#[tokio::test]
async fn secrets_of_a_door_stay_until_others_are_given() {
    let fixture = Fixture::spring(BACKEND).await;
    let (catalog, name) = (&fixture.catalog, "stripe".parse().unwrap());
    let secret = |text: &str| Secret::new(text.to_owned());
    let put = async |secrets: Option<&[Secret]>| {
        catalog.put_inbound(&name, "stripe", &json!({"event": "sale"}), secrets).await.unwrap()
    };
    let (door, made) = put(Some(&[secret("one"), secret("two")])).await;
    assert!(made && door.secrets == 2);
    assert!(!format!("{:?}", catalog.inbound_keys(&name).await.unwrap()).contains("one"));
    assert_eq!(put(None).await.0.secrets, 2);
    assert_eq!(put(Some(&[secret("three")])).await.0.secrets, 1);
    let keys = catalog.inbound_keys(&name).await.unwrap();
    assert_eq!((keys.secrets[0].expose(), keys.settings), ("three", json!({"event": "sale"})));
    assert_eq!(catalog.inbounds().await.unwrap().items.len(), 1);
    catalog.delete_inbound(&name).await.unwrap();
    assert!(matches!(catalog.inbound_keys(&name).await, Err(CatalogError::NotFound { .. })));
    assert!(matches!(catalog.delete_inbound(&name).await, Err(CatalogError::NotFound { .. })));
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let origins = json!([
        "https://Shop.example",
        "http://a.example:8080",
        "shop.example",
        "https://a.example/",
        "https://a.example:443",
        "ftp://a.example",
        "https://a.example/x",
        "https://u@a.example",
        "null",
        "*"
    ]);
    let wrong = wrong::<Program>(json!({"code": "spring", "origins": origins}));
    let expected: Vec<String> = (2..10).map(|at| format!("origins[{at}]")).collect();
    assert_eq!(wrong, expected);
    let program = read_json::<Program>(json!({"code": "spring", "origins": ["https://Shop.example"]})).unwrap();
    assert_eq!(program.origins, ["https://shop.example"]);
}
