//! The sink and the reports of a file that may not be there yet, or not be usable: each is opened when it is first needed,
//! and again after it failed. The edge never waits for it.

use std::{collections::HashMap, path::PathBuf};

use tokio::sync::OnceCell;

use super::{SqliteReports, SqliteSink};
use crate::{
    core::{code::Code, event::Event, id::LaneId},
    io::clock::Clock,
    store::{
        Arrived, Batch, BoxFuture, CreditedClick, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery,
        ReachRow, ReportError, Reports, Sink, SinkError, Stored, TouchQuery,
    },
};

/// Opens its file at the first batch.
#[derive(Debug)]
pub struct LazySink {
    path: PathBuf,
    clock: Clock,
    sink: Option<SqliteSink>,
}

impl LazySink {
    pub fn new(path: PathBuf, clock: Clock) -> LazySink {
        LazySink { path, clock, sink: None }
    }

    async fn open(&mut self) -> Result<&mut SqliteSink, SinkError> {
        let sink = match self.sink.take() {
            Some(sink) => sink,
            None => SqliteSink::open(&self.path, self.clock.clone()).await?,
        };
        Ok(self.sink.insert(sink))
    }

    /// After an error the connection is given up: a commit that failed for want of room leaves it in a transaction that it
    /// can neither finish nor leave. What the file holds, the next connection says.
    async fn checked<T>(&mut self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        if result.is_err()
            && let Some(sink) = self.sink.take()
        {
            sink.close().await;
        }
        result
    }
}

impl Sink for LazySink {
    fn positions(&mut self) -> BoxFuture<'_, Result<HashMap<LaneId, u64>, SinkError>> {
        Box::pin(async move {
            let result = self.open().await?.positions().await;
            self.checked(result).await
        })
    }

    fn store<'a>(&'a mut self, batches: &'a [Batch]) -> BoxFuture<'a, Result<Stored, SinkError>> {
        Box::pin(async move {
            let result = self.open().await?.store(batches).await;
            self.checked(result).await
        })
    }

    fn forget(&mut self, lane: LaneId) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let result = self.open().await?.forget(lane).await;
            self.checked(result).await
        })
    }
}

/// Opens its file at the first question.
#[derive(Debug)]
pub struct LazyReports {
    path: PathBuf,
    reports: OnceCell<SqliteReports>,
}

impl LazyReports {
    pub fn new(path: PathBuf) -> LazyReports {
        LazyReports { path, reports: OnceCell::new() }
    }

    async fn open(&self) -> Result<&SqliteReports, ReportError> {
        self.reports.get_or_try_init(|| SqliteReports::open(&self.path)).await
    }
}

impl Reports for LazyReports {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        Box::pin(async move { self.open().await?.reach(query).await })
    }

    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        Box::pin(async move { self.open().await?.links(query).await })
    }

    fn events<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        Box::pin(async move { self.open().await?.events(filter, after, limit).await })
    }

    fn link_clicks<'a>(&'a self, links: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        Box::pin(async move { self.open().await?.link_clicks(links).await })
    }

    fn touches<'a>(&'a self, query: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        Box::pin(async move { self.open().await?.touches(query).await })
    }

    fn arrived<'a>(&'a self, behind: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        Box::pin(async move { self.open().await?.arrived(behind).await })
    }
}
