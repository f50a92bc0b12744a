//! The event store of many machines.

mod answer;
mod error;
mod question;
mod reports;
#[cfg(test)]
mod tests;

pub use reports::ClickHouseReports;
