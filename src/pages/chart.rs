//! Pictures of figures, drawn here as SVG: no script, nothing of anybody else's, light and dark by the page's own colours. Each has a
//! title and a text that says the same for those who do not see it.

use askama::Template;

/// A day, an hour, or whatever stands in a row along the bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// In full, for who points at it.
    pub(super) label: String,
    pub(super) value: u64,
}

/// Columns side by side, with the highest value at the top and the first and last label below.
#[derive(Debug, Template)]
#[template(path = "chart/columns.svg", escape = "html")]
pub(super) struct Columns {
    title: String,
    summary: String,
    bars: Vec<Bar>,
    most: String,
    first: String,
    last: String,
    width: u32,
    height: u32,
}

#[derive(Debug)]
struct Bar {
    x: String,
    y: String,
    width: String,
    height: String,
    label: String,
    value: u64,
}

/// Of the drawing, in its own units: labels above and below take `TOP` and `BOTTOM`.
const WIDTH: u32 = 420;
const HEIGHT: u32 = 160;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 20.0;

impl Columns {
    /// `summary` says in words what the picture shows; `most` is its highest value as it is written there.
    pub(super) fn new(title: String, summary: String, most: String, columns: &[Column]) -> Columns {
        let highest = columns.iter().map(|column| column.value).max().unwrap_or(0).max(1) as f64;
        let step = f64::from(WIDTH) / columns.len().max(1) as f64;
        let room = f64::from(HEIGHT) - TOP - BOTTOM;
        let bars = columns.iter().enumerate().map(|(at, column)| {
            // What is there is seen, however little it is beside the rest.
            let height = (column.value as f64 / highest * room).max(if column.value > 0 { 1.5 } else { 0.0 });
            Bar {
                x: format!("{:.1}", at as f64 * step + step * 0.12),
                y: format!("{:.1}", TOP + room - height),
                width: format!("{:.1}", step * 0.76),
                height: format!("{height:.1}"),
                label: column.label.clone(),
                value: column.value,
            }
        });
        let label = |column: Option<&Column>| column.map(|column| column.label.clone()).unwrap_or_default();
        Columns {
            title,
            summary,
            bars: bars.collect(),
            most,
            first: label(columns.first()),
            last: label(columns.last()),
            width: WIDTH,
            height: HEIGHT,
        }
    }

    /// What it shows, in words.
    pub(super) fn summary(&self) -> &str {
        &self.summary
    }

    fn floor(&self) -> u32 {
        self.height - BOTTOM as u32
    }
}

/// The QR code of an address.
pub(super) fn qr(address: &str) -> Option<String> {
    use fast_qr::{
        ECL, QRBuilder,
        convert::{Builder, Shape, svg::SvgBuilder},
    };
    let code = QRBuilder::new(address).ecl(ECL::M).build().ok()?;
    Some(SvgBuilder::default().margin(2).shape(Shape::Square).to_str(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_high_as_their_values_and_labels_are_text() {
        let column = |label: &str, value| Column { label: label.to_owned(), value };
        let columns = [column("1 Mar", 0), column("<2 Mar>", 1), column("3 Mar", 1_000)];
        let chart = Columns::new("Clicks".to_owned(), "words".to_owned(), "1,000".to_owned(), &columns);
        assert_eq!(chart.bars[0].height, "0.0");
        assert_eq!(chart.bars[1].height, "1.5");
        assert_eq!((chart.bars[2].height.as_str(), chart.bars[2].y.as_str()), ("122.0", "18.0"));
        let svg = chart.render().unwrap();
        assert!(svg.contains("<title") && svg.contains("&#60;2 Mar&#62;: 1") && !svg.contains("<2 Mar>"), "{svg}");
        assert!(Columns::new(String::new(), String::new(), String::new(), &[]).render().is_ok());
    }

    #[test]
    fn a_qr_code_is_drawn() {
        let svg = qr("https://r.example/k3vw9xq2").unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("style="), "{svg}");
    }
}
