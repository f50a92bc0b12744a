//! What the edge's workers count. Each worker owns an [`EdgeWriter`] and adds without a lock, a locked instruction or a
//! look-up; a scrape sums all workers' [`EdgeCounters`] and writes them as Prometheus text.

use std::{
    cell::Cell,
    fmt::Write,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::names::{self, Metric};
use crate::core::event::Class;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 302 to the link's destination, recorded.
    Redirect,
    /// 302 to a fallback, because the link is unknown, expired or used up.
    Fallback,
    /// A previewer's page in the place of a 302, recorded.
    Preview,
    /// `/{slug}+`: where a link leads.
    LinkPage,
    /// 302 to a channel's share form.
    Share,
    /// `/v/….gif`.
    Pixel,
    /// `POST /e`.
    Event,
    /// `/fp.js`.
    Script,
    /// Handed to the control plane's pages.
    Page,
    /// 404.
    NotFound,
    /// 410.
    Gone,
    /// 400.
    BadRequest,
    /// 405.
    MethodNotAllowed,
    /// 413, 414, 431.
    TooLarge,
    /// 408, and connections that missed a deadline within a request.
    TimedOut,
    /// 302 without a record: the journal could not take it.
    Shed,
    /// 503: overload, or the journal could not take it and `when_full` is `refuse`.
    Refused,
    /// 500, 502 and whatever else.
    Error,
}

impl Outcome {
    pub const ALL: [Outcome; 18] = [
        Outcome::Redirect,
        Outcome::Fallback,
        Outcome::Preview,
        Outcome::LinkPage,
        Outcome::Share,
        Outcome::Pixel,
        Outcome::Event,
        Outcome::Script,
        Outcome::Page,
        Outcome::NotFound,
        Outcome::Gone,
        Outcome::BadRequest,
        Outcome::MethodNotAllowed,
        Outcome::TooLarge,
        Outcome::TimedOut,
        Outcome::Shed,
        Outcome::Refused,
        Outcome::Error,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Redirect => "redirect",
            Outcome::Fallback => "fallback",
            Outcome::Preview => "preview",
            Outcome::LinkPage => "link_page",
            Outcome::Share => "share",
            Outcome::Pixel => "pixel",
            Outcome::Event => "event",
            Outcome::Script => "script",
            Outcome::Page => "page",
            Outcome::NotFound => "not_found",
            Outcome::Gone => "gone",
            Outcome::BadRequest => "bad_request",
            Outcome::MethodNotAllowed => "method_not_allowed",
            Outcome::TooLarge => "too_large",
            Outcome::TimedOut => "timed_out",
            Outcome::Shed => "shed",
            Outcome::Refused => "refused",
            Outcome::Error => "error",
        }
    }
}

/// Upper bounds of the latency histogram's buckets, microseconds: 1, 2, 5 in each decade from 10 µs to 10 s. Slower
/// ones are in +Inf.
const BOUNDS_US: [u64; 19] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Every class, and none at its place 0.
const CLASSES: usize = Class::ALL.len() + 1;
const _: () = assert!(Class::Test as usize == CLASSES - 1, "a class is its own index");

/// Metrics that this file writes itself; the recorder must not know them.
pub const OURS: [&str; 3] = [names::REQUESTS, names::REQUEST_SECONDS, names::CLICKS_SHED];

/// One worker's counts. Read by anybody, written through its one [`EdgeWriter`]. Aligned so that no two workers write
/// to one cache line (128 bytes: processors fetch lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub struct EdgeCounters {
    requests: [[AtomicU64; CLASSES]; Outcome::ALL.len()],
    latency: [AtomicU64; BUCKETS],
    latency_ns: AtomicU64,
    shed: AtomicU64,
}

/// The right to write one worker's counts. It can be sent to the worker's thread, but neither shared between threads
/// nor cloned: that is what makes an addition a plain load and store.
#[derive(Debug)]
pub struct EdgeWriter {
    counters: Arc<EdgeCounters>,
    one_thread: PhantomData<Cell<()>>,
}

impl EdgeWriter {
    /// New counts, all zero, and the right to write them.
    pub fn new() -> EdgeWriter {
        let counters = EdgeCounters {
            requests: [const { [const { AtomicU64::new(0) }; CLASSES] }; Outcome::ALL.len()],
            latency: [const { AtomicU64::new(0) }; BUCKETS],
            latency_ns: AtomicU64::new(0),
            shed: AtomicU64::new(0),
        };
        EdgeWriter { counters: Arc::new(counters), one_thread: PhantomData }
    }

    /// For the scrape.
    pub fn counters(&self) -> Arc<EdgeCounters> {
        Arc::clone(&self.counters)
    }

