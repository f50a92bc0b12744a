//! On the real engine.

mod coarse;
mod engine;
mod keep;
mod reports;
