//! Every query of the ClickHouse dashboard, run on the real engine over the real schema, with Grafana's macros filled in as
//! its plugin fills them in. The figures are those of the rows.

use std::net::SocketAddr;

use fingerpost::store::clickhouse::Store;
use serde_json::Value;

use crate::{
    dashboards::{dashboards, targets},
    support::{
        Client,
        stack::{Part, Stack, unique},
    },
};

const SOURCE: &str = "grafana-clickhouse-datasource";
/// The time range of the dashboard, and when the events are: 2026-03-10 to 2026-03-12 UTC.
const FROM: i64 = 1_773_100_800;
const TO: i64 = 1_773_360_000;

/// A database of this test's own, with the schema.
struct Engine {
    client: Client,
    database: String,
}

impl Engine {
    fn start() -> Engine {
        let url = Stack::shared(&[Part::Clickhouse]).clickhouse_url();
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let database = unique("panels");
        migrate(&url, &database);
        Engine { client: Client::connect(address).expect("connects"), database }
    }

    fn run(&mut self, query: &str) -> String {
        let answer = self.client.send("POST", &format!("/?database={}", self.database), &[], query.as_bytes());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => panic!("{error}: {query}"),
        };
        assert_eq!(answer.status, 200, "{}\n{query}", answer.text());
        answer.text()
    }

    /// Columns with their types, and rows.
    fn ask(&mut self, query: &str) -> (Vec<(String, String)>, Vec<Vec<Value>>) {
        let answer: Value = serde_json::from_str(&self.run(&format!("{query}\nFORMAT JSONCompact"))).expect("JSON");
        let columns = answer["meta"].as_array().expect("columns").iter();
        let word = |value: &Value| value.as_str().expect("a text").to_owned();
        let columns = columns.map(|column| (word(&column["name"]), word(&column["type"]))).collect();
        let rows = answer["data"].as_array().expect("rows").iter().map(|row| row.as_array().expect("a row").clone());
        (columns, rows.collect())
    }
}

/// As `fingerpost migrate` does it.
fn migrate(url: &str, database: &str) {
    let environment = [("URL", url), ("DATABASE", database)];
    let environment = environment.map(|(key, value)| (format!("FINGERPOST__CLICKHOUSE__{key}"), value.to_owned()));
    let config = fingerpost::config::load(None, environment, None).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::new(&config.clickhouse).expect("a store");
        for change in store.pending().await.expect("what is missing") {
            store.apply(&change).await.unwrap_or_else(|error| panic!("{}: {error}", change.what));
        }
        store.check_schema().await.expect("the schema");
    });
}

/// What Grafana sends for a query: `selected` is the value of a variable, every other one stands on All.
fn filled(query: &str, selected: Option<(&str, &str)>) -> String {
    let replace = |text: &str, pattern: &str, with: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let mut text = query.to_owned();
    if let Some((name, value)) = selected {
        let pattern = format!(r"\$__conditionalAll\(([^,]*)\$\{{{name}:singlequote\}}\), \${name}\)");
        text = replace(&text, &pattern, &format!("${{1}}'{value}')"));
    }
    text = replace(&text, r"\$__conditionalAll\([^,]*, \$\w+\)", "1=1");
    text = replace(&text, r"\$__timeFilter\((\w+)\)", &format!("$1 >= toDateTime({FROM}) AND $1 <= toDateTime({TO})"));
    text = replace(&text, r"\$__dateFilter\((\w+)\)", "$1 >= toDate('2026-03-10') AND $1 <= toDate('2026-03-13')");
    text = replace(&text, r"\$__timeInterval\((\w+)\)", "toStartOfInterval(toDateTime($1), INTERVAL 3600 second)");
    assert!(!text.contains('$'), "something was not filled in: {text}");
    text
}

