//! Lines of CSV as facts: the API's fields as columns, one column that says who it is.
//!
//! A lead without a name of its own, and a conversion without `invoice_id`, go by what stands in their line: the same line is the
//! same fact, in this file or in another one, so that a file may be read twice.

use serde_json::{Map, Value};

use super::super::{
    deed::Deed,
    told::{self, ToldConversion, ToldLead},
};
use crate::catalog::{
    Mistake,
    sheet::{REASON, restore},
    uploads::UploadKind,
};

/// Ways to say whose a conversion is: one of them in a file.
const WHOSE: &[&str] = &["referral", "external_id", "email", "token"];
/// Columns of a lead, one of which must be there.
const WHO: &[&str] = &["email", "external_id"];

/// Which cell holds which field.
#[derive(Clone, Debug)]
pub struct Header {
    kind: UploadKind,
    fields: Vec<&'static str>,
}

impl Header {
    /// Reads the first line. The error says what is wrong with it, and how to mend it.
    pub fn new<'n>(kind: UploadKind, names: impl Iterator<Item = &'n str>) -> Result<Header, String> {
        let known = match kind {
            UploadKind::Leads => ToldLead::FIELDS,
            UploadKind::Conversions => ToldConversion::FIELDS,
        };
        let mut fields: Vec<&'static str> = Vec::new();
        for name in names {
            let name = name.trim_start_matches('\u{feff}').trim();
            match known.iter().chain(&[REASON]).find(|field| **field == name) {
                None => return Err(format!("there is no column `{name}`: known are {}", known.join(", "))),
                Some(field) if fields.contains(field) => return Err(format!("the column `{name}` stands there twice")),
                Some(field) => fields.push(*field),
            }
        }
        let has = |field: &&str| fields.contains(field);
        match kind {
            UploadKind::Leads if !has(&"program") => Err("the column `program` is missing".to_owned()),
            UploadKind::Leads if !WHO.iter().any(&has) => {
                Err(format!("nobody is named: give a column {}", WHO.join(" or ")))
            }
            UploadKind::Conversions => match WHOSE.iter().filter(|whose| has(whose)).count() {
                0 => Err(format!("nobody is named: give one column of {}", WHOSE.join(", "))),
                1 => Ok(Header { kind, fields }),
                _ => Err(format!("a file has one key column: keep one of {}", WHOSE.join(", "))),
            },
            UploadKind::Leads => Ok(Header { kind, fields }),
        }
    }

    /// The fact in a line, or all that is wrong with it.
    pub fn read(&self, record: &csv::StringRecord) -> Result<Deed, Vec<Mistake>> {
        if record.len() != self.fields.len() {
            let (cells, columns) = (record.len(), self.fields.len());
            let problem = format!("has {cells} cells, the first line has {columns}: check commas and quotes");
            return Err(vec![Mistake::new("line", problem)]);
        }
        let mut object = Map::new();
        for (field, cell) in self.fields.iter().zip(record) {
            if *field != REASON && !cell.is_empty() {
                object.insert((*field).to_owned(), value(field, restore(cell)));
            }
        }
        object.sort_keys();
        let name = format!("line {}", told::digest(&Value::Object(object.clone()).to_string()));
        Ok(match self.kind {
            UploadKind::Leads => {
                let told = ToldLead::read(object)?;
                Deed::Lead(Box::new(ToldLead { name: Some(name), ..told }))
            }
            UploadKind::Conversions => {
                let told = ToldConversion::read(object, "csv")?;
                let invoice = told.invoice.clone().or(Some(name));
                Deed::Conversion(Box::new(ToldConversion { invoice, ..told }))
            }
        })
    }
}

/// A cell as the API has it. What is no number or no JSON stays a text, and the field says what it should be.
fn value(field: &str, cell: &str) -> Value {
    match field {
        "amount" => cell.trim().parse::<u64>().map_or_else(|_| cell.into(), Value::from),
        "metadata" => serde_json::from_str(cell).unwrap_or_else(|_| cell.into()),
        _ => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cells: &[&str]) -> csv::StringRecord {
        cells.iter().collect()
    }

    fn wrong(kind: UploadKind, names: &[&str]) -> String {
        Header::new(kind, names.iter().copied()).unwrap_err()
    }

    #[test]
    fn a_file_has_one_key_column() {
        assert!(wrong(UploadKind::Conversions, &["amount"]).contains("nobody is named"));
        assert!(wrong(UploadKind::Conversions, &["email", "external_id"]).contains("one key column"));
        assert!(wrong(UploadKind::Leads, &["email"]).contains("`program` is missing"));
        assert!(wrong(UploadKind::Leads, &["program"]).contains("nobody is named"));
        assert!(wrong(UploadKind::Leads, &["program", "mail"]).contains("no column `mail`"));
        assert!(wrong(UploadKind::Leads, &["program", "email", "email"]).contains("twice"));
    }

    #[test]
    fn the_same_line_is_the_same_fact_in_any_order_of_columns() {
        let one = Header::new(UploadKind::Leads, ["\u{feff}program", "email", "metadata"].into_iter()).unwrap();
        let two = Header::new(UploadKind::Leads, ["metadata", REASON, "email", "program"].into_iter()).unwrap();
        let lead = one.read(&record(&["spring", "a@home.example", r#"{"x": 1}"#])).unwrap();
        assert_eq!(two.read(&record(&[r#"{"x":1}"#, "line 2: bad", "a@home.example", "spring"])).unwrap(), lead);
        let other = one.read(&record(&["spring", "b@home.example", ""])).unwrap();
        let name = |deed: &Deed| if let Deed::Lead(lead) = deed { lead.name.clone() } else { None };
        assert!(name(&lead).is_some() && name(&lead) != name(&other));
    }

    #[test]
    fn every_mistake_of_a_line_is_told() {
        let header = ["email", "amount", "currency", "at"];
        let header = Header::new(UploadKind::Conversions, header.into_iter()).unwrap();
        let fields = |cells: &[&str]| -> Vec<String> {
            header.read(&record(cells)).unwrap_err().into_iter().map(|mistake| mistake.field).collect()
        };
        assert_eq!(fields(&["nobody", "19.99", "EURO", "yesterday"]), ["email", "amount", "currency", "at"]);
        assert_eq!(fields(&["a@home.example", "5"]), ["line"]);
        let deed = header.read(&record(&["'=a@home.example", "5", "EUR", ""]));
        assert!(
            matches!(deed, Ok(Deed::Conversion(told)) if told.money.unwrap().amount == 5 && told.invoice.is_some())
        );
    }
}
