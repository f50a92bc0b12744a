//! Answers as flat rows: the one place that names the columns, for the command line, the API and exports alike.
//!
//! JSON is an array of flat objects; an event export has one object a line. CSV is RFC 4180 with a header, and cells that
//! a spreadsheet would take for a formula are made harmless (OWASP, "CSV Injection").

use std::{
    borrow::Cow,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Dimension, LinkRow, ReachRow};
use crate::core::{
    event::Event,
    id::{EventId, VisitorId},
    money::Currency,
    time::Millis,
};

/// One value. Text that is not there is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Number(u64),
    /// An amount in minor units; `digits` of them stand behind the point where people read it.
    Money {
        minor: i64,
        digits: u32,
    },
    /// Ten-thousandths: a rate, or a ratio of amounts.
    Rate(i64),
    /// A number that nobody asked for, or that there is not: null in JSON, empty in CSV.
    Unknown,
}

impl Cell {
    /// A part of a number, to the nearest ten-thousandth; unknown where that is 0.
    pub fn rate(part: u64, of: u64) -> Cell {
        Cell::of(i128::from(part), i128::from(of))
    }

    /// The same of amounts, which may be negative.
    pub fn ratio(part: i64, of: i64) -> Cell {
        Cell::of(i128::from(part), i128::from(of))
    }

    fn of(part: i128, of: i128) -> Cell {
        if of == 0 {
            return Cell::Unknown;
        }
        let rate = (part * 10_000 * 2 + of).div_euclid(of * 2);
        i64::try_from(rate).map_or(Cell::Unknown, Cell::Rate)
    }

    /// A rate's ten-thousandths.
    pub fn basis_points(&self) -> Option<u64> {
        if let Cell::Rate(rate) = self { u64::try_from(*rate).ok() } else { None }
    }

    /// An amount of a currency; unknown where there is none.
    pub fn money(minor: i64, currency: &str) -> Cell {
        match currency.parse::<Currency>() {
            Ok(currency) => Cell::Money { minor, digits: currency.exponent() },
            Err(_) => Cell::Unknown,
        }
    }
}

/// `0.1234`, in whole numbers all the way.
fn decimal(ten_thousandths: i64) -> String {
    let (sign, number) = (if ten_thousandths < 0 { "-" } else { "" }, ten_thousandths.unsigned_abs());
    format!("{sign}{}.{:04}", number / 10_000, number % 10_000)
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Cell {
        number.map_or(Cell::Unknown, Cell::Number)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Number(number) => serializer.serialize_u64(*number),
            Cell::Money { minor, .. } => serializer.serialize_i64(*minor),
            // No amount: a number of four digits behind the point, which every reader of JSON takes.
            Cell::Rate(rate) => serializer.serialize_f64(*rate as f64 / 10_000.0),
            Cell::Unknown => serializer.serialize_none(),
        }
    }
}

impl Cell {
    /// As it stands in a CSV file.
    pub fn csv(&self) -> Cow<'_, str> {
        match self {
            Cell::Number(number) => number.to_string().into(),
            Cell::Money { minor, .. } => minor.to_string().into(),
            Cell::Rate(rate) => decimal(*rate).into(),
            Cell::Unknown => "".into(),
            Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}").into(),
            Cell::Text(text) => text.into(),
        }
    }
}

/// A report's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

/// One row as an object.
struct Object<'a> {
    columns: &'a [&'static str],
    cells: &'a [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(column, cell)?;
        }
        map.end()
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for cells in &self.rows {
            rows.serialize_element(&Object { columns: &self.columns, cells })?;
        }
        rows.end()
    }
}

impl Table {
    pub fn write_csv(&self, out: impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(&self.columns)?;
        for cells in &self.rows {
            csv.write_record(cells.iter().map(|cell| cell.csv().into_owned()))?;
        }
        csv.flush()
    }

    pub fn write_json(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }
}

/// Reach by these dimensions.
pub fn reach(by: &[Dimension], rows: &[ReachRow]) -> Table {
    let mut columns: Vec<&'static str> = by.iter().map(|dimension| dimension.label()).collect();
    columns.extend(["views", "clicks", "shares", "unique_visitors", "missing"]);
    let cells = |row: &ReachRow| {
        let mut cells: Vec<Cell> = row.key.iter().map(|value| value.as_str().into()).collect();
        cells.extend([row.views, row.clicks, row.shares].map(Cell::Number));
        cells.extend([row.unique_visitors.into(), Cell::Number(row.missing)]);
        cells
    };
    Table { columns, rows: rows.iter().map(cells).collect() }
}

/// The statistics of links.
pub fn links(rows: &[LinkRow]) -> Table {
    let cells = |row: &LinkRow| {
        let mut cells: Vec<Cell> = [&row.link, &row.partner, &row.ad].map(|text| text.as_str().into()).into();
        cells.extend([row.views, row.clicks, row.shares].map(Cell::Number));
        cells.extend([row.unique_visitors.into(), Cell::Number(row.not_counted)]);
        cells.push(Cell::Text(row.last_click.map_or_else(String::new, |time| time.to_string())));
        cells
    };
    Table {
        columns: vec![
            "link",
            "partner",
            "ad",
            "views",
            "clicks",
            "shares",
            "unique_visitors",
            "not_counted",
            "last_click",
        ],
        rows: rows.iter().map(cells).collect(),
    }
}

/// The fields of an exported event. Names and order are what integrators rely on.
pub const EVENT_COLUMNS: [&str; 31] = [
    "id", "kind", "class", "time", "program", "link", "partner", "ad", "slug", "channel", "visitor", "country",
    "region", "city", "network", "address", "referrer", "language", "device", "browser", "os", "sub1", "sub2", "sub3",
    "sub4", "sub5", "reason", "named", "click", "rule", "count",
];

