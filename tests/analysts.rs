//! docs/analysts.md holds what it says: every column of ClickHouse's tables stands there, and every question runs on the real
//! engine and gives the right answer.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use clickhouse::Client;
use fingerpost::{
    config::{
        secret::Secret,
        stores::{ClickHouse, Compression},
    },
    core::{
        event::{Class, Event, Kind},
        id::EventId,
        time::Millis,
    },
    store::{
        clickhouse::{Block, NameRow, Named, Store},
        record,
    },
};
use prost::Message;
use support::stack::{Part, Stack, unique};

const PAGE: &str = include_str!("../docs/analysts.md");

/// A database with the history, and a client for questions.
struct Database {
    name: String,
    client: Client,
}

impl Database {
    async fn new() -> Database {
        let settings = ClickHouse {
            url: Stack::shared(&[Part::Clickhouse]).clickhouse_url(),
            database: unique("analysts"),
            user: String::new(),
            password: Secret::default(),
            cluster: String::new(),
            compression: Compression::Lz4,
            retention: Duration::ZERO,
            timeout: Duration::from_secs(60),
        };
        let store = Store::new(&settings).unwrap();
        for change in store.pending().await.unwrap() {
            store.apply(&change).await.unwrap();
        }
        let mut block = Block::new("lane", 0);
        for (offset, event) in (0..).zip(history()) {
            block.push(offset, &record::decode(&event.encode_to_vec()).unwrap(), Millis(0));
        }
        store.insert(&block, "the history").await.unwrap();
        let name = |kind, code: &str, name: &str| NameRow {
            kind,
            partner: String::new(),
            code: code.to_owned(),
            name: name.to_owned(),
        };
        // A partner of the same code must not lend its name.
        let names = [name(Named::Link, "haircare", "Hair care"), name(Named::Partner, "skincare", "Somebody")];
        store.put_names(&names, Millis(1)).await.unwrap();
        let client = Client::default().with_url(&settings.url).with_database(&settings.database);
        Database { name: settings.database, client }
    }

