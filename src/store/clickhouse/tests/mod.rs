//! On the real engine.

mod engine;
mod keep;
mod reports;
