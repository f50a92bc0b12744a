//! The real ClickHouse and PostgreSQL for tests that live beside the code, because what they compare with is not public.
//!
//! A part that does not come up is a failure, never a skipped test.

#[path = "../tests/support/stack.rs"]
mod stack;

pub(crate) use stack::{Part, Stack, unique};
