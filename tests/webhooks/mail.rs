//! Mails: to a folder by default, to a mail server where one is named.

use std::{fs, path::Path};

use sqlx::Row;

use crate::{
    catalog_of,
    receiver::Tls,
    smtp::{MailServer, Security},
    support::{Options, Server, eventually, metric},
    with_catalog,
};

const ADDRESS: &str = "ann@shop.example";

fn quick() -> Options {
    Options::default()
        .set("mail.retry_first", "20ms")
        .set("mail.retry_longest", "100ms")
        .set("mail.poll_interval", "20ms")
}

/// Puts a mail into the queue, as a change does in its transaction.
fn queue(data: &Path, id: &str, recipient: &str, html: Option<&str>) {
    with_catalog(&catalog_of(data), async |connection| {
        let sql = "INSERT INTO mails \
             (id, recipient, subject, text_body, html_body, state, attempts, created_at, due_at, holder, lease_until) \
             VALUES ($1, $2, 'Grüße', 'Your reward is due.', $3, 'waiting', 0, $4, 0, '', 0)";
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let query =
            sqlx::query(sql).bind(id.to_owned()).bind(recipient.to_owned()).bind(html.map(str::to_owned)).bind(now);
        query.execute(connection).await.unwrap();
    });
}

/// State, tries and error of a mail.
fn stored(data: &Path, id: &str) -> (String, i64, Option<String>) {
    with_catalog(&catalog_of(data), async |connection| {
        let query = sqlx::query("SELECT state, attempts, error FROM mails WHERE id = $1").bind(id.to_owned());
        let row = query.fetch_one(connection).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    })
}

fn is(data: &Path, id: &str, state: &str) -> (String, i64, Option<String>) {
    eventually(state, || Some(stored(data, id)).filter(|stored| stored.0 == state))
}

/// No address in any line.
fn no_address_in(server: &Server) {
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains("shop.example")), "{log:#?}");
}

#[test]
fn without_a_mail_server_a_mail_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &quick().set("log.level", "debug")).unwrap();
    queue(folder.path(), "m1", ADDRESS, Some("<p>Your reward is due.</p>"));
    queue(folder.path(), "m2", "nobody", None);
    assert_eq!(is(folder.path(), "m1", "sent"), ("sent".to_owned(), 1, None));
    let text = fs::read_to_string(folder.path().join("mails/m1.eml")).unwrap();
    for part in [
        "To: ann@shop.example\r\n",
        "From: Fingerpost <fingerpost@localhost>\r\n",
        "Message-ID: <m1@localhost>\r\n",
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Content-Type: multipart/alternative;",
        "Your reward is due.",
        "<p>Your reward is due.</p>",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let (_, attempts, error) = is(folder.path(), "m2", "given_up");
    assert!(attempts == 1 && error.is_some(), "what is no address never will be one");
    assert_eq!(fs::read_dir(folder.path().join("mails")).unwrap().count(), 1);
    assert_eq!(metric(server.ops, "fingerpost_mails_total{result=\"sent\"}"), Some(1.0));
    assert_eq!(metric(server.ops, "fingerpost_mails_total{result=\"given_up\"}"), Some(1.0));
    no_address_in(&server);
}

#[test]
fn a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_believed() {
    let (folder, mails) = (tempfile::tempdir().unwrap(), MailServer::start(Security::None));
    let options = quick()
        .set("mail.smtp_host", "127.0.0.1")
        .set("mail.smtp_port", mails.address.port().to_string())
        .set("mail.smtp_security", "none")
        .set("mail.from", "Shop <noreply@shop.example>")
        .set("log.level", "debug");
    let server = Server::start(folder.path(), &options).unwrap();
    mails.refuse(&["451 <ann@shop.example>: come back later", "452 full"]);
    queue(folder.path(), "m1", ADDRESS, None);
    let taken = mails.wait_for(1);
    let mail = &taken[0];
    assert_eq!((mail.from.as_str(), mail.to.as_str()), ("<noreply@shop.example>", "<ann@shop.example>"));
    assert!(
        mail.text.contains("Message-ID: <m1@shop.example>\r\n") && mail.text.contains("Your reward is due."),
        "{mail:?}"
    );
    assert_eq!(is(folder.path(), "m1", "sent").1, 3);
    mails.refuse(&["550 5.1.1 <ann@shop.example>: nobody of that name"]);
    queue(folder.path(), "m2", ADDRESS, None);
    let (_, attempts, error) = is(folder.path(), "m2", "given_up");
    assert!(attempts == 1 && error.unwrap().contains("nobody of that name"));
    server.wait_for_log(&["a mail is given up", "smtp 550", "m2"]);
    assert_eq!(metric(server.ops, "fingerpost_mails_total{result=\"failed\"}"), Some(2.0));
    no_address_in(&server);
}

