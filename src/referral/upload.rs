//! Files of facts, step by step: some lines at a time, each step one transaction that also notes how far the file is.

use super::{
    deed::{Line, in_words},
    desk::{Desk, DeskError},
    inbound::sheet::Header,
};
use crate::{
    catalog::{
        Mistake,
        uploads::{OpenUpload, RefusedLine, UploadKind, UploadStep},
    },
    core::limits::FACT_LINES,
};

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Where the second line begins, bytes; and the number of the line in which that is: the reader may stop before a line's
    /// last byte.
    pub position: usize,
    pub line: i64,
}

/// Checks a file's first line.
pub fn begin(kind: UploadKind, file: &str) -> Result<Beginning, Mistake> {
    let wrong = |problem: String| Mistake::new("line 1", problem);
    // The reader leaves a byte order mark out, and does not count it.
    let text = file.trim_start_matches('\u{feff}');
    let mut sheet = reader(text);
    let mut names = csv::StringRecord::new();
    let read = sheet.read_record(&mut names).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !read {
        return Err(wrong("is missing: it names the columns, for example program,email,at".to_owned()));
    }
    Header::new(kind, names.iter()).map_err(wrong)?;
    let read = usize::try_from(sheet.position().byte()).unwrap_or(usize::MAX);
    let position = (file.len() - text.len()).saturating_add(read).min(file.len());
    let header = names.iter().map(|name| name.trim().to_owned()).collect();
    Ok(Beginning { header, position, line: 1 + newlines(file, 0, position) })
}

fn reader(text: &str) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes())
}

/// Lines that were read together.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub lines: Vec<Line>,
    pub refused: Vec<RefusedLine>,
    /// Where the next line begins, and its number.
    pub position: usize,
    pub line: i64,
    pub done: bool,
}

/// Reads the next lines of a file.
pub fn read(header: &Header, file: &str, position: usize, line: i64, lines_max: usize) -> Read {
    let mut read = Read { position, line, ..Read::default() };
    let text = file.get(position..).unwrap_or_default();
    let mut sheet = reader(text);
    let mut record = csv::StringRecord::new();
    let (mut number, mut counted) = (line, 0);
    while read.lines.len() + read.refused.len() < lines_max {
        // The text is UTF-8, and any number of cells is read: nothing can fail but the end.
        if !sheet.read_record(&mut record).unwrap_or(false) {
            read.done = true;
            break;
        }
        // The reader's place is before empty lines, which it leaves out.
        let at = record.position().map_or(0, |at| at.byte() as usize).min(text.len());
        let rest = text.get(at..).unwrap_or_default();
        let begins = at + rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        number += newlines(text, counted, begins);
        counted = begins;
        let cells = || record.iter().map(str::to_owned).collect::<Vec<_>>();
        match header.read(&record) {
            Ok(deed) => read.lines.push(Line { number, deed, cells: cells() }),
            Err(mistakes) => {
                read.refused.push(RefusedLine { line: number, reason: in_words(&mistakes), cells: cells() });
            }
        }
    }
    let end = usize::try_from(sheet.position().byte()).unwrap_or(usize::MAX).min(text.len());
    (read.position, read.line) = (position + end, number + newlines(text, counted, end));
    read
}

/// Line breaks between two places; none where the first is behind.
fn newlines(text: &str, from: usize, to: usize) -> i64 {
    text.get(from..to).map_or(0, |part| part.matches('\n').count() as i64)
}

impl Desk {
    /// Works off the next lines of the oldest file that is open. False: there is none.
    pub async fn work_off_next(&self) -> Result<bool, DeskError> {
        let Some(open) = self.catalog.open_upload().await? else { return Ok(false) };
        // As long as nobody else works on it, its next step begins where this one ends: the body is read once.
        let OpenUpload { id, kind, header, body, position, line } = open;
        let names = header;
        let header = match Header::new(kind, names.iter().map(String::as_str)) {
            Ok(header) => header,
            // Another version took it: it is refused as a whole, and those behind it go on.
            Err(reason) => {
                let refused = vec![RefusedLine { line: 1, reason, cells: names }];
                let to = i64::try_from(body.len()).unwrap_or(i64::MAX);
                let step = UploadStep { from: position, to, line, refused, done: true, ..UploadStep::default() };
                return self.work_off(&id, &[], step).await.map(|_| true);
            }
        };
        let (mut position, mut line) = (usize::try_from(position).unwrap_or(usize::MAX).min(body.len()), line);
        loop {
            let read = read(&header, &body, position, line, FACT_LINES);
            let number = |position: usize| i64::try_from(position).unwrap_or(i64::MAX);
            let step = UploadStep {
                from: number(position),
                to: number(read.position),
                line: read.line,
                refused: read.refused,
                done: read.done,
                ..UploadStep::default()
            };
            if !self.work_off(&id, &read.lines, step).await? || read.done {
                return Ok(true);
            }
            (position, line) = (read.position, read.line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the size of a step, every line is read once, under its own number.
    #[test]
    fn steps_of_any_size_read_the_same_lines() {
        for end in ["\n", "\r\n"] {
            let text = [
                "\u{feff}program,email,metadata",
                "spring,a@home.example,\"{\"\"two\"\":",
                "\"\"lines\"\"}\"",
                "",
                "spring,b@home.example,",
                "spring,nobody,",
                "spring,d@home.example,",
            ];
            let file = text.join(end) + end;
            let beginning = begin(UploadKind::Leads, &file).unwrap();
            assert_eq!(beginning.header, ["program", "email", "metadata"]);
            let header = Header::new(UploadKind::Leads, beginning.header.iter().map(String::as_str)).unwrap();
            for lines_max in 1..6 {
                let (mut position, mut line) = (beginning.position, beginning.line);
                let (mut good, mut bad) = (Vec::new(), Vec::new());
                loop {
                    let read = read(&header, &file, position, line, lines_max);
                    good.extend(read.lines.iter().map(|line| (line.number, line.cells[1].clone())));
                    bad.extend(read.refused.iter().map(|refused| refused.line));
                    (position, line) = (read.position, read.line);
                    if read.done {
                        break;
                    }
                }
                let expected = [(2, "a@home.example"), (5, "b@home.example"), (7, "d@home.example")];
                let expected: Vec<(i64, String)> = expected.map(|(line, cell)| (line, cell.to_owned())).to_vec();
                assert_eq!((good, bad), (expected, vec![6]), "{lines_max} lines a step, ends {end:?}");
                assert_eq!(position, file.len());
            }
        }
    }

    #[test]
    fn a_first_line_that_cannot_be_used_is_refused() {
        for (file, part) in
            [("", "is missing"), ("email\nx@y.example\n", "`program` is missing"), ("program,mail\n", "no column")]
        {
            let mistake = begin(UploadKind::Leads, file).unwrap_err();
            assert!(mistake.field == "line 1" && mistake.problem.contains(part), "{mistake:?}");
        }
    }
}
