//! On the real engine.

mod engine;
mod reports;