/// One event, a cell for each of [`EVENT_COLUMNS`].
pub fn event(event: &Event) -> [Cell; 31] {
    let text = |text: &str| Cell::Text(text.to_owned());
    let id =
        |bytes: &[u8]| Cell::Text(<[u8; 16]>::try_from(bytes).map(|id| EventId(id).to_string()).unwrap_or_default());
    let visitor = <[u8; 16]>::try_from(event.visitor.as_slice()).map(|id| VisitorId(id).to_string());
    [
        id(&event.id),
        text(event.kind().label()),
        text(event.class().label()),
        Cell::Text(Millis(event.time_ms).to_string()),
        text(&event.program),
        text(&event.link),
        text(&event.partner),
        text(&event.ad),
        text(&event.slug),
        text(&event.channel),
        Cell::Text(visitor.unwrap_or_default()),
        text(&event.country),
        text(&event.region),
        text(&event.city),
        text(&event.network),
        Cell::Text(address(&event.address)),
        text(&event.referrer),
        text(&event.language),
        text(event.device().label()),
        text(&event.browser),
        text(&event.os),
        text(&event.sub1),
        text(&event.sub2),
        text(&event.sub3),
        text(&event.sub4),
        text(&event.sub5),
        text(&event.reason),
        text(&event.named),
        id(&event.click),
        Cell::Number(event.rule.into()),
        Cell::Number(event.weight()),
    ]
}

/// `203.0.113.0/24` or `2001:db8:1::/48`; empty when there is none.
pub(super) fn address(cut: &[u8]) -> String {
    match *cut {
        [a, b, c] => format!("{}/24", Ipv4Addr::new(a, b, c, 0)),
        [a, b, c, d, e, f] => {
            let [first, second, third] = [[a, b], [c, d], [e, f]].map(u16::from_be_bytes);
            format!("{}/48", Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0))
        }
        _ => String::new(),
    }
}

/// One event as a line of JSON.
pub fn write_event_json(mut out: impl Write, cells: &[Cell; 31]) -> io::Result<()> {
    serde_json::to_writer(&mut out, &Object { columns: &EVENT_COLUMNS, cells })?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_every_field_even_when_empty() {
        let mut out = Vec::new();
        write_event_json(&mut out, &event(&Event { rule: 2, address: vec![203, 0, 113], ..Event::default() })).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"{"id":"","kind":"","class":"","time":"1970-01-01T00:00:00.000Z","program":"","link":"","partner":"","ad":"","slug":"","channel":"","visitor":"","country":"","region":"","city":"","network":"","address":"203.0.113.0/24","referrer":"","language":"","device":"","browser":"","os":"","sub1":"","sub2":"","sub3":"","sub4":"","sub5":"","reason":"","named":"","click":"","rule":2,"count":1}"#);
    }

    #[test]
    fn ids_and_addresses_are_written_as_people_know_them() {
        let cells = event(&Event {
            id: vec![0xab; 16],
            visitor: vec![1; 16],
            address: vec![0x20, 0x01, 0x0d, 0xb8, 0, 1],
            count: 7,
            ..Event::default()
        });
        assert_eq!(cells[0], Cell::from("abababab-abab-abab-abab-abababababab"));
        assert_eq!(cells[10], Cell::from("01010101010101010101010101010101"));
        assert_eq!(cells[15], Cell::from("2001:db8:1::/48"));
        assert_eq!(cells[30], Cell::Number(7));
    }

    #[test]
    fn rates_are_rounded_and_amounts_are_minor_units() {
        let rates = [Cell::rate(1, 3), Cell::rate(2, 3), Cell::rate(1, 0), Cell::ratio(-1, 3), Cell::ratio(7, 2)];
        assert_eq!(rates.map(|rate| rate.csv().into_owned()), ["0.3333", "0.6667", "", "-0.3333", "3.5000"]);
        assert_eq!(Cell::money(-1_999, "EUR").csv(), "-1999");
        assert_eq!(serde_json::to_string(&[Cell::money(5, "JPY"), Cell::rate(1, 3)]).unwrap(), "[5,0.3333]");
        assert_eq!(Cell::money(5, ""), Cell::Unknown, "there is no amount without a currency");
    }

    #[test]
    fn formulas_in_csv_are_made_harmless() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(Cell::from(text).csv(), format!("'{text}"));
        }
        let row = LinkRow { link: "a,\"b\"".into(), partner: "=cmd|'/C calc'!A0".into(), ..LinkRow::default() };
        let row = LinkRow { unique_visitors: Some(0), ..row };
        let mut out = Vec::new();
        links(&[row]).write_csv(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "link,partner,ad,views,clicks,shares,unique_visitors,not_counted,last_click\n\
             \"a,\"\"b\"\"\",'=cmd|'/C calc'!A0,,0,0,0,0,0,\n"
        );
    }

    #[test]
    fn reach_is_an_array_of_flat_objects() {
        let row = |unique_visitors| ReachRow {
            key: vec!["haircare".into()],
            clicks: 3,
            unique_visitors,
            ..ReachRow::default()
        };
        let json = |row| serde_json::to_string(&reach(&[Dimension::Link], &[row])).unwrap();
        insta::assert_snapshot!(json(row(Some(2))), @r#"[{"link":"haircare","views":0,"clicks":3,"shares":0,"unique_visitors":2,"missing":0}]"#);
        insta::assert_snapshot!(json(row(None)), @r#"[{"link":"haircare","views":0,"clicks":3,"shares":0,"unique_visitors":null,"missing":0}]"#);
    }
}
