//! On the real engine.

mod cluster;
mod coarse;
mod engine;
mod keep;
mod reports;
