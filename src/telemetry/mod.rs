//! What an operator sees: metric names, health, logs. The hot path counts in its worker and is summed at scrape.

pub mod edge;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod names;
