//! Horizontal bars: the best of a kind, and the steps of a funnel. Drawn here as SVG, as `chart` draws columns.

use askama::Template;

/// One bar as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) label: String,
    /// As people read it.
    pub(super) value: String,
    /// Ten-thousandths of the whole width.
    pub(super) part: u64,
    /// Beside the value.
    pub(super) note: String,
    /// It stands out, and so does its note.
    pub(super) is_marked: bool,
}

#[derive(Debug)]
struct Bar {
    label: String,
    /// What there is room for.
    short: String,
    value: String,
    note: String,
    width: String,
    y: usize,
    is_marked: bool,
}

/// Bars one below the other, each with its label and value above it.
#[derive(Debug, Template)]
#[template(path = "chart/bars.svg", escape = "html")]
pub(super) struct Bars {
    title: String,
    summary: String,
    bars: Vec<Bar>,
    width: u32,
}

/// Of the drawing, in its own units, which are about pixels: a card's inside.
const WIDTH: u32 = 340;
const STEP: usize = 36;
/// What is there is seen, however little it is.
const LEAST: f64 = 2.0;
const LABEL_CHARS: usize = 26;

impl Bars {
    /// The summary says in words what the picture shows; it is made of all lines.
    pub(super) fn new(title: String, lines: Vec<Line>) -> Bars {
        let told = |line: &Line| match line.note.as_str() {
            "" => format!("{} {}", line.label, line.value),
            note => format!("{} {} ({note})", line.label, line.value),
        };
        let summary = lines.iter().map(told).collect::<Vec<_>>().join(", ");
        let bar = |(at, line): (usize, Line)| {
            let width = line.part.min(10_000) as f64 / 10_000.0 * f64::from(WIDTH);
            Bar {
                short: shortened(&line.label),
                label: line.label,
                value: line.value,
                note: line.note,
                width: format!("{:.1}", if line.part > 0 { width.max(LEAST) } else { 0.0 }),
                y: at * STEP,
                is_marked: line.is_marked,
            }
        };
        Bars { title, summary, bars: lines.into_iter().enumerate().map(bar).collect(), width: WIDTH }
    }

    fn height(&self) -> usize {
        self.bars.len() * STEP
    }
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    label.chars().take(LABEL_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_parts_and_labels_are_text() {
        let line = |label: &str, part| Line { label: label.to_owned(), value: "9".to_owned(), part, ..Line::default() };
        let marked = Line { note: "−90 %".to_owned(), is_marked: true, ..line("<b>x</b>", 1) };
        let bars = Bars::new("Best".to_owned(), vec![line("a", 10_000), marked, line("nothing", 0)]);
        let widths: Vec<&str> = bars.bars.iter().map(|bar| bar.width.as_str()).collect();
        assert_eq!(widths, ["340.0", "2.0", "0.0"]);
        let svg = bars.render().unwrap();
        assert!(svg.contains("&#60;b&#62;x&#60;/b&#62;") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("class=\"drop\"") && svg.contains("a 9, ") && !svg.contains("style="), "{svg}");
        assert_eq!(shortened(&"é".repeat(40)).chars().count(), LABEL_CHARS);
    }
}
