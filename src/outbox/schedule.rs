//! When what failed is tried again: twice as late each time, up to a bound, less up to half of it at random, so that what
//! failed together does not come back together.

use std::time::Duration;

use crate::{
    config::outbox::Retries,
    core::{
        limits::{WEBHOOK_FAILURES_TO_REST, WEBHOOK_REST_MAX},
        time::Millis,
    },
};

/// What becomes of something that has failed `attempts` times (at least once), for the first time at `first_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    At(Millis),
    GiveUp,
}

/// The wait behind the failure number `failures`, counted from 1. `random` is any number.
pub(super) fn wait(retries: &Retries, failures: i64, random: u64) -> Duration {
    let doublings = u32::try_from(failures.clamp(1, 40) - 1).unwrap_or(0);
    let full = retries.first.saturating_mul(1 << doublings.min(30)).min(retries.longest);
    full.mul_f64(0.5 + (random >> 11) as f64 / (1u64 << 54) as f64)
}

/// `asked` is what the other side asked for (Retry-After).
pub(super) fn next(
    retries: &Retries,
    attempts: i64,
    first_at: Millis,
    now: Millis,
    asked: Option<Duration>,
    random: u64,
) -> Next {
    if now.0.saturating_sub(first_at.0) >= millis(retries.give_up_after) {
        return Next::GiveUp;
    }
    let wait = wait(retries, attempts, random).max(asked.unwrap_or_default().min(retries.longest));
    // The last try is not later than the end: it is then that the row is given up.
    let end = first_at.plus(millis(retries.give_up_after));
    Next::At(now.plus(millis(wait).max(1)).min(end))
}

/// Until when an endpoint rests behind so many failures in a row. One event that is not taken is its own fault; several of
/// them, and the endpoint is away: then only one event at a time is spent on finding out whether it is back.
pub(super) fn rest(retries: &Retries, failures: i64, now: Millis, random: u64) -> Millis {
    if failures < WEBHOOK_FAILURES_TO_REST {
        return Millis(0);
    }
    let bounded = Retries { longest: retries.longest.min(WEBHOOK_REST_MAX), ..*retries };
    now.plus(millis(wait(&bounded, failures - WEBHOOK_FAILURES_TO_REST + 1, random)))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::{DAY_MS, HOUR_MS};

    const RETRIES: Retries = Retries {
        first: Duration::from_secs(5),
        longest: Duration::from_secs(6 * 3_600),
        give_up_after: Duration::from_secs(3 * 86_400),
    };

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        for failures in 1..=100 {
            let full = RETRIES.first.saturating_mul(1 << (failures - 1).min(30)).min(RETRIES.longest);
            for random in [0, u64::MAX / 3, u64::MAX] {
                let wait = wait(&RETRIES, failures, random);
                assert!(wait >= full / 2 && wait <= full, "failure {failures}: {wait:?} of {full:?}");
            }
        }
        assert_ne!(wait(&RETRIES, 5, 1 << 60), wait(&RETRIES, 5, 1 << 63));
        assert!(wait(&RETRIES, i64::MAX, 0) >= RETRIES.longest / 2);
    }

    #[test]
    fn it_is_tried_for_days_and_once_more_at_the_end() {
        let (first, mut now, mut attempts) = (Millis(1_000), Millis(1_000), 1);
        while let Next::At(due) = next(&RETRIES, attempts, first, now, None, u64::MAX) {
            assert!(due > now && due.0 <= first.0 + 3 * DAY_MS);
            (now, attempts) = (due, attempts + 1);
        }
        assert_eq!(now.0, first.0 + 3 * DAY_MS, "the last try is at the end");
        assert!((20..=40).contains(&attempts), "{attempts} tries");
    }

    #[test]
    fn who_asks_for_time_gets_it_within_bounds() {
        let ask = |seconds| next(&RETRIES, 1, Millis(0), Millis(0), Some(Duration::from_secs(seconds)), 0);
        assert_eq!(ask(120), Next::At(Millis(120_000)));
        assert_eq!(ask(1), Next::At(Millis(2_500)), "not earlier than otherwise");
        assert_eq!(ask(u64::MAX), Next::At(Millis(6 * HOUR_MS)));
    }

    #[test]
    fn an_endpoint_rests_when_several_fail() {
        let now = Millis(DAY_MS);
        assert_eq!(rest(&RETRIES, WEBHOOK_FAILURES_TO_REST - 1, now, 0), Millis(0));
        assert!(rest(&RETRIES, WEBHOOK_FAILURES_TO_REST, now, 0) > now);
        assert!(rest(&RETRIES, 1_000, now, u64::MAX) <= now.plus(millis(WEBHOOK_REST_MAX)));
    }
}
