//! Any file as an import: reading does not panic, no mistake is without words, and a line that was taken is exported and
//! read again as the same item, with no cell that a spreadsheet would run.
#![no_main]

use csv::StringRecord;
use fingerpost::catalog::{
    Ad, Entity, Link, Partner, Program, ShareLink, entity,
    sheet::{Header, Line, neutralise},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, file)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => import::<Link>(file),
        1 => import::<Partner>(file),
        2 => import::<Program>(file),
        3 => import::<Ad>(file),
        _ => import::<ShareLink>(file),
    }
});

fn import<T: Entity>(file: &[u8]) {
    let mut sheet = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let Ok(names) = sheet.headers().cloned() else { return };
    let header = match Header::new::<T>(names.iter()) {
        Ok(header) => header,
        Err(problem) => return assert!(!problem.is_empty()),
    };
    for record in sheet.records() {
        // Not UTF-8, or another number of cells: the import says so before it reads an item.
        let Ok(record) = record else { continue };
        if record.len() != header.len() {
            continue;
        }
        match entity::read::<T, _>(&mut Line::new(&header, &record)) {
            Ok(item) => check_round_trip(&item),
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                assert!(mistakes.iter().all(|mistake| !mistake.field.is_empty() && !mistake.problem.is_empty()));
            }
        }
    }
}

fn check_round_trip<T: Entity>(item: &T) {
    let cells: Vec<String> = item.cells().iter().map(|cell| neutralise(cell).into_owned()).collect();
    for cell in &cells {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "a spreadsheet runs {cell:?}");
    }
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(&cells).expect("writing to memory");
    let file = file.into_inner().expect("writing to memory");
    let mut sheet = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&*file);
    let record: StringRecord = sheet.records().next().expect("a line").expect("what was written can be read");
    let header = Header::new::<T>(T::FIELDS.iter().copied()).expect("its own names");
    // By its cells: whether a slug was drawn or given is not in the file.
    let again = entity::read::<T, _>(&mut Line::new(&header, &record));
    let again = again.unwrap_or_else(|mistakes| panic!("{mistakes:?} in what was exported: {item:?}"));
    assert_eq!(again.cells(), item.cells());
}
