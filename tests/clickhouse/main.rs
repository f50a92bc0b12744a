//! ClickHouse as event store, on the real engine.

mod engine;
mod insert;
mod schema;

use std::future::Future;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
