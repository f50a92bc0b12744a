//! Who answers reports: `reports.from`. One place for the server, `fingerpost report` and `fingerpost export events`.

use std::sync::Arc;

use crate::{
    config::{Config, stores::ReportsFrom},
    core::{
        code::Code,
        event::Event,
        id::{EventId, VisitorId},
        time::Millis,
    },
    io::clock::Clock,
    store::{
        Arrived, BoxFuture, CreditedClick, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery, ReachRow,
        ReportError, Reports, TouchQuery,
        clickhouse::{ClickHouseKeeper, ClickHouseReports, Store},
        keep::{Erased, Erasure, Keeper},
        sqlite::{self, SqliteKeeper},
    },
};

/// The reports of the configuration. Nothing is asked yet: a store that is away, or not there yet, is an answer's problem.
pub(crate) fn open(config: &Config) -> anyhow::Result<Arc<dyn Reports>> {
    Ok(match config.reports {
        ReportsFrom::Sqlite => Arc::new(sqlite::LazyReports::new(config.data.join(sqlite::FILE))),
        ReportsFrom::ClickHouse if config.clickhouse.url.is_empty() => Arc::new(Nobody),
        ReportsFrom::ClickHouse => Arc::new(ClickHouseReports::new(Store::new(&config.clickhouse)?)),
    })
}

/// Where the same events are forgotten.
pub(super) fn keeper(config: &Config, clock: &Clock) -> anyhow::Result<Arc<dyn Keeper>> {
    Ok(match config.reports {
        ReportsFrom::Sqlite => Arc::new(SqliteKeeper::new(&config.data.join(sqlite::FILE), clock.clone())),
        ReportsFrom::ClickHouse if config.clickhouse.url.is_empty() => Arc::new(Nobody),
        ReportsFrom::ClickHouse => Arc::new(ClickHouseKeeper::new(Store::new(&config.clickhouse)?, clock.clone())),
    })
}

/// Answers when reports come from ClickHouse and nobody has said where that is: an edge that only feeds Kafka is fine without.
struct Nobody;

impl Nobody {
    fn answer<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, ReportError>> {
        let problem = "events do not stay on this machine: set clickhouse.url to where they are loaded \
                       (http://host:8123), or reports.from = \"sqlite\"";
        Box::pin(async move { Err(ReportError::Unavailable(problem.to_owned())) })
    }
}

impl Reports for Nobody {
    fn reach<'a>(&'a self, _: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        Nobody::answer()
    }

    fn links<'a>(&'a self, _: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        Nobody::answer()
    }

    fn events<'a>(
        &'a self,
        _: &'a Filter,
        _: Option<EventCursor>,
        _: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Nobody::answer()
    }

    fn link_clicks<'a>(&'a self, _: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        Nobody::answer()
    }

    fn touches<'a>(&'a self, _: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        Nobody::answer()
    }

    fn arrived<'a>(&'a self, _: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        Nobody::answer()
    }
}

impl Keeper for Nobody {
    fn events_of<'a>(
        &'a self,
        _: &'a [VisitorId],
        _: &'a [EventId],
        _: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Nobody::answer()
    }

    fn erase<'a>(&'a self, _: &'a Erasure) -> BoxFuture<'a, Result<Erased, ReportError>> {
        Nobody::answer()
    }

    fn expire(&self, _: Millis) -> BoxFuture<'_, Result<u64, ReportError>> {
        Nobody::answer()
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<Option<Millis>, ReportError>> {
        Nobody::answer()
    }
}
