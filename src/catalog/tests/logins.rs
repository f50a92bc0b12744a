//! Codes and sessions: what opens something and what does not, and that nothing tells who is registered.

use super::*;
use crate::{
    catalog::{
        joining::{Joining, NOBODY},
        logins::{Asking, Tried, Who},
        mails::NewMail,
        pages::ProgramPage,
    },
    core::{code::Code, page::Design, program::Status},
};

const AGENT: &[u8] = b"a browser";

fn mail(email: &str) -> impl FnOnce(&str) -> NewMail + Send {
    let recipient = email.to_owned();
    move |code| NewMail { recipient, subject: "code".to_owned(), text: code.to_owned(), html: None }
}

async fn ask(fixture: &Fixture, email: &str, anybody: bool) -> String {
    ask_from(fixture, "192.0.2.0/24", email, anybody).await
}

async fn ask_from(fixture: &Fixture, network: &str, email: &str, anybody: bool) -> String {
    // Mails of one millisecond have no order.
    fixture.clock.advance(1);
    let asking = Asking { program: None, email, network, anybody };
    fixture.catalog.ask_code(asking, mail(email)).await.unwrap()
}

/// What was mailed to an address, with the state of each mail, the oldest first.
async fn mails(fixture: &Fixture, email: &str) -> Vec<(String, String)> {
    let sql = "SELECT state, text_body FROM mails WHERE recipient = $1 ORDER BY created_at, id";
    let rows = fixture.catalog.rows(sqlx::query(sql).bind(email.to_owned())).await.unwrap();
    rows.iter().map(|row| (sqlx::Row::get(row, 0), sqlx::Row::get(row, 1))).collect()
}

/// A code that was asked for, and a session that another opened.
pub(super) async fn log_in(fixture: &Fixture, email: &str) {
    let token = ask(fixture, email, true).await;
    let code = mails(fixture, email).await.last().unwrap().1.clone();
    assert!(matches!(fixture.catalog.try_code(&token, &code, AGENT).await.unwrap(), Tried::Open { .. }));
    ask(fixture, email, true).await;
}

