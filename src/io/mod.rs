//! The doors to the machine: clock, disk, randomness, addresses. Everything behind a trait, so that a test can close them.

pub mod clock;
pub mod disk;
pub mod net;
pub mod node;
pub mod random;
pub mod sim;
pub mod user;
