//! Reports that join reach with what came of it: from the partner who joined to the reward.
//!
//! **One source of truth for each figure.** Clicks, views, shares and visitors are asked of the event store. People, qualified
//! referrals, rewards and money are asked of the record in the catalog: it knows reversals and corrected attributions, where the
//! event store is history. Figures of the record belong to the moment at which the person came, also what they bring later.
//! Money stands in minor units beside its currency; currencies are never added up. `docs/analysts.md` defines each figure.
//!
//! | file | |
//! |---|---|
//! | `question` | what may be asked, in the words of a URL or the command line |
//! | `steps` | funnel, participation, rates |
//! | `tops` | partners, links, ads, channels, and the two models of attribution side by side |
//! | `money` | revenue, cost and what comes back; the rules compared |
//! | `times` | time to convert, cohorts |
//! | `zoned` | reach by the days of a time zone |

use crate::{
    catalog::{
        Catalog, CatalogError,
        record::{
            figures::{Figure, Sums},
            report::People,
        },
    },
    store::{ReachQuery, ReachRow, ReportError, Reports, question::QuestionError, rows::Table},
};

mod money;
pub mod question;
mod steps;
mod times;
mod tops;
pub mod zoned;

pub use question::{Question, Words};

/// The reports, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Funnel,
    Participation,
    Rates,
    TopPartners,
    TopLinks,
    TopAds,
    TopChannels,
    Money,
    Motivators,
    TimeToConvert,
    Cohorts,
    Models,
}

crate::core::program::words!(Name {
    Funnel = "funnel",
    Participation = "participation",
    Rates = "rates",
    TopPartners = "top-partners",
    TopLinks = "top-links",
    TopAds = "top-ads",
    TopChannels = "top-channels",
    Money = "money",
    Motivators = "motivators",
    TimeToConvert = "time-to-convert",
    Cohorts = "cohorts",
    Models = "models",
});

impl Name {
    /// The name, or what is wrong with it.
    pub fn parse(word: &str) -> Result<Name, QuestionError> {
        Name::from_word(word).ok_or_else(|| QuestionError {
            field: "report",
            problem: format!("there is no report `{word}`: choose from reach, links, {}", Name::WORDS.join(", ")),
        })
    }
}

/// Why a report has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error(transparent)]
    Record(#[from] CatalogError),
    #[error(transparent)]
    Events(#[from] ReportError),
}

/// Who knows.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub catalog: &'a Catalog,
    pub events: &'a dyn Reports,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("catalog", self.catalog).finish_non_exhaustive()
    }
}

impl Sources<'_> {
    /// The answer to a question.
    pub async fn answer(self, name: Name, question: &Question) -> Result<Table, Unanswered> {
        match name {
            Name::Funnel => steps::funnel(self, question).await,
            Name::Participation => steps::participation(self, question).await,
            Name::Rates => steps::rates(self, question).await,
            Name::TopPartners => tops::top(self, question, tops::Of::Partner).await,
            Name::TopLinks => tops::top(self, question, tops::Of::Link).await,
            Name::TopAds => tops::top(self, question, tops::Of::Ad).await,
            Name::TopChannels => tops::channels(self, question).await,
            Name::Money => money::money(self, question).await,
            Name::Motivators => money::motivators(self, question).await,
            Name::TimeToConvert => times::time_to_convert(self, question).await,
            Name::Cohorts => times::cohorts(self, question).await,
            Name::Models => tops::models(self, question).await,
        }
    }

    /// Reach in one row.
    async fn reach(self, question: &Question, visitors: bool) -> Result<ReachRow, Unanswered> {
        let filter = question.filter.clone();
        let query = ReachQuery { filter, by: Vec::new(), without_visitors: !visitors };
        Ok(self.events.reach(&query).await?.pop().unwrap_or_default())
    }
}

impl Question {
    /// The same of the record.
    fn people(&self) -> People {
        let text = |code: &Option<crate::core::code::Code>| code.as_ref().map(ToString::to_string);
        let filter = &self.filter;
        People {
            since: filter.since,
            until: filter.until,
            program: text(&filter.program),
            partner: text(&filter.partner),
            link: text(&filter.link),
            ad: text(&filter.ad),
        }
    }
}

/// How many, over everything that sums are told apart by.
fn count(sums: &Sums, figure: Figure) -> i64 {
    sums.iter().filter(|(key, _)| key.figure == figure).map(|(_, sum)| sum.count).sum()
}

/// The currencies of these sums, in order; not of gifts.
fn currencies(sums: &Sums) -> Vec<String> {
    let mut currencies: Vec<String> = sums.keys().map(|key| key.currency.clone()).filter(|c| !c.is_empty()).collect();
    currencies.sort();
    currencies.dedup();
    currencies
}
