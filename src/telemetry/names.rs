//! Every metric: its name, unit and help, in one place. No label takes a value that visitors or partners choose.

/// A metric as Prometheus sees it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
}

/// What Prometheus calls the type. The name says it, by Prometheus' own naming rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    pub fn kind(&self) -> Kind {
        if self.name.ends_with("_total") {
            Kind::Counter
        } else if self.name.ends_with("_duration_seconds") {
            Kind::Histogram
        } else {
            Kind::Gauge
        }
    }

    /// Base unit, where the name has one.
    pub fn unit(&self) -> Option<metrics::Unit> {
        let name = self.name.trim_end_matches("_total");
        if name.ends_with("_seconds") {
            Some(metrics::Unit::Seconds)
        } else if name.ends_with("_bytes") {
            Some(metrics::Unit::Bytes)
        } else {
            None
        }
    }
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// All of them.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, help: $help }),*];
    };
}

metrics! {
    // edge
    REQUESTS = "fingerpost_requests_total", "Requests by outcome and class.";
    REQUEST_SECONDS = "fingerpost_request_duration_seconds", "From the end of the head to the response, seconds.";
    CONNECTIONS = "fingerpost_connections", "Open connections on the edge listeners.";
    CONNECTIONS_ACCEPTED = "fingerpost_connections_accepted_total", "Connections taken.";
    CONNECTIONS_CLOSED = "fingerpost_connections_closed_total", "Connections that we ended, by reason.";
    CLICKS_SHED = "fingerpost_clicks_shed_total", "Clicks answered without a record, because the journal could not take them.";
    // journal
    JOURNAL_BYTES = "fingerpost_journal_bytes", "Bytes of journal segments on disk, all lanes.";
    JOURNAL_LANES = "fingerpost_journal_lanes", "Lanes on disk: this process's and orphans.";
    JOURNAL_ORPHANS = "fingerpost_journal_orphan_lanes", "Lanes that another process left or still writes; they go when they are drained.";
    JOURNAL_APPENDED = "fingerpost_journal_appended_records_total", "Records that lanes took.";
    JOURNAL_COMMITS = "fingerpost_journal_commits_total", "Groups of records that were written.";
    JOURNAL_SYNCS = "fingerpost_journal_syncs_total", "fdatasync calls.";
    JOURNAL_FAILURES = "fingerpost_journal_failures_total", "Writes, syncs and reservations that failed, by kind.";
    JOURNAL_DAMAGED = "fingerpost_journal_damaged_records_total", "Records that were damaged on disk and skipped.";
    JOURNAL_TORN_BYTES = "fingerpost_journal_torn_bytes_total", "Bytes of torn tails that were cut.";
    // pump
    OLDEST_UNSENT_SECONDS = "fingerpost_oldest_unsent_age_seconds", "Age of the oldest record that the sink does not hold yet, seconds.";
    SINK_LAG = "fingerpost_sink_lag_records", "Records that the journal holds and the sink does not.";
    SINK_EVENTS = "fingerpost_sink_events_total", "Events that the sink stored.";
    SINK_SET_ASIDE = "fingerpost_sink_set_aside_total", "Records that the sink could not take and keeps aside.";
    SINK_RETRIES = "fingerpost_sink_retries_total", "Batches that had to be tried again.";
    SINK_BATCH_SECONDS = "fingerpost_sink_batch_duration_seconds", "Time of one stored batch, seconds.";
    // kafka
    KAFKA_QUEUE_MESSAGES = "fingerpost_kafka_queue_messages", "Messages that the Kafka client holds and the broker does not.";
    KAFKA_QUEUE_BYTES = "fingerpost_kafka_queue_bytes", "Their bytes.";
    KAFKA_BROKER_RTT_SECONDS = "fingerpost_kafka_broker_rtt_seconds", "Mean round trip to the slowest Kafka broker, seconds.";
    KAFKA_ERRORS = "fingerpost_kafka_errors_total", "Errors of Kafka, by what they mean: retry, record, renew, fenced, operator.";
    KAFKA_PRODUCERS = "fingerpost_kafka_producers_total", "Kafka producers that were started; more than one a process: one could not go on.";
    // loader
    LOAD_EVENTS = "fingerpost_load_events_total", "Events that the loader brought to ClickHouse.";
    LOAD_BATCHES = "fingerpost_load_batches_total", "Ranges of offsets that the loader finished.";
    LOAD_SET_ASIDE = "fingerpost_load_set_aside_total", "Messages that are no events, kept aside in ClickHouse.";
    LOAD_RETRIES = "fingerpost_load_retries_total", "Steps of the loader that had to be tried again.";
    LOAD_LAG = "fingerpost_load_lag_records", "Messages of this loader's partitions that are not loaded yet.";
    LOAD_EXPIRED = "fingerpost_load_expired_offsets_total", "Offsets that Kafka deleted (retention) before they were loaded.";
    LOAD_PARTITIONS = "fingerpost_load_partitions", "Kafka partitions that this loader has.";
    LOAD_LAST_COMMIT = "fingerpost_load_last_commit_timestamp_seconds", "When the loader last finished a range, seconds since the epoch.";
    LOAD_BATCH_SECONDS = "fingerpost_load_batch_duration_seconds", "Time of one range from its intent to its commit, seconds.";
    // catalog and links
    LINKS = "fingerpost_index_entries", "Entries in memory, by kind.";
    CATALOG_AGE_SECONDS = "fingerpost_catalog_age_seconds", "Time since the edge last heard from the catalog, seconds.";
    CATALOG_CHANGES = "fingerpost_catalog_changes_total", "Changes that the edge applied.";
    // outbox
    WEBHOOK_DELIVERIES = "fingerpost_webhook_deliveries_total", "Tries to deliver an event to a webhook, by result: delivered, failed, given_up, gone.";
    WEBHOOK_RETRIES = "fingerpost_webhook_retries_total", "Those of them that were not an event's first.";
    WEBHOOK_OLDEST_SECONDS = "fingerpost_webhook_oldest_waiting_age_seconds", "Age of the oldest event that waits for an active webhook, seconds.";
    MAILS = "fingerpost_mails_total", "Tries to send a mail, by result: sent, failed, given_up.";
    MAIL_OLDEST_SECONDS = "fingerpost_mail_oldest_waiting_age_seconds", "Age of the oldest mail that waits, seconds.";
    OUTBOX_LAG = "fingerpost_outbox_lag_rows", "Events in the catalog's outbox that this data folder's journal does not hold yet.";
    OUTBOX_EVENTS = "fingerpost_outbox_events_total", "Events that were brought from the catalog's outbox to the journal.";
    OUTBOX_SET_ASIDE = "fingerpost_outbox_set_aside_total", "Rows of the outbox whose event no journal can take; they stay in the outbox.";
    // persons
    ERASURES_WAITING = "fingerpost_erasures_waiting", "1 while an erasure of a person is worked off, else 0.";
    ERASED_ROWS = "fingerpost_erased_events_total", "Rows of events that lost what pointed to a person.";
    EXPIRED = "fingerpost_expired_rows_total", "What the retention took away, by kind.";
    RETENTION_AT = "fingerpost_retention_last_sweep_timestamp_seconds", "When the retention last went through everything, seconds since 1970.";
    // inbound
    INBOUND_EVENTS = "fingerpost_inbound_events_total", "Events that webhooks of others brought, by result: applied, again, ignored, refused, unsigned.";
    FORM_LEADS = "fingerpost_form_leads_total", "Leads that forms sent, by result: taken, refused, limited.";
    // process
    READINESS = "fingerpost_readiness", "1 for the state that a part of /readyz is in, 0 for the other states.";
    DISK_BYTES = "fingerpost_disk_bytes", "Size of the file system that holds the data folder.";
    DISK_FREE_BYTES = "fingerpost_disk_free_bytes", "What is free for us on the file system that holds the data folder.";
    BUILD_INFO = "fingerpost_build_info", "1, with the version and the commit as labels.";
    RELOADS = "fingerpost_reloads_total", "Reloads on SIGHUP, by result.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_helped() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|metric| metric.name.starts_with("fingerpost_") && metric.help.ends_with('.')));
    }
}