/// One of everything.
pub(super) async fn fill(fixture: &Fixture) {
    log_in(fixture, "ann@home.example").await;
    let spring: Code = "spring".parse().unwrap();
    fixture.catalog.put_page_file(&spring, "logo.png", "image/png", b"\x89PNG").await.unwrap();
    fixture
        .catalog
        .put_page(&spring, &Design { logo: Some("logo.png".to_owned()), ..Design::default() })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_code_opens_one_session_in_the_browser_that_asked_for_it() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.put::<Partner>(json!({"code": "abc123", "email": "Jane@Home.example"})).await;
    let token = ask(&fixture, "jane@home.example", false).await;
    let found = mails(&fixture, "jane@home.example").await;
    let (state, code) = &found[0];
    assert!(state == "waiting" && code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    assert_eq!(fixture.catalog.try_code("another token", code, AGENT).await.unwrap(), Tried::Over);
    // As people type it.
    let spaced = format!(" {} {}", &code[..3], &code[3..]);
    let Tried::Open { session } = fixture.catalog.try_code(&token, &spaced, AGENT).await.unwrap() else {
        panic!("the code is refused")
    };
    assert_eq!(fixture.catalog.try_code(&token, code, AGENT).await.unwrap(), Tried::Over, "once");
    let who = Some(Who::Person("jane@home.example".to_owned()));
    assert_eq!(fixture.catalog.session(&session, AGENT).await.unwrap(), who);
    assert_eq!(fixture.catalog.session(&session, b"another browser").await.unwrap(), None);
    assert_eq!(fixture.catalog.session("another session", AGENT).await.unwrap(), None);
    fixture.clock.advance(2 * 3_600_000);
    assert_eq!(fixture.catalog.session(&session, AGENT).await.unwrap(), None, "it has ended");
}

#[tokio::test]
async fn tries_are_counted_and_a_code_ends() {
    let fixture = Fixture::spring(BACKEND).await;
    let token = ask(&fixture, "ann@home.example", true).await;
    let code = mails(&fixture, "ann@home.example").await[0].1.clone();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for left in [4, 3, 2, 1] {
        assert_eq!(fixture.catalog.try_code(&token, wrong, AGENT).await.unwrap(), Tried::Wrong { left });
    }
    assert_eq!(fixture.catalog.try_code(&token, wrong, AGENT).await.unwrap(), Tried::Over);
    assert_eq!(fixture.catalog.try_code(&token, &code, AGENT).await.unwrap(), Tried::Over, "too late");

    let token = ask(&fixture, "ann@home.example", true).await;
    let code = mails(&fixture, "ann@home.example").await[1].1.clone();
    fixture.clock.advance(600_000);
    assert_eq!(fixture.catalog.try_code(&token, &code, AGENT).await.unwrap(), Tried::Over, "it has expired");
}

#[tokio::test]
async fn who_is_not_registered_is_treated_the_same_and_gets_no_mail() {
    let fixture = Fixture::spring(BACKEND).await;
    let token = ask(&fixture, "nobody@home.example", false).await;
    assert!(mails(&fixture, "nobody@home.example").await.is_empty());
    let silent = mails(&fixture, "").await;
    assert_eq!(silent, [("silent".to_owned(), "000000".to_owned())]);
    // Not even the code that was never mailed opens anything: all of them are tried as somebody would who has no limit.
    assert_eq!(fixture.catalog.try_code(&token, "000000", AGENT).await.unwrap(), Tried::Wrong { left: 4 });
    assert_eq!(fixture.catalog.asked_code(&token).await.unwrap(), Some((None, "nobody@home.example".to_owned())));
    // It is never anybody's turn to be sent.
    let later = NOON.plus(3_600_000);
    assert!(fixture.catalog.claim_mails("me", later, later.plus(1), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_address_is_mailed_so_many_codes_within_an_hour() {
    let fixture = Fixture::spring(BACKEND).await;
    for _ in 0..7 {
        ask(&fixture, "ann@home.example", true).await;
    }
    assert_eq!(mails(&fixture, "ann@home.example").await.len(), 5);
    fixture.clock.advance(3_601_000);
    ask(&fixture, "ann@home.example", true).await;
    assert_eq!(mails(&fixture, "ann@home.example").await.len(), 6);
}

#[tokio::test]
async fn who_asks_for_somebody_elses_address_locks_out_nobody() {
    let fixture = Fixture::spring(BACKEND).await;
    let mailed = async || mails(&fixture, "ann@home.example").await.len();
    for _ in 0..40 {
        ask_from(&fixture, "198.51.100.0/24", "ann@home.example", true).await;
    }
    assert_eq!(mailed().await, 5, "one network");
    let token = ask_from(&fixture, "192.0.2.0/24", "ann@home.example", true).await;
    assert_eq!(mailed().await, 6, "another one");
    let code = mails(&fixture, "ann@home.example").await[5].1.clone();
    assert!(matches!(fixture.catalog.try_code(&token, &code, AGENT).await.unwrap(), Tried::Open { .. }));
    // Nor can many networks guess at more codes than are allowed.
    for network in 0..20 {
        ask_from(&fixture, &format!("203.0.{network}.0/24"), "ann@home.example", true).await;
    }
    assert_eq!(mailed().await, 15);
    fixture.clock.advance(3_601_000);
    ask_from(&fixture, "198.51.100.0/24", "ann@home.example", true).await;
    assert_eq!(mailed().await, 16);
}

#[tokio::test]
async fn logging_out_ends_one_session_or_all() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut sessions = Vec::new();
    for at in 0..3 {
        let token = ask(&fixture, "ann@home.example", true).await;
        let code = mails(&fixture, "ann@home.example").await[at].1.clone();
        let Tried::Open { session } = fixture.catalog.try_code(&token, &code, AGENT).await.unwrap() else { panic!() };
        sessions.push(session);
    }
    let admin = fixture.catalog.open_admin_session(AGENT).await.unwrap();
    fixture.catalog.close_session(&sessions[0]).await.unwrap();
    assert_eq!(fixture.catalog.session(&sessions[0], AGENT).await.unwrap(), None);
    let who = Who::Person("ann@home.example".to_owned());
    assert_eq!(fixture.catalog.session(&sessions[1], AGENT).await.unwrap(), Some(who.clone()));
    fixture.catalog.close_sessions(&who).await.unwrap();
    for session in &sessions {
        assert_eq!(fixture.catalog.session(session, AGENT).await.unwrap(), None);
    }
    assert_eq!(fixture.catalog.session(&admin, AGENT).await.unwrap(), Some(Who::Admin));
    // An erasure ends them too, and takes the codes.
    ask(&fixture, "ann@home.example", true).await;
    let key = crate::catalog::persons::PersonKey::Email("ann@home.example".to_owned());
    fixture.catalog.erase_person(&key, std::time::Duration::ZERO).await.unwrap();
    let left = fixture.catalog.rows(sqlx::query("SELECT email FROM login_codes")).await.unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn who_joins_is_one_partner_and_keeps_the_code() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.put::<Program>(json!({"code": "summer"})).await;
    let (spring, summer): (Code, Code) = ("spring".parse().unwrap(), "summer".parse().unwrap());
    let joining =
        |program| Joining { program, email: "bo@home.example", first_name: "Bo", name: "Bo M", status: Status::Active };
    let (bo, is_new) = fixture.catalog.join(&joining(&spring)).await.unwrap();
    assert!(is_new && bo.code.len() == 8 && bo.programs == [spring.clone()], "{bo:?}");
    assert_eq!(fixture.catalog.join(&joining(&spring)).await.unwrap(), (bo.clone(), false));
    let (again, changed) = fixture.catalog.join(&joining(&summer)).await.unwrap();
    assert!(changed && again.code == bo.code && again.programs == [spring, summer]);
    assert_eq!(fixture.catalog.partners_by_mail("bo@home.example").await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_is_a_partner_elsewhere_is_looked_at_where_a_program_wants_it() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.put::<Program>(json!({"code": "summer"})).await;
    let (spring, summer): (Code, Code) = ("spring".parse().unwrap(), "summer".parse().unwrap());
    for (there, wanted, is_same, expected) in [
        ("active", Status::Active, true, Status::Active),
        ("active", Status::Pending, false, Status::Pending),
        ("pending", Status::Active, false, Status::Active),
        ("pending", Status::Pending, false, Status::Pending),
        ("paused", Status::Active, false, Status::Pending),
        ("rejected", Status::Active, false, Status::Pending),
    ] {
        let case = format!("{there}, {wanted:?}");
        let (code, email) = (format!("{there}-{}", wanted.word()), format!("{there}.{}@home.example", wanted.word()));
        let partner =
            json!({"code": code, "email": email, "programs": ["spring"], "status": there, "parent": "abc123"});
        let before = fixture.put::<Partner>(partner).await;
        let joining = Joining { program: &summer, email: &email, first_name: "Bo", name: "Bo M", status: wanted };
        let (joined, changed) = fixture.catalog.join(&joining).await.unwrap();
        assert!(changed && joined.status == expected && joined.is_in(&summer), "{case}: {joined:?}");
        assert_eq!((joined.code == before.code, joined.is_in(&spring)), (is_same, is_same), "{case}: {joined:?}");
        assert_eq!(joined.parent, before.parent, "{case}");
        let of_spring = fixture.catalog.get::<Partner>(&[&before.code]).await.unwrap();
        assert_eq!((of_spring.status, of_spring.is_in(&summer)), (before.status, is_same), "{case}: {of_spring:?}");
        assert_eq!(fixture.catalog.join(&joining).await.unwrap(), (joined, false), "{case}");
    }
}

#[tokio::test]
async fn a_partners_code_is_found_by_address_and_program() {
    let fixture = Fixture::spring(BACKEND).await;
    for (code, programs) in [("first", json!(["other-spring", "sprin"])), ("second", json!(["summer", "spring"]))] {
        for program in programs.as_array().unwrap() {
            fixture.put::<Program>(json!({"code": program})).await;
        }
        fixture.put::<Partner>(json!({"code": code, "email": "Bo@home.example", "programs": programs})).await;
        fixture.clock.advance(1);
    }
    fixture.put::<Partner>(json!({"code": "all", "email": "bo@home.example"})).await;
    fixture.put::<Program>(json!({"code": "autumn"})).await;
    for (program, email, expected) in [
        ("spring", "bo@home.example", "second"),
        ("sprin", "bo@home.example", "first"),
        ("autumn", "bo@home.example", "all"),
        ("spring", "ann@home.example", NOBODY),
    ] {
        let program: Code = program.parse().unwrap();
        let found = fixture.catalog.partner_code_by_mail(&program, email).await.unwrap();
        assert_eq!(found, expected, "{program}, {email}");
    }
}

#[tokio::test]
async fn a_page_shows_only_files_that_are_there() {
    let fixture = Fixture::spring(BACKEND).await;
    let spring: Code = "spring".parse().unwrap();
    let empty = fixture.catalog.program_page(&spring).await.unwrap();
    assert_eq!(empty, ProgramPage { program: spring.clone(), design: Design::default(), files: Vec::new() });
    let design = Design { logo: Some("logo.png".to_owned()), ..Design::default() };
    let error = fixture.catalog.put_page(&spring, &design).await.unwrap_err().to_string();
    assert!(error.contains("/v1/programs/spring/page/files/logo.png"), "{error}");
    fixture.catalog.put_page_file(&spring, "logo.png", "image/png", b"\x89PNG").await.unwrap();
    let (page, is_new) = fixture.catalog.put_page(&spring, &design).await.unwrap();
    assert!(is_new && page.design == design && page.files[0].bytes == 4);
    assert_eq!(fixture.catalog.page_file(&spring, "logo.png").await.unwrap().body, b"\x89PNG");
    assert!(matches!(fixture.catalog.delete_page_file(&spring, "logo.png").await, Err(CatalogError::InUse { .. })));
    fixture.catalog.delete_page(&spring).await.unwrap();
    fixture.catalog.delete_page_file(&spring, "logo.png").await.unwrap();
    assert!(matches!(fixture.catalog.program_page(&"none".parse().unwrap()).await, Err(CatalogError::NotFound { .. })));
    // A page goes with its program.
    fixture.catalog.put_page(&spring, &Design::default()).await.unwrap();
    fixture.catalog.delete::<Partner>(&["abc123"], true).await.unwrap();
    fixture.catalog.delete::<Program>(&["spring"], false).await.unwrap();
}
