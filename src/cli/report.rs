//! `fingerpost report NAME`: read from where events are (`reports.from`) and from the catalog, beside a running server or
//! without.

use std::{
    io::{self, Write},
    sync::Arc,
};

use anyhow::{Context, bail};

use super::Global;
use crate::{
    app,
    catalog::Catalog,
    config::stores::ReportsFrom,
    core::time::Millis,
    io::clock::Clock,
    report::{Name, Sources, question as asked, zoned},
    store::{
        Dimension, Filter, LinkRow, LinksQuery, ReachQuery, ReachRow, Reports,
        question::{self, Words},
        rows::{self, Table},
        sqlite,
    },
};

mod figures;
mod sparkline;
mod table;

use sparkline::Timeline;
use table::Page;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    report: Report,
}

#[derive(Debug, clap::Subcommand)]
enum Report {
    /// Views, clicks, shares and unique visitors, by any dimensions
    Reach(ReachArgs),
    /// A line for each link, partner and ad
    Links(LinkArgs),
    /// From the partner who joined to the reward, with the rate of each step
    Funnel(figures::Args),
    /// Partners who joined, and who shared, of the customer base
    Participation(figures::Args),
    /// Leads of clicks, qualified of leads, rewarded of qualified
    Rates(figures::Args),
    /// The partners who brought most
    TopPartners(figures::Args),
    /// The links that brought most
    TopLinks(figures::Args),
    /// The ads that brought most
    TopAds(figures::Args),
    /// The channels with most shares
    TopChannels(figures::Args),
    /// Revenue, cost, cost per qualified referral and return, by currency
    Money(figures::Args),
    /// What each rule of rewards cost and brought
    Motivators(figures::Args),
    /// From the click to the lead, and to qualified
    TimeToConvert(figures::Args),
    /// What becomes of the people of a month
    Cohorts(figures::Args),
    /// First and last touch side by side
    Models(figures::Args),
    #[command(external_subcommand)]
    Unknown(Vec<String>),
}

#[derive(Debug, Default, clap::Args)]
struct ReachArgs {
    /// What a row is for, in order: hour, day, program, link, partner, ad, country, channel, class
    #[arg(long, value_name = "DIMENSIONS", default_value = "")]
    by: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Default, clap::Args)]
struct LinkArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Default, clap::Args)]
struct Common {
    /// A length of time until now (7d, 24h) or a time (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Written as --since; not included [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[arg(long, value_name = "CODE")]
    program: Option<String>,
    #[arg(long, value_name = "CODE")]
    link: Option<String>,
    #[arg(long, value_name = "CODE")]
    partner: Option<String>,
    #[arg(long, value_name = "CODE")]
    ad: Option<String>,
    /// The time zone in which days begin, for example Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Leave unique visitors out: quick on any amount of events
    #[arg(long)]
    no_visitors: bool,
    /// Only the first rows
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Csv,
}

impl Common {
    fn filter(&self, now: Millis) -> Result<Filter, question::QuestionError> {
        let words = Words {
            since: self.since.as_deref(),
            until: self.until.as_deref(),
            program: self.program.as_deref(),
            link: self.link.as_deref(),
            partner: self.partner.as_deref(),
            ad: self.ad.as_deref(),
        };
        asked::filter(&words, &asked::zone(self.tz.as_deref())?, now)
    }
}

pub(crate) fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let Args { report } = args;
    if let Report::Unknown(words) = &report {
        Name::parse(words.first().map_or("", String::as_str))?;
    }
    let reports = Opened::configured(global)?;
    let now = Clock::System.now();
    let mut out = Vec::new();
    reports.runtime.block_on(async {
        let (name, args) = match report {
            Report::Reach(args) => return reach(&*reports.reports, &args, now, &mut out).await,
            Report::Links(args) => return links(&*reports.reports, &args, now, &mut out).await,
            Report::Unknown(_) => return Ok(()),
            Report::Funnel(args) => (Name::Funnel, args),
            Report::Participation(args) => (Name::Participation, args),
            Report::Rates(args) => (Name::Rates, args),
            Report::TopPartners(args) => (Name::TopPartners, args),
            Report::TopLinks(args) => (Name::TopLinks, args),
            Report::TopAds(args) => (Name::TopAds, args),
            Report::TopChannels(args) => (Name::TopChannels, args),
            Report::Money(args) => (Name::Money, args),
            Report::Motivators(args) => (Name::Motivators, args),
            Report::TimeToConvert(args) => (Name::TimeToConvert, args),
            Report::Cohorts(args) => (Name::Cohorts, args),
            Report::Models(args) => (Name::Models, args),
        };
        let catalog = Catalog::configured(&global.load()?, Clock::System)?;
        let sources = Sources { catalog: &catalog, events: &*reports.reports };
        figures::show(sources, name, &args, now, &mut out).await
    })?;
    match io::stdout().lock().write_all(&out) {
        // The reader of a pipe (`| head`) has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}

/// Who answers reports, and a runtime to ask them.
pub(super) struct Opened {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) reports: Arc<dyn Reports>,
}

