//! What the tables of reports look like, and what they say when there is nothing to show.

use super::*;
use crate::{
    core::{
        event::{Class, Event, Kind},
        time::{DAY_MS, HOUR_MS},
    },
    store::model::{Model, START},
};

fn event(hours: i64, kind: Kind, class: Class, link: &str, partner: &str, visitor: u8, count: u64) -> Event {
    Event {
        kind: kind as i32,
        class: class as i32,
        time_ms: START.0 + hours * HOUR_MS + 90_000,
        link: link.to_owned(),
        partner: partner.to_owned(),
        visitor: if visitor == 0 { Vec::new() } else { vec![visitor; 16] },
        count,
        ..Event::default()
    }
}

/// Three days of two links.
fn history() -> Vec<Event> {
    vec![
        event(0, Kind::Click, Class::Human, "haircare", "abc123", 1, 1),
        event(5, Kind::Click, Class::Repeat, "haircare", "abc123", 1, 0),
        event(30, Kind::Click, Class::Human, "haircare", "abc123", 2, 1_200),
        event(31, Kind::View, Class::Human, "haircare", "abc123", 3, 4),
        event(50, Kind::Click, Class::Human, "skincare", "", 2, 3),
        event(51, Kind::Share, Class::Human, "skincare", "xyz", 0, 2),
        event(52, Kind::Click, Class::Bot, "skincare", "xyz", 0, 40),
    ]
}

const NOW: Millis = Millis(START.0 + 3 * DAY_MS);

