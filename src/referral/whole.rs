//! A fact that was begun is brought to its end, whoever goes away meanwhile.
//!
//! Facts of several requests share a transaction. One that is given up half-way is taken back alone where it is known how far
//! it came; where it is given up on the way to the database nobody knows, and all have to begin anew. So it is no part of a
//! request, which ends with its connection, but a task of its own.

use std::{future::Future, panic::resume_unwind};

use crate::catalog::audit::{Caller, as_caller};

pub(super) async fn to_the_end<T: Send + 'static>(fact: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(as_caller(Caller::current(), fact)).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and whoever waits ends with it.
            Err(_) => std::future::pending().await,
        },
    }
}
