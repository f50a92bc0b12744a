//! The way from the partner to the reward, step by step.

use super::{Question, Sources, Unanswered, count};
use crate::{
    catalog::record::{figures::Figure, report::By},
    store::{
        Dimension, ReachQuery,
        rows::{Cell, Table},
    },
};

/// Clicks, and partners of whom anything was seen: a share, or a view or click of something that they must have shared.
async fn seen(sources: Sources<'_>, question: &Question) -> Result<(u64, u64), Unanswered> {
    let filter = question.filter.clone();
    let query = ReachQuery { filter, by: vec![Dimension::Partner], without_visitors: true };
    let rows = sources.events.reach(&query).await?;
    let shared = rows.iter().filter(|row| !row.key[0].is_empty() && row.views + row.clicks + row.shares > 0);
    Ok((rows.iter().map(|row| row.clicks).sum(), shared.count() as u64))
}

async fn joined(sources: Sources<'_>, question: &Question) -> Result<u64, Unanswered> {
    if question.filter.partner.is_some() {
        return Ok(1);
    }
    let people = question.people();
    Ok(sources.catalog.joined(people.program.as_deref(), people.until).await?)
}

struct Steps {
    leads: u64,
    qualified: u64,
    rewarded: u64,
}

async fn steps(sources: Sources<'_>, question: &Question) -> Result<Steps, Unanswered> {
    let figures = [Figure::Lead, Figure::Qualified, Figure::Rewarded];
    let sums = sources.catalog.sums(&question.people(), &figures, By::default(), &[]).await?;
    let [leads, qualified, rewarded] = figures.map(|figure| count(&sums, figure).unsigned_abs());
    Ok(Steps { leads, qualified, rewarded })
}

pub(super) async fn funnel(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let (clicks, shared) = seen(sources, question).await?;
    let visitors = if question.visitors { sources.reach(question, true).await?.unique_visitors } else { None };
    let Steps { leads, qualified, rewarded } = steps(sources, question).await?;
    let steps = [
        ("joined", Some(joined(sources, question).await?)),
        ("shared", Some(shared)),
        ("clicks", Some(clicks)),
        ("visitors", visitors),
        ("leads", Some(leads)),
        ("qualified", Some(qualified)),
        ("rewarded", Some(rewarded)),
    ];
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut drops: Vec<(Option<u64>, usize)> = Vec::new();
    let mut before = None;
    for (at, (step, number)) in steps.into_iter().enumerate() {
        // Clicks are no part of the partners who shared: the way of people begins there.
        let of = before.filter(|_| step != "clicks");
        let rate = number.zip(of).map_or(Cell::Unknown, |(number, of)| Cell::rate(number, of));
        drops.push((rate.basis_points(), at));
        rows.push(vec![step.into(), number.into(), rate, Cell::from("")]);
        before = number.or(before);
    }
    // The step at which the largest part is lost.
    let worst = drops.iter().filter_map(|(rate, at)| Some((rate.filter(|rate| *rate < 10_000)?, *at))).min();
    if let Some((_, at)) = worst {
        rows[at][3] = "biggest drop".into();
    }
    Ok(Table { columns: vec!["step", "count", "rate", "note"], rows })
}

pub(super) async fn participation(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let (joined, (_, shared)) = (joined(sources, question).await?, seen(sources, question).await?);
    let customers = question.customers.unwrap_or(joined);
    let row = vec![
        Cell::Number(customers),
        Cell::Number(joined),
        Cell::Number(shared),
        Cell::rate(joined, customers),
        Cell::rate(shared, customers),
    ];
    Ok(Table { columns: vec!["customers", "joined", "shared", "joined_rate", "participation_rate"], rows: vec![row] })
}

pub(super) async fn rates(sources: Sources<'_>, question: &Question) -> Result<Table, Unanswered> {
    let clicks = sources.reach(question, false).await?.clicks;
    let Steps { leads, qualified, rewarded } = steps(sources, question).await?;
    let mut row: Vec<Cell> = [clicks, leads, qualified, rewarded].map(Cell::Number).into();
    row.extend([Cell::rate(leads, clicks), Cell::rate(qualified, leads), Cell::rate(rewarded, qualified)]);
    let columns =
        vec!["clicks", "leads", "qualified", "rewarded", "conversion_rate", "qualification_rate", "reward_rate"];
    Ok(Table { columns, rows: vec![row] })
}