fn shown(events: Vec<Event>, act: impl AsyncFnOnce(&dyn Reports, &mut Vec<u8>) -> anyhow::Result<()>) -> String {
    let model = Model::new(events);
    let mut out = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(act(&model, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

fn reach_of(events: Vec<Event>, args: &ReachArgs) -> String {
    shown(events, async |reports, out| reach(reports, args, NOW, out).await)
}

fn by(by: &str) -> ReachArgs {
    ReachArgs { by: by.to_owned(), common: Common { since: Some("3d".to_owned()), ..Common::default() } }
}

fn without_visitors(args: ReachArgs) -> ReachArgs {
    ReachArgs { common: Common { no_visitors: true, ..args.common }, ..args }
}

#[test]
fn reach_by_link() {
    insta::assert_snapshot!(reach_of(history(), &by("link")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    link      views  clicks  shares  unique visitors  clicks, 3h each
    ──────────────────────────────────────────────────────────────────────────
    haircare      4   1,202       0                3  ▁▁········█·············
    skincare      0       3       2                1  ················█·······
    ──────────────────────────────────────────────────────────────────────────
    total         4   1,205       2                3  ▁▁········█·····▁·······
    ");
}

#[test]
fn reach_by_day_shows_the_hours_of_each() {
    insta::assert_snapshot!(reach_of(history(), &by("day")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    day         views  clicks  shares  unique visitors  clicks, 1h each
    ────────────────────────────────────────────────────────────────────────────
    2026-03-01      0       2       0                1  █····█··················
    2026-03-02      4   1,200       0                2  ······█·················
    2026-03-03      0       3       2                1  ··█·····················
    ────────────────────────────────────────────────────────────────────────────
    total           4   1,205       2                3
    ");
}

#[test]
fn reach_by_class_shows_what_does_not_count() {
    insta::assert_snapshot!(reach_of(history(), &without_visitors(by("class"))), @r"
    Reach from 2026-03-01 00:00 (UTC)

    class             views  clicks  shares  clicks, 3h each
    ─────────────────────────────────────────────────────────────────
    human                 4   1,204       2  ▁·········█·····▁·······
    bot                   0      40       0  ·················█······
    repeat                0       1       0  ·█······················
    ─────────────────────────────────────────────────────────────────
    human and repeat      4   1,205       2  ▁▁········█·····▁·······
    ");
}

#[test]
fn totals_alone() {
    insta::assert_snapshot!(reach_of(history(), &by("")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    views  clicks  shares  unique visitors  clicks, 3h each
    ────────────────────────────────────────────────────────────────
        4   1,205       2                3  ▁▁········█·····▁·······
    ");
}

#[test]
fn link_statistics() {
    let out = shown(history(), async |reports, out| links(reports, &LinkArgs::default(), NOW, out).await);
    insta::assert_snapshot!(out, @r"
    Links

    link      partner  ad  views  clicks  shares  unique visitors  not counted  last click           clicks, 3h each
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
    haircare  abc123   –       4   1,202       0                3            0  2026-03-02 06:01:30  ▁▁········█·············
    skincare  –        –       0       3       0                1            0  2026-03-03 02:01:30  ················█·······
    skincare  xyz      –       0       0       2                0           40  –                    ························
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
    total                      4   1,205       2                3           40                       ▁▁········█·····▁·······
    ");
}

#[test]
fn link_statistics_without_visitors() {
    let args = |format| LinkArgs { common: Common { no_visitors: true, limit: Some(1), format, ..Common::default() } };
    let of = |format| shown(history(), async |reports, out| links(reports, &args(format), NOW, out).await);
    insta::assert_snapshot!(of(Format::Table), @r"
    Links

    link      partner  ad  views  clicks  shares  not counted  last click           clicks, 3h each
    ────────────────────────────────────────────────────────────────────────────────────────────────────────
    haircare  abc123   –       4   1,202       0            0  2026-03-02 06:01:30  ▁▁········█·············
    ────────────────────────────────────────────────────────────────────────────────────────────────────────
    total                      4   1,205       2           40                       ▁▁········█·····▁·······
    ");
    insta::assert_snapshot!(of(Format::Csv), @r"
    link,partner,ad,views,clicks,shares,unique_visitors,not_counted,last_click
    haircare,abc123,,4,1202,0,,0,2026-03-02T06:01:30.000Z
    ");
}

#[test]
fn missing_clicks_are_said() {
    let mut events = history();
    events.push(event(30, Kind::Missing, Class::Unspecified, "", "", 0, 1_234));
    insta::assert_snapshot!(reach_of(events.clone(), &by("link")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    link      views  clicks  shares  unique visitors  clicks, 3h each
    ──────────────────────────────────────────────────────────────────────────
    haircare      4   1,202       0                3  ▁▁········█·············
    skincare      0       3       2                1  ················█·······
    ──────────────────────────────────────────────────────────────────────────
    total         4   1,205       2                3  ▁▁········█·····▁·······

    1,234 clicks are missing from these hours: answered, but not recorded, because the journal's disk was full or failed.
    ");
    insta::assert_snapshot!(reach_of(events, &by("day")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    day         views  clicks  shares  unique visitors  missing  clicks, 1h each
    ─────────────────────────────────────────────────────────────────────────────────────
    2026-03-01      0       2       0                1        0  █····█··················
    2026-03-02      4   1,200       0                2    1,234  ······█·················
    2026-03-03      0       3       2                1        0  ··█·····················
    ─────────────────────────────────────────────────────────────────────────────────────
    total           4   1,205       2                3    1,234

    1,234 clicks are missing from these hours: answered, but not recorded, because the journal's disk was full or failed.
    ");
}

#[test]
fn nothing_yet_says_what_to_do() {
    insta::assert_snapshot!(reach_of(Vec::new(), &by("link")), @r"
    Reach from 2026-03-01 00:00 (UTC)

    No views, clicks or shares here. Look further back (--since 30d), or click a link:
    what was answered is in the reports within about a second.
    ");
}

#[test]
fn json_and_csv_are_flat_and_limited() {
    let args = |format| {
        let common = Common { format, limit: Some(1), ..by("").common };
        ReachArgs { common, ..by("link") }
    };
    insta::assert_snapshot!(reach_of(history(), &args(Format::Csv)), @r"
    link,views,clicks,shares,unique_visitors,missing
    haircare,4,1202,0,3,0
    ");
    insta::assert_snapshot!(reach_of(history(), &args(Format::Json)), @r#"
    [
      {
        "link": "haircare",
        "views": 4,
        "clicks": 1202,
        "shares": 0,
        "unique_visitors": 3,
        "missing": 0
      }
    ]
    "#);
}

#[test]
fn a_wrong_question_is_an_error_with_the_known_words() {
    let model = Model::new(history());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(reach(&model, &by("week"), NOW, &mut Vec::new())).unwrap_err();
    assert!(error.to_string().contains("choose from hour, day, program"), "{error}");
}