    /// A request was answered. `took` is from the end of its head to its response.
    pub fn answered(&self, outcome: Outcome, class: Class, took: Duration) {
        let us = took.as_micros() as u64;
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BUCKETS - 1);
        add(&self.counters.requests[outcome as usize][class as usize], 1);
        add(&self.counters.latency[bucket], 1);
        add(&self.counters.latency_ns, took.as_nanos() as u64);
    }

    /// Clicks were answered without a record.
    pub fn shed(&self, clicks: u64) {
        add(&self.counters.shed, clicks);
    }
}

impl Default for EdgeWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Nobody else writes, so nothing is lost between the load and the store.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl EdgeCounters {
    /// Clicks answered without a record, since the start.
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// Requests answered so, since the start.
    pub fn requests(&self, outcome: Outcome, class: Class) -> u64 {
        self.requests[outcome as usize][class as usize].load(Relaxed)
    }
}

/// All workers' counts in the Prometheus text format, version 0.0.4.
pub fn render(workers: &[Arc<EdgeCounters>]) -> String {
    let sum = |read: &dyn Fn(&EdgeCounters) -> &AtomicU64| -> u64 {
        workers.iter().map(|worker| read(worker).load(Relaxed)).sum()
    };
    let mut out = String::with_capacity(16 * 1024);
    // Writing into a String does not fail.
    head(&mut out, names::REQUESTS);
    for outcome in Outcome::ALL {
        for class in [&[Class::Unspecified], Class::ALL].concat() {
            let count = sum(&|worker| &worker.requests[outcome as usize][class as usize]);
            let label = if class == Class::Unspecified { "none" } else { class.label() };
            let _ = writeln!(out, "{}{{outcome=\"{}\",class=\"{label}\"}} {count}", names::REQUESTS, outcome.label());
        }
    }
    head(&mut out, names::REQUEST_SECONDS);
    let mut below = 0;
    for bucket in 0..BUCKETS {
        below += sum(&|worker| &worker.latency[bucket]);
        let bound = BOUNDS_US.get(bucket).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
        let _ = writeln!(out, "{}_bucket{{le=\"{bound}\"}} {below}", names::REQUEST_SECONDS);
    }
    let seconds = sum(&|worker| &worker.latency_ns) as f64 / 1e9;
    let _ = writeln!(out, "{}_sum {seconds}", names::REQUEST_SECONDS);
    let _ = writeln!(out, "{}_count {below}", names::REQUEST_SECONDS);
    head(&mut out, names::CLICKS_SHED);
    let _ = writeln!(out, "{} {}", names::CLICKS_SHED, sum(&|worker| &worker.shed));
    out
}

/// The HELP and TYPE lines of one of our names.
fn head(out: &mut String, name: &str) {
    let Some(Metric { name, help }) = names::ALL.iter().find(|metric| metric.name == name) else { return };
    let kind = match (Metric { name, help }).kind() {
        names::Kind::Counter => "counter",
        names::Kind::Gauge => "gauge",
        names::Kind::Histogram => "histogram",
    };
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_its_own_index() {
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
        assert!(Class::ALL.iter().enumerate().all(|(at, class)| *class as usize == at + 1));
    }

    #[test]
    fn workers_are_summed() {
        let (one, two) = (EdgeWriter::new(), EdgeWriter::new());
        one.answered(Outcome::Redirect, Class::Human, Duration::from_micros(10));
        one.answered(Outcome::NotFound, Class::Unspecified, Duration::from_nanos(10_500));
        two.answered(Outcome::Redirect, Class::Human, Duration::from_micros(11));
        two.answered(Outcome::Redirect, Class::Bot, Duration::from_secs(60));
        two.shed(3);
        let text = render(&[one.counters(), two.counters()]);
        for line in [
            "fingerpost_requests_total{outcome=\"redirect\",class=\"human\"} 2",
            "fingerpost_requests_total{outcome=\"redirect\",class=\"bot\"} 1",
            "fingerpost_requests_total{outcome=\"not_found\",class=\"none\"} 1",
            "fingerpost_requests_total{outcome=\"gone\",class=\"human\"} 0",
            "fingerpost_request_duration_seconds_bucket{le=\"0.00001\"} 2",
            "fingerpost_request_duration_seconds_bucket{le=\"0.00002\"} 3",
            "fingerpost_request_duration_seconds_bucket{le=\"10\"} 3",
            "fingerpost_request_duration_seconds_bucket{le=\"+Inf\"} 4",
            "fingerpost_request_duration_seconds_count 4",
            "fingerpost_request_duration_seconds_sum 60.0000315",
            "# TYPE fingerpost_request_duration_seconds histogram",
            "fingerpost_clicks_shed_total 3",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
        }
    }

    #[test]
    fn two_workers_share_no_cache_line() {
        assert_eq!(align_of::<EdgeCounters>(), 128);
        assert_eq!(size_of::<EdgeCounters>() % 128, 0);
    }
}
