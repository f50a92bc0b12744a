//! The vocabulary of PromQL: which metrics, labels and label values there are, and which ones an expression asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use fingerpost::telemetry::names::{self, Kind};
use regex::Regex;

use crate::support::{Client, Options, Server, get, rows};

/// Series of a running server: metric → its series' labels.
type Series = BTreeMap<String, Vec<BTreeMap<String, String>>>;

/// One selector of an expression.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Label, operator, value.
    pub(crate) matchers: Vec<(String, String, String)>,
}

/// A server that has had one visitor, asked once for all tests.
static EXPOSED: LazyLock<Series> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    Client::connect(server.edge).unwrap().get("/go/haircare/abc123").unwrap();
    rows(&server.data, 1);
    let text = get(server.ops, "/metrics").text();
    let line = Regex::new(r#"(?m)^([a-z_]+)(?:\{(.*)\})? \S+$"#).unwrap();
    let label = Regex::new(r#"([a-z_]+)="([^"]*)""#).unwrap();
    let mut series = Series::new();
    for found in line.captures_iter(&text) {
        let labels = found.get(2).map_or("", |labels| labels.as_str());
        let labels = label.captures_iter(labels).map(|pair| (pair[1].to_owned(), pair[2].to_owned())).collect();
        series.entry(found[1].to_owned()).or_default().push(labels);
    }
    series
});

/// The selectors of ours, of the process's and of Prometheus' own metrics. Names with a colon are recorded ones.
pub(crate) fn selectors(expression: &str) -> Vec<Selector> {
    let selector = Regex::new(
        r"(^|[^a-zA-Z0-9_:])((?:fingerpost|process)_[a-z0-9_]+|up|[a-z]+:fingerpost_[a-z0-9_:]+)\b(?:\{([^}]*)\})?",
    )
    .unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(=~|!~|!=|=)"([^"]*)""#).unwrap();
    selector
        .captures_iter(expression)
        .map(|found| Selector {
            metric: found[2].to_owned(),
            matchers: found.get(3).map_or(Vec::new(), |matchers| {
                let all = matcher.captures_iter(matchers.as_str());
                all.map(|one| (one[1].to_owned(), one[2].to_owned(), one[3].to_owned())).collect()
            }),
        })
        .collect()
}

/// Fails with words unless each metric, label and label value of the expression exists.
pub(crate) fn exists(expression: &str, recorded: &BTreeSet<String>) {
    let found = selectors(expression);
    assert!(!found.is_empty() || expression.contains("ALERTS"), "no metric in {expression}");
    for selector in found {
        metric_exists(&selector.metric, recorded);
        for (label, operator, value) in &selector.matchers {
            // Prometheus adds these two itself.
            if !matches!(label.as_str(), "job" | "instance") && !operator.starts_with('!') {
                value.split('|').for_each(|value| label_exists(&selector.metric, label, value));
            }
        }
    }
}

fn metric_exists(metric: &str, recorded: &BTreeSet<String>) {
    let known = names::ALL.iter().any(|known| match known.kind() {
        Kind::Histogram => {
            metric.strip_prefix(known.name).is_some_and(|rest| matches!(rest, "_bucket" | "_sum" | "_count"))
        }
        Kind::Counter | Kind::Gauge => metric == known.name,
    });
    let is_theirs = metric == "up" || (metric.starts_with("process_") && EXPOSED.contains_key(metric));
    assert!(known || is_theirs || recorded.contains(metric), "nobody exposes {metric}");
}

/// By the running server; what only a loader or a Kafka sink exposes must tell its values in its help.
fn label_exists(metric: &str, label: &str, value: &str) {
    if let Some(series) = EXPOSED.get(metric) {
        let has = series.iter().any(|labels| labels.get(label).is_some_and(|found| found == value));
        // No part is degraded in a server that is well, but each state has its series.
        assert!(has, "{metric} has no {label}=\"{value}\": {series:?}");
    } else if let Some(known) = names::ALL.iter().find(|known| known.name == metric) {
        assert!(known.help.contains(value), "{metric}{{{label}=\"{value}\"}}: its help does not know this value");
    }
}

#[test]
fn what_does_not_exist_is_seen() {
    let none = BTreeSet::new();
    exists(
        r#"rate(fingerpost_requests_total{outcome=~"redirect|shed",class="human"}[5m]) > on (job) up{job="x"}"#,
        &none,
    );
    for wrong in [
        "rate(fingerpost_request_total[5m])",
        "fingerpost_request_duration_seconds",
        r#"fingerpost_requests_total{outcome="redirected"}"#,
        r#"fingerpost_requests_total{result="redirect"}"#,
        "process_cpu_seconds",
        "instance:fingerpost_requests:rate5m",
        "vector(1)",
    ] {
        assert!(std::panic::catch_unwind(|| exists(wrong, &none)).is_err(), "{wrong}");
    }
}
