//! The edge.

pub mod connection;
pub mod counters;
pub mod listener;
pub mod proxy;
pub mod tls;

mod admit;
mod guard;
mod head;
mod life;
mod socket;
mod watched;
mod worker;