/// Seven clicks that count (three of link `other`), one of a bot, a share, a view, two leads, a conversion
/// and its refund, four missing clicks.
fn fill(engine: &mut Engine) {
    let row = |kind: &str, class: &str, time: &str, link: &str, visitor: u8, count: u64, offset: u64| {
        let visitor =
            if visitor == 0 { "NULL".to_owned() } else { format!("'{}'", uuid::Uuid::from_u128(visitor.into())) };
        let who = if link.is_empty() { "'', '', '', ''" } else { "'spring', '{link}', 'abc123', 'story'" };
        let who = who.replace("{link}", link);
        format!(
            "(generateUUIDv7(), '{kind}', '{class}', '{time}', {who}, 'email', {visitor}, 'DE', {count}, 'test', 0, {offset})"
        )
    };
    let mut rows = Vec::new();
    for (at, (kind, class, time, link, visitor, count)) in [
        ("click", "human", "2026-03-10 10:00:01", "haircare", 1, 1),
        ("click", "repeat", "2026-03-10 10:30:01", "haircare", 1, 1),
        ("click", "human", "2026-03-10 11:00:01", "haircare", 2, 1),
        ("click", "human", "2026-03-11 09:00:01", "haircare", 3, 1),
        ("click", "human", "2026-03-11 09:10:01", "other", 3, 1),
        ("click", "human", "2026-03-11 09:20:01", "other", 4, 1),
        ("click", "human", "2026-03-11 09:30:01", "other", 0, 1),
        ("click", "bot", "2026-03-11 09:40:01", "other", 0, 1),
        ("share", "human", "2026-03-11 10:00:01", "haircare", 0, 1),
        ("view", "human", "2026-03-11 10:00:02", "haircare", 2, 1),
        ("lead", "", "2026-03-11 10:10:01", "haircare", 0, 1),
        ("lead", "", "2026-03-11 10:20:01", "other", 0, 1),
        ("conversion", "", "2026-03-12 10:20:01", "haircare", 0, 1),
        ("refund", "", "2026-03-12 10:30:01", "haircare", 0, 1),
        ("missing", "", "2026-03-12 11:00:00", "", 0, 4),
        // Outside of the range.
        ("click", "human", "2026-02-01 10:00:01", "haircare", 9, 1),
    ]
    .into_iter()
    .enumerate()
    {
        rows.push(row(kind, class, time, link, visitor, count, at as u64));
    }
    let columns = "id, kind, class, time, program, link, partner, ad, channel, visitor, country, count, source, partition, offset";
    engine.run(&format!("INSERT INTO events ({columns}) VALUES {}", rows.join(", ")));
    engine.run("INSERT INTO names (kind, partner, code, name, written_at) VALUES ('link', '', 'haircare', 'Hair care', now64()), ('ad', 'abc123', 'story', 'My story', now64())");
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn every_panel_runs_on_the_real_engine_and_shows_what_the_rows_say() {
    let mut engine = Engine::start();
    fill(&mut engine);
    let (_, dashboard) = dashboards().into_iter().find(|(file, _)| file == "reach.json").expect("the dashboard");
    let asked = targets(&dashboard, SOURCE);
    assert!(asked.len() > 20);
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let (_, rows) = engine.ask(&filled(variable["query"].as_str().expect("a query"), None));
        let values: Vec<_> = rows.iter().map(|row| row[0].as_str().expect("a text")).collect();
        match variable["name"].as_str() {
            Some("program") => assert_eq!(values, ["spring"]),
            Some("link") => assert_eq!(values, ["haircare", "other"]),
            Some("partner") => assert_eq!(values, ["abc123"]),
            name => panic!("{name:?}"),
        }
    }
    let mut figures = std::collections::BTreeMap::new();
    for (title, target) in asked {
        let query = target["rawSql"].as_str().expect("a query");
        let (columns, rows) = engine.ask(&filled(query, None));
        assert!(!rows.is_empty(), "{title} shows nothing: {query}");
        if target["format"] == 0 {
            let (name, kind) = &columns[0];
            assert!(name == "time" && kind.starts_with("DateTime"), "{title}: {columns:?}");
        }
        // A filter that fits all leaves every figure, one that fits none leaves nothing of it.
        let (_, same) = engine.ask(&filled(query, Some(("program", "spring"))));
        if query.contains("${program:") {
            assert_eq!(same, rows, "{title}");
            let (_, none) = engine.ask(&filled(query, Some(("program", "winter"))));
            assert_ne!(none, rows, "{title} does not heed its filter");
        }
        if rows.len() == 1 && columns.len() == 1 {
            let (_, of_link) = engine.ask(&filled(query, Some(("link", "other"))));
            figures.insert(title, (number(&rows[0][0]), of_link.first().map(|row| row[0].clone())));
        }
    }
    for (title, all, of_other) in [
        ("Views", 1.0, 0.0),
        ("Clicks", 7.0, 3.0),
        ("Shares", 1.0, 0.0),
        ("Unique visitors", 4.0, 2.0),
        ("Not counted", 1.0, 1.0),
        ("Missing", 4.0, 4.0),
        ("Leads", 2.0, 1.0),
        ("Conversions", 1.0, 0.0),
        ("Refunds", 1.0, 0.0),
        ("Leads a click", 2.0 / 7.0, 1.0 / 3.0),
        ("Conversions a lead", 0.5, 0.0),
        ("Conversions a click", 1.0 / 7.0, 0.0),
    ] {
        let (found, of_link) = figures.get(title).unwrap_or_else(|| panic!("{title} is no single figure: {figures:?}"));
        assert!((found - all).abs() < 1e-9, "{title}: {found}, and the rows say {all}");
        let of_link = number(of_link.as_ref().expect("a row"));
        assert!((of_link - of_other).abs() < 1e-9, "{title} of one link: {of_link}, and the rows say {of_other}");
    }
}