impl Opened {
    pub(super) fn configured(global: &Global) -> anyhow::Result<Opened> {
        let config = global.load()?;
        let path = config.data.join(sqlite::FILE);
        if config.reports == ReportsFrom::Sqlite && !path.exists() {
            bail!(
                "nothing was recorded yet: there is no {}. Start `fingerpost serve` on this data folder and click a link, \
                 or name another folder with --data DIR",
                path.display()
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Opened { runtime, reports: app::reports::open(&config)? })
    }
}

async fn reach(reports: &dyn Reports, args: &ReachArgs, now: Millis, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let filter = args.common.filter(now)?;
    let by = question::dimensions(&args.by)?;
    let query = ReachQuery { filter, by, without_visitors: args.common.no_visitors };
    let zone = asked::zone(args.common.tz.as_deref())?;
    let mut found = zoned::reach(reports, &query, &zone).await?;
    let all = found.len();
    found.truncate(args.common.limit.unwrap_or(usize::MAX));
    let table = rows::reach(&query.by, &found);
    if args.common.format != Format::Table {
        return Ok(write(&table, args.common.format, out)?);
    }
    let total = totals(reports, &query).await?;
    let keys: Vec<Vec<String>> = found.iter().map(|row| row.key.clone()).collect();
    // Sparklines are of UTC days and hours.
    let here = zone == jiff::tz::TimeZone::UTC || !query.by.contains(&Dimension::Day);
    let timeline = match here {
        true => Timeline::of_clicks(reports, &query.filter, &query.by, &keys, all, now).await?,
        false => Timeline::default(),
    };
    let by_class = query.by.contains(&Dimension::Class);
    let mut hidden = vec![];
    if args.common.no_visitors {
        hidden.push("unique_visitors");
    }
    if found.iter().all(|row| row.missing == 0) {
        hidden.push("missing");
    }
    let page = Page {
        title: "Reach",
        filter: &query.filter,
        table: &table,
        hidden: &hidden,
        total_name: if by_class { "human and repeat" } else { "total" },
        totals: [
            ("views", total.views),
            ("clicks", total.clicks),
            ("shares", total.shares),
            ("unique_visitors", total.unique_visitors.unwrap_or_default()),
            ("missing", total.missing),
        ]
        .into(),
        is_empty: found.iter().all(|row| row.views + row.clicks + row.shares + row.missing == 0),
        missing: missing(reports, &query.filter).await?,
        timeline,
    };
    page.write(out)?;
    Ok(())
}

async fn links(reports: &dyn Reports, args: &LinkArgs, now: Millis, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let filter = args.common.filter(now)?;
    let without_visitors = args.common.no_visitors;
    let query = LinksQuery { filter, without_visitors };
    let mut found = reports.links(&query).await?;
    let not_counted = found.iter().map(|line: &LinkRow| line.not_counted).sum();
    let all = found.len();
    found.truncate(args.common.limit.unwrap_or(usize::MAX));
    let table = rows::links(&found);
    if args.common.format != Format::Table {
        return Ok(write(&table, args.common.format, out)?);
    }
    let query = ReachQuery { filter: query.filter, by: Vec::new(), without_visitors };
    let total = totals(reports, &query).await?;
    let by = [Dimension::Link, Dimension::Partner, Dimension::Ad];
    let keys: Vec<Vec<String>> =
        found.iter().map(|line| vec![line.link.clone(), line.partner.clone(), line.ad.clone()]).collect();
    let page = Page {
        title: "Links",
        filter: &query.filter,
        table: &table,
        hidden: if without_visitors { &["unique_visitors"] } else { &[] },
        total_name: "total",
        totals: [
            ("views", total.views),
            ("clicks", total.clicks),
            ("shares", total.shares),
            ("unique_visitors", total.unique_visitors.unwrap_or_default()),
            ("not_counted", not_counted),
        ]
        .into(),
        is_empty: found.is_empty(),
        missing: missing(reports, &query.filter).await?,
        timeline: Timeline::of_clicks(reports, &query.filter, &by, &keys, all, now).await?,
    };
    page.write(out)?;
    Ok(())
}

fn write(table: &Table, format: Format, out: &mut Vec<u8>) -> io::Result<()> {
    if format == Format::Csv { table.write_csv(out) } else { table.write_json(out) }
}

/// One row of everything: a visitor of two links is one visitor, so the column cannot be summed.
async fn totals(reports: &dyn Reports, query: &ReachQuery) -> anyhow::Result<ReachRow> {
    let query = ReachQuery { by: Vec::new(), ..query.clone() };
    Ok(reports.reach(&query).await?.pop().unwrap_or_default())
}

/// Clicks that are missing in the range, whatever else the filter names: nobody knows whose they were.
async fn missing(reports: &dyn Reports, filter: &Filter) -> anyhow::Result<u64> {
    let filter = Filter { since: filter.since, until: filter.until, ..Filter::default() };
    let query = ReachQuery { filter, without_visitors: true, ..ReachQuery::default() };
    Ok(reports.reach(&query).await?.pop().map_or(0, |row| row.missing))
}

#[cfg(test)]
mod tests;
