//! The metrics recorder: whoever counts outside of the hot path uses the `metrics` macros with a name of
//! [`super::names`]; a scrape gets all of them, the process's own, and the edge's.

use std::sync::Arc;

use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{
    edge::{self, EdgeCounters},
    names::{self, Kind},
};

/// Set when a release is built.
const COMMIT: &str = match option_env!("FINGERPOST_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Upper bounds of histograms outside of the edge (batches of a sink), seconds.
const BATCH_BOUNDS_SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("the metrics recorder cannot be made: {0}")]
    Build(#[from] metrics_exporter_prometheus::BuildError),
    #[error("a metrics recorder is installed already: this may happen once in a process")]
    Twice,
}

/// The process's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Makes the recorder and installs it for the whole process: from now on the `metrics` macros count.
    pub fn install() -> Result<Metrics, MetricsError> {
        let (recorder, metrics) = Metrics::build()?;
        metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Twice)?;
        metrics.describe();
        Ok(metrics)
    }

    fn build() -> Result<(PrometheusRecorder, Metrics), MetricsError> {
        let mut builder = PrometheusBuilder::new();
        for metric in names::ALL.iter().filter(|metric| metric.kind() == Kind::Histogram) {
            // Without bounds the exporter would make a summary, which cannot be added up over machines.
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &BATCH_BOUNDS_SECONDS)?;
        }
        let recorder = builder.build_recorder();
        describe_ours(&recorder);
        let handle = recorder.handle();
        Ok((recorder, Metrics { handle, process: metrics_process::Collector::default() }))
    }

    /// What needs the recorder to be in place.
    fn describe(&self) {
        self.process.describe();
        metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "commit" => COMMIT).set(1.0);
    }

    /// Everything, in the Prometheus text format, version 0.0.4.
    pub fn render(&self, workers: &[Arc<EdgeCounters>]) -> String {
        self.process.collect();
        let mut text = self.handle.render();
        text.push_str(&edge::render(workers));
        text
    }

    /// Histogram samples pile up until somebody drains them: to be called every few seconds when nobody scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Help and unit of every name that the recorder may see; the edge writes its own.
fn describe_ours(recorder: &impl Recorder) {
    for metric in names::ALL.iter().filter(|metric| !edge::OURS.contains(&metric.name)) {
        let (name, unit, help) = (metric.name.into(), metric.unit(), metric.help.into());
        match metric.kind() {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        time::Duration,
    };

    use super::{
        super::edge::{EdgeWriter, Outcome},
        *,
    };
    use crate::core::event::Class;

    /// One family of an exposition.
    #[derive(Debug, Default)]
    struct Family {
        help: String,
        kind: String,
        /// Labels as they stand there, and the value.
        samples: BTreeMap<String, f64>,
    }

    /// Parses the text format strictly: HELP then TYPE before a family's samples, each family once, each series once,
    /// every line ended, values that are numbers, histograms that add up.
    fn parse(text: &str) -> BTreeMap<String, Family> {
        assert!(text.ends_with('\n'), "the last line is not ended");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        let mut help = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').unwrap();
                help = Some((name.to_owned(), text.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let (of, help) = help.take().unwrap_or_else(|| panic!("{name} has no help"));
                assert_eq!(of, name);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                current = name.to_owned();
                let family = Family { help, kind: kind.to_owned(), ..Family::default() };
                assert!(families.insert(current.clone(), family).is_none(), "{name} appears twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("labels are open in {line:?}"));
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (key, value) = label.split_once('=').unwrap();
                    assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                    assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
                let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line:?} is in no family"));
                let suffix = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line:?} in {current}"));
                let allowed: &[_] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(allowed.contains(&suffix), "{line}");
                assert!(family.samples.insert(format!("{suffix}{{{labels}}}"), value).is_none(), "{line} twice");
            }
        }
        for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
            assert_eq!(family.samples["_bucket{le=\"+Inf\"}"], family.samples["_count{}"], "{name}");
        }
        families
    }

    #[test]
    fn every_name_is_exposed_with_its_help_and_nothing_twice() {
        let (recorder, metrics) = Metrics::build().unwrap();
        let worker = EdgeWriter::new();
        worker.answered(Outcome::Redirect, Class::Human, Duration::from_millis(3));
        let text = metrics::with_local_recorder(&recorder, || {
            metrics.describe();
            for metric in names::ALL.iter().filter(|metric| !edge::OURS.contains(&metric.name)) {
                match metric.kind() {
                    Kind::Counter => metrics::counter!(metric.name).increment(2),
                    Kind::Gauge if metric.name == names::BUILD_INFO => {}
                    Kind::Gauge => metrics::gauge!(metric.name).set(2.5),
                    Kind::Histogram => metrics::histogram!(metric.name).record(0.25),
                }
            }
            metrics.render(&[worker.counters()])
        });
        let families = parse(&text);
        for metric in names::ALL {
            let family = families.get(metric.name).unwrap_or_else(|| panic!("{} is not exposed", metric.name));
            assert_eq!(family.help, metric.help);
            assert_eq!(family.kind, format!("{:?}", metric.kind()).to_lowercase(), "{}", metric.name);
        }
        let build = families[names::BUILD_INFO].samples.keys().next().unwrap();
        assert!(build.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))), "{build}");
        assert!(families.contains_key("process_resident_memory_bytes"), "the process's own are there");
        let known: BTreeSet<_> = names::ALL.iter().map(|metric| metric.name).collect();
        let strangers: Vec<_> =
            families.keys().filter(|name| !known.contains(name.as_str()) && !name.starts_with("process_")).collect();
        assert!(strangers.is_empty(), "{strangers:?} are not in names.rs");
    }

    #[test]
    fn the_edge_has_a_fixed_number_of_series() {
        let worker = EdgeWriter::new();
        let before = edge::render(&[worker.counters()]).lines().count();
        for outcome in Outcome::ALL {
            for class in Class::ALL {
                worker.answered(outcome, *class, Duration::from_micros(outcome as u64 * 1_000));
            }
        }
        let after = edge::render(&[worker.counters()]);
        assert_eq!(after.lines().count(), before);
        let labels: BTreeSet<_> = parse(&after)[names::REQUESTS].samples.keys().cloned().collect();
        assert_eq!(labels.len(), Outcome::ALL.len() * (Class::ALL.len() + 1));
    }

    #[test]
    fn the_parser_refuses_what_is_wrong() {
        for text in [
            "a 1",
            "a 1\n",
            "# TYPE a counter\na 1\n",
            "# HELP a h\n# TYPE a counter\nb 1\n",
            "# HELP a h\n# TYPE a counter\na one\n",
            "# HELP a h\n# TYPE a counter\na{x=\"1\" 1\n",
            "# HELP a h\n# TYPE a counter\na 1\na 2\n",
        ] {
            assert!(std::panic::catch_unwind(|| parse(text)).is_err(), "{text:?}");
        }
    }
}
