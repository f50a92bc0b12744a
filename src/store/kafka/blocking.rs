//! Calls of the library that block: off the runtime, and none for longer than it is given.

use std::time::{Duration, Instant};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{BaseProducer, Producer},
    util::Timeout,
};

use super::client::Context;

/// How often it is looked whether the broker has answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Waits until the broker has answered for every record. The library's own flush looks every 100 ms only, which would be most of
/// a transaction's time.
pub(super) fn drain(producer: &BaseProducer<Context>, patience: Duration) -> Result<(), KafkaError> {
    let deadline = Instant::now() + patience;
    while producer.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return Err(KafkaError::Flush(Code::OperationTimedOut));
        }
        producer.poll(LOOK_INTERVAL);
    }
    Ok(())
}

/// Calls again what may be called again, until it works or time is up.
pub(super) fn insist(patience: Duration, call: impl Fn(Timeout) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(Timeout::After(left)) {
            Err(KafkaError::Transaction(problem)) if problem.is_retriable() && !left.is_zero() => {}
            result => return result,
        }
    }
}

/// The library's calls block. A caller that is dropped gives up waiting; the call ends by its own time-out.
pub(super) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