#[test]
fn a_mail_goes_over_tls_with_a_password() {
    for security in ["tls", "starttls"] {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::new(folder.path());
        let mails = MailServer::start(match security {
            "tls" => Security::Tls(tls.acceptor),
            _ => Security::StartTls(tls.acceptor),
        });
        let options = quick()
            .set("mail.smtp_host", "localhost")
            .set("mail.smtp_port", mails.address.port().to_string())
            .set("mail.smtp_security", security)
            .set("mail.ca_file", tls.ca_file.display().to_string())
            .set("mail.smtp_username", "ann")
            .set("mail.smtp_password", "hunter2")
            .set("log.level", "debug");
        let server = Server::start(folder.path(), &options).unwrap();
        queue(folder.path(), "m1", ADDRESS, None);
        let taken = mails.wait_for(1);
        assert_eq!(taken[0].auth, data_encoding::BASE64.encode(b"\0ann\0hunter2"), "{security}");
        assert_eq!(is(folder.path(), "m1", "sent").1, 1);
        assert!(!server.log().iter().any(|line| line.contains("hunter2")));
    }
}

/// A server that offers no TLS gets neither mail nor password, and neither does one whose certificate nobody knows.
#[test]
fn a_mail_waits_rather_than_go_in_clear() {
    let (folder, mails) = (tempfile::tempdir().unwrap(), MailServer::start(Security::None));
    let options = quick().set("mail.smtp_host", "localhost").set("mail.smtp_port", mails.address.port().to_string());
    let server = Server::start(folder.path(), &options).unwrap();
    queue(folder.path(), "m1", ADDRESS, None);
    server.wait_for_log(&["a mail was not taken", "m1"]);
    eventually("the third try", || (stored(folder.path(), "m1").1 >= 3).then_some(()));
    assert_eq!(stored(folder.path(), "m1").0, "waiting");
    drop(server);

    let tls = Tls::new(folder.path());
    let strange = MailServer::start(Security::Tls(tls.acceptor));
    let options = quick()
        .set("mail.smtp_host", "localhost")
        .set("mail.smtp_port", strange.address.port().to_string())
        .set("mail.smtp_security", "tls");
    let server = Server::start(folder.path(), &options).unwrap();
    queue(folder.path(), "m2", ADDRESS, None);
    server.wait_for_log(&["a mail was not taken", "m2"]);
    assert_eq!(stored(folder.path(), "m2").0, "waiting");
}

/// kill -9 while mails are sent: each is there in the end, and a file is there once.
#[test]
fn kill_9_loses_no_mail() {
    let (folder, mails) = (tempfile::tempdir().unwrap(), MailServer::start(Security::None));
    let options = || {
        quick()
            .set("mail.smtp_host", "127.0.0.1")
            .set("mail.smtp_port", mails.address.port().to_string())
            .set("mail.smtp_security", "none")
            .set("mail.timeout", "500ms")
    };
    let server = Server::start(folder.path(), &options()).unwrap();
    for n in 0..40 {
        queue(folder.path(), &format!("m{n}"), ADDRESS, None);
    }
    mails.wait_for_recipients(10);
    server.kill();
    let _server = Server::start(folder.path(), &options()).unwrap();
    for n in 0..40 {
        is(folder.path(), &format!("m{n}"), "sent");
    }
    let taken = mails.wait_for(40);
    for n in 0..40 {
        let times = taken.iter().filter(|mail| mail.text.contains(&format!("Message-ID: <m{n}@"))).count();
        assert!((1..=2).contains(&times), "m{n}: {times} times");
    }
    // As many as are sent at the same time were under way. (A busy machine may also run into a time-out.)
    assert!(taken.len() <= 40 + 8, "{}", taken.len());
}