    /// The answer, a line a row, columns behind tabs.
    async fn ask(&self, text: &str) -> String {
        let mut cursor = self.client.query_raw(text).fetch_bytes("TabSeparated").unwrap();
        match cursor.collect().await {
            Ok(answer) => String::from_utf8(answer.to_vec()).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    async fn run(&self, text: &str) {
        self.client.query_raw(text).execute().await.unwrap_or_else(|error| panic!("{text}\n{error}"));
    }

    async fn drop(self) {
        self.run(&format!("DROP DATABASE {}", self.name)).await;
    }
}

fn id(number: u8) -> Vec<u8> {
    EventId::new(Millis(1_772_323_200_000), [number; 10]).0.into()
}

/// Three weeks of two partners; visitors are numbers, clicks are known by theirs.
fn history() -> Vec<Event> {
    let event = |number: u8, kind: Kind, time: &str, partner: &str, visitor: u8| Event {
        id: id(number),
        kind: kind as i32,
        class: Class::Human as i32,
        time_ms: time.parse::<Millis>().unwrap().0,
        program: "spring".to_owned(),
        link: "haircare".to_owned(),
        partner: partner.to_owned(),
        visitor: if visitor == 0 { Vec::new() } else { [vec![visitor], vec![7; 15]].concat() },
        country: "DE".to_owned(),
        ..Event::default()
    };
    let text = str::to_owned;
    let share = |number, time, partner, slug, channel| Event {
        slug: text(slug),
        channel: text(channel),
        ..event(number, Kind::Share, time, partner, 0)
    };
    let click = |number, time, partner, visitor| event(number, Kind::Click, time, partner, visitor);
    let outcome = |number, kind, time, of, partner, visitor| Event {
        class: Class::Unspecified as i32,
        click: id(of),
        ..event(number, kind, time, partner, visitor)
    };
    vec![
        event(20, Kind::View, "2026-03-02T09:59:00Z", "anna", 1),
        Event { ad: text("insta"), ..click(1, "2026-03-02T10:00:00Z", "anna", 1) },
        Event { ad: text("insta"), ..click(2, "2026-03-02T10:05:00Z", "anna", 2) },
        Event { ad: text("blog"), class: Class::Repeat as i32, ..click(3, "2026-03-02T10:10:00Z", "anna", 1) },
        Event { class: Class::Bot as i32, ..click(8, "2026-03-02T10:20:00Z", "anna", 0) },
        share(21, "2026-03-03T08:00:00Z", "anna", "s1", "whatsapp"),
        Event { slug: text("s1"), country: text("FR"), ..click(4, "2026-03-03T08:01:30Z", "anna", 3) },
        share(22, "2026-03-03T09:00:00Z", "ben", "s2", "email"),
        click(5, "2026-03-10T12:00:00Z", "ben", 1),
        Event { link: text("skincare"), ..click(6, "2026-03-10T13:00:00Z", "ben", 3) },
        outcome(23, Kind::Lead, "2026-03-10T14:00:00Z", 5, "ben", 1),
        outcome(24, Kind::Lead, "2026-03-10T14:10:00Z", 2, "anna", 2),
        outcome(25, Kind::Conversion, "2026-03-11T10:00:00Z", 2, "anna", 2),
        Event { reason: text("unknown_partner"), named: text("nobody"), ..click(7, "2026-03-17T10:00:00Z", "", 4) },
        Event { count: 5, link: String::new(), ..event(26, Kind::Missing, "2026-03-17T11:30:00Z", "", 0) },
    ]
}

/// What each question must answer on [`history`], worked out by hand.
const ANSWERS: &[(&str, &str)] = &[
    ("Top partners by unique visitors:", "anna\t3\nben\t2\n"),
    (
        "The funnel, by day:",
        "2026-03-02\t1\t3\t0\t0\t0\n2026-03-03\t0\t1\t0\t0\t0\n2026-03-10\t0\t2\t2\t0\t0\n\
         2026-03-11\t0\t0\t0\t1\t\\N\n2026-03-17\t0\t1\t0\t0\t0\n",
    ),
    (
        "What each share channel brings: shares, and clicks through the same share links afterwards:",
        "email\t1\t0\nwhatsapp\t1\t1\n",
    ),
    ("Clicks by country, and each one's part:", "DE\t6\t85.7\nFR\t1\t14.3\n"),
    (
        "How much of the traffic is machines, by day:",
        "2026-03-02\t4\t1\t25\n2026-03-03\t1\t0\t0\n2026-03-10\t2\t0\t0\n2026-03-17\t1\t0\t0\n",
    ),
    (
        "How long after the first share of a share link the first click comes:",
        "s1\t2026-03-03 08:00:00.000\t2026-03-03 08:01:30.000\t90\n",
    ),
    ("Hours of which clicks are missing:", "2026-03-17 11:00:00\t5\n"),
    ("Week over week:", "2026-03-02\t4\t\\N\t\\N\n2026-03-09\t2\t4\t-50\n2026-03-16\t1\t2\t-50\n"),
    ("First touch against last touch, of visitors who became leads:", "anna\tanna\t1\nanna\tben\t1\n"),
    (
        "A partner's ads side by side, with the leads that came of their clicks:",
        "anna\tinsta\t2\t2\t1\nanna\tblog\t1\t1\t0\n",
    ),
    (
        "Cohorts: of visitors who first clicked in a week, how many came back in the weeks after:",
        "2026-03-02\t0\t3\n2026-03-02\t1\t2\n2026-03-16\t0\t1\n",
    ),
    ("Why clicks are not credited:", "unknown_partner\tnobody\t1\n"),
    ("Links by their names:", "Hair care\t6\nskincare\t1\n"),
    ("Is anything twice? Both numbers are the same:", "15\t15\n"),
    ("Do the sums hold what the rows hold (as far back as rows are kept)? No row is the right answer:", ""),
];

/// The text between a heading and the next one of its depth or above.
fn section<'a>(heading: &str) -> &'a str {
    let start = PAGE.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no `{heading}`"));
    let body = &PAGE[start + heading.len() + 2..];
    let depth = heading.find(' ').unwrap();
    let ends = (2..=depth).filter_map(|depth| body.find(&format!("\n{} ", "#".repeat(depth))));
    &body[..ends.min().unwrap_or(body.len())]
}

/// Each question of the page: the line above it, and its text.
fn questions() -> BTreeMap<&'static str, &'static str> {
    let mut found = BTreeMap::new();
    for part in section("## Questions to ClickHouse").split("\n```sql\n").collect::<Vec<_>>().windows(2) {
        let title = part[0].trim_end().lines().next_back().unwrap();
        let text = part[1].split("\n```").next().unwrap();
        assert!(found.insert(title, text).is_none(), "`{title}` stands there twice");
    }
    found
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn every_question_of_the_page_has_the_right_answer() {
    block_on(async {
        let database = Database::new().await;
        let questions = questions();
        let known: BTreeMap<&str, &str> = ANSWERS.iter().copied().collect();
        let titles = |map: &BTreeMap<&str, &str>| map.keys().map(|title| (*title).to_owned()).collect::<Vec<_>>();
        assert_eq!(titles(&questions), titles(&known));
        let mut wrong = String::new();
        for (title, text) in &questions {
            let answer = database.ask(text).await;
            if answer != known[title] {
                wrong += &format!("{title}\n{text}\nanswered\n{answer}instead of\n{}\n", known[title]);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        // The audits see what is wrong.
        database.run("INSERT INTO reach_hourly (hour, kind, class, count) VALUES ('2026-03-02 10:00:00', 'click', 'human', 1)").await;
        let drift = questions[ANSWERS[14].0];
        assert_eq!(database.ask(drift).await, "2026-03-02 10:00:00\tclick\thuman\t2\t3\n");
        database.run("INSERT INTO events SELECT * FROM events LIMIT 1").await;
        assert_eq!(database.ask(questions[ANSWERS[13].0]).await, "16\t15\n");
        database.drop().await;
    });
}

#[test]
fn every_column_of_every_table_is_on_the_page() {
    block_on(async {
        let database = Database::new().await;
        let columns = database
            .ask("SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table NOT LIKE '%\\_mv' ORDER BY 1, position")
            .await;
        let common = section("## The columns of an event");
        let own = section("### The server's own");
        assert!(columns.lines().count() > 60, "{columns}");
        for line in columns.lines() {
            let (table, column) = line.split_once('\t').unwrap();
            let heading = format!("### `{table}`");
            let told = if PAGE.contains(&format!("\n{heading}\n")) {
                section(&heading)
            } else {
                own.lines()
                    .find(|line| line.contains(&format!("`{table}`")))
                    .unwrap_or_else(|| panic!("`{table}` is not on the page"))
            };
            let view = match table {
                "reach_hourly" => section("### `reach`"),
                "funnel_daily" => section("### `funnel`"),
                "uniques_daily" => section("### `uniques`"),
                "names" => section("### `names_now`"),
                "events" => common,
                _ => "",
            };
            let name = format!("`{column}`");
            let ranges = column.starts_with("sub") && common.contains("`sub1` … `sub5`");
            assert!(told.contains(&name) || view.contains(&name) || ranges, "{table}.{column} is not on the page");
        }
        database.drop().await;
    });
}
