//! What one referral adds to the sums: a pure function of its rows.
//!
//! Everything belongs to the moment at which the person came, also what they bring later: so no step of a funnel has more than the
//! one before it, and a sum over days is the sum of their people. Money is in minor units, each currency for itself.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::core::{
    id::EventId,
    time::{DAY_MS, HOUR_MS, Millis, SECOND_MS},
};

/// What a sum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// People whom somebody brought.
    Lead,
    /// Of them: qualified by now; rejected by now; with a reward that is owed or was issued.
    Qualified,
    Rejected,
    Rewarded,
    /// Sales, and their amounts; what of them was paid back.
    Revenue,
    Refunded,
    /// Rewards that are held or due; that were issued; and issued ones that are owed no more.
    Owed,
    Issued,
    Lost,
    /// By rule: rewards and their amounts; people who have one; of them, qualified; their revenue.
    Rule,
    RulePeople,
    RuleQualified,
    RuleRevenue,
    /// By length: from the click to the lead, from the lead to qualified, from the click to qualified.
    ClickToLead,
    LeadToQualified,
    ClickToQualified,
    /// By months (of 30 days) after the lead: qualified; sales less refunds.
    QualifiedAfter,
    RevenueAfter,
    /// By the first and by the last touch that could be credited, whatever the program does: people, and qualified.
    FirstLead,
    FirstQualified,
    LastLead,
    LastQualified,
}

crate::core::program::words!(Figure {
    Lead = "lead", Qualified = "qualified", Rejected = "rejected", Rewarded = "rewarded",
    Revenue = "revenue", Refunded = "refunded", Owed = "owed", Issued = "issued", Lost = "lost",
    Rule = "rule", RulePeople = "rule_people", RuleQualified = "rule_qualified", RuleRevenue = "rule_revenue",
    ClickToLead = "click_to_lead", LeadToQualified = "lead_to_qualified", ClickToQualified = "click_to_qualified",
    QualifiedAfter = "qualified_after", RevenueAfter = "revenue_after",
    FirstLead = "first_lead", FirstQualified = "first_qualified", LastLead = "last_lead", LastQualified = "last_qualified",
});

impl Figure {
    /// Whether there are sums of it by partner, link and ad.
    pub const fn is_by_partner(self) -> bool {
        matches!(
            self,
            Figure::Lead
                | Figure::Qualified
                | Figure::Rejected
                | Figure::Rewarded
                | Figure::Revenue
                | Figure::Refunded
                | Figure::Owed
                | Figure::Issued
                | Figure::Lost
                | Figure::FirstLead
                | Figure::FirstQualified
                | Figure::LastLead
                | Figure::LastQualified
        )
    }
}

impl Figure {
    /// Whether it is credited by another model than the program's.
    pub const fn is_by_model(self) -> bool {
        matches!(self, Figure::FirstLead | Figure::FirstQualified | Figure::LastLead | Figure::LastQualified)
    }
}

/// Upper ends of the classes of lengths of time; what is longer is in the last class.
pub const WAITS_MS: [i64; 18] = [
    60 * SECOND_MS,
    300 * SECOND_MS,
    900 * SECOND_MS,
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    3 * DAY_MS,
    5 * DAY_MS,
    7 * DAY_MS,
    14 * DAY_MS,
    30 * DAY_MS,
    60 * DAY_MS,
    90 * DAY_MS,
    180 * DAY_MS,
    365 * DAY_MS,
];
/// Days of a month after the lead.
const MONTH_DAYS: i64 = 30;
/// Months after the lead that are told apart; what comes later is in the last one.
pub const MONTHS_AFTER: i64 = 12;

/// Who is credited.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Who {
    #[serde(rename = "p")]
    pub partner: String,
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    #[serde(rename = "a", default, skip_serializing_if = "String::is_empty")]
    pub ad: String,
}

/// A sale of the referred person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sale {
    #[serde(rename = "m")]
    pub months_after: i64,
    #[serde(rename = "c")]
    pub currency: String,
    #[serde(rename = "a")]
    pub amount: i64,
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub paid_back: i64,
}

/// A reward that was granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Granted {
    #[serde(rename = "r")]
    pub rule: String,
    /// Empty: a gift.
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub currency: String,
    #[serde(rename = "a", default, skip_serializing_if = "is_zero")]
    pub amount: i64,
    #[serde(rename = "s")]
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    #[serde(rename = "o")]
    Owed,
    #[serde(rename = "i")]
    Issued,
    /// It was issued, and is owed no more.
    #[serde(rename = "x")]
    Lost,
}

/// What a referral adds, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    #[serde(rename = "g")]
    pub program: String,
    #[serde(rename = "t")]
    pub since: i64,
    #[serde(rename = "w")]
    pub who: Who,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Who>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Who>,
    /// When it qualified, where it is qualified.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub qualified: Option<i64>,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub clicked: Option<i64>,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub sales: Vec<Sale>,
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<Granted>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How many months of 30 days later.
pub fn months_after(since: Millis, at: Millis) -> i64 {
    (at.0.saturating_sub(since.0).max(0) / (MONTH_DAYS * DAY_MS)).min(MONTHS_AFTER)
}

/// The class of a length of time, from 0 to the number of [`WAITS_MS`].
pub fn wait_class(ms: i64) -> usize {
    WAITS_MS.partition_point(|end| *end < ms)
}

/// When a click was.
pub fn click_time(click: &str) -> Option<i64> {
    click.parse::<EventId>().ok().map(|click| click.time().0)
}

/// What a sum is kept under, but for its stretch of days.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub figure: Figure,
    pub program: String,
    pub who: Who,
    pub detail: String,
    pub currency: String,
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: i64,
    pub amount: i64,
}

impl Sum {
    pub fn add(&mut self, other: Sum) {
        self.count = self.count.saturating_add(other.count);
        self.amount = self.amount.saturating_add(other.amount);
    }
}

/// In no order: a report by partner has tens of thousands, and to compare keys of that many texts costs more than to hash them.
pub type Sums = HashMap<Key, Sum>;

/// Classes and months as a sum's detail: two digits.
const DETAILS: [&str; WAITS_MS.len() + 1] =
    ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18"];
const _: () = assert!((MONTHS_AFTER as usize) < DETAILS.len());

/// A sum's detail for a month after the lead.
fn month_detail(months_after: i64) -> &'static str {
    DETAILS[usize::try_from(months_after.clamp(0, MONTHS_AFTER)).unwrap_or_default()]
}

/// What one referral adds to one sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added<'a> {
    pub figure: Figure,
    pub program: &'a str,
    pub who: &'a Who,
    pub detail: &'a str,
    pub currency: &'a str,
    pub sum: Sum,
}

impl Added<'_> {
    pub fn key(&self) -> Key {
        Key {
            figure: self.figure,
            program: self.program.to_owned(),
            who: self.who.clone(),
            detail: self.detail.to_owned(),
            currency: self.currency.to_owned(),
        }
    }
}

impl Figures {
    /// The sums that it is in.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        self.each(|added| sums.entry(added.key()).or_default().add(added.sum));
        sums
    }

    /// What it adds, one by one; to one sum possibly several times.
    pub fn each(&self, mut take: impl FnMut(Added<'_>)) {
        let mut add = |figure: Figure, who: &Who, detail: &str, currency: &str, count: i64, amount: i64| {
            take(Added { figure, program: &self.program, who, detail, currency, sum: Sum { count, amount } });
        };
        let who = &self.who;
        add(Figure::Lead, who, "", "", 1, 0);
        if self.rejected {
            add(Figure::Rejected, who, "", "", 1, 0);
        }
        for (touch, lead, qualified) in [
            (&self.first, Figure::FirstLead, Figure::FirstQualified),
            (&self.last, Figure::LastLead, Figure::LastQualified),
        ] {
            let touch = touch.as_ref().unwrap_or(who);
            add(lead, touch, "", "", 1, 0);
            if self.qualified.is_some() {
                add(qualified, touch, "", "", 1, 0);
            }
        }
        let mut waited = |figure, from: i64, to: i64| {
            add(figure, who, DETAILS[wait_class(to.saturating_sub(from))], "", 1, 0);
        };
        if let Some(clicked) = self.clicked {
            waited(Figure::ClickToLead, clicked, self.since);
        }
        if let Some(at) = self.qualified {
            waited(Figure::LeadToQualified, self.since, at);
            if let Some(clicked) = self.clicked {
                waited(Figure::ClickToQualified, clicked, at);
            }
            add(Figure::Qualified, who, "", "", 1, 0);
            let month = month_detail(months_after(Millis(self.since), Millis(at)));
            add(Figure::QualifiedAfter, who, month, "", 1, 0);
        }
        for Sale { months_after, currency, amount, paid_back } in &self.sales {
            add(Figure::Revenue, who, "", currency, 1, *amount);
            if *paid_back > 0 {
                add(Figure::Refunded, who, "", currency, 1, *paid_back);
            }
            add(Figure::RevenueAfter, who, month_detail(*months_after), currency, 1, amount - paid_back);
        }
        self.add_rewards(&mut add);
    }

    fn add_rewards(&self, add: &mut impl FnMut(Figure, &Who, &str, &str, i64, i64)) {
        let who = &self.who;
        let mut rules: Vec<&str> = Vec::new();
        for Granted { rule, currency, amount, standing } in &self.granted {
            let figure = match standing {
                Standing::Owed => Figure::Owed,
                Standing::Issued => Figure::Issued,
                Standing::Lost => Figure::Lost,
            };
            add(figure, who, "", currency, 1, *amount);
            add(Figure::Rule, who, rule, currency, 1, *amount);
            if *standing != Standing::Lost && !rules.contains(&rule.as_str()) {
                rules.push(rule);
            }
        }
        if !rules.is_empty() {
            add(Figure::Rewarded, who, "", "", 1, 0);
        }
        for rule in rules {
            add(Figure::RulePeople, who, rule, "", 1, 0);
            if self.qualified.is_some() {
                add(Figure::RuleQualified, who, rule, "", 1, 0);
            }
            for sale in &self.sales {
                add(Figure::RuleRevenue, who, rule, &sale.currency, 1, sale.amount - sale.paid_back);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_classes_and_months_have_thirty_days() {
        assert_eq!([0, 60_000, 60_001, i64::MAX].map(wait_class), [0, 0, 1, WAITS_MS.len()]);
        let day = |days: i64| Millis(days * DAY_MS);
        let after = [-1, 0, 29, 30, 59, 60, 10_000].map(|days| months_after(day(0), day(days)));
        assert_eq!(after, [0, 0, 0, 1, 1, 2, MONTHS_AFTER]);
    }

    #[test]
    fn what_is_kept_comes_back_and_takes_little() {
        let figures = Figures {
            program: "spring".to_owned(),
            since: 1,
            who: Who { partner: "ann".to_owned(), ..Who::default() },
            ..Figures::default()
        };
        let text = serde_json::to_string(&figures).unwrap();
        assert_eq!(text, r#"{"g":"spring","t":1,"w":{"p":"ann"}}"#);
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), figures);
    }

    #[test]
    fn a_rule_is_counted_once_a_person_and_currencies_stay_apart() {
        let granted = |currency: &str, amount, standing| Granted {
            rule: "share".to_owned(),
            currency: currency.to_owned(),
            amount,
            standing,
        };
        let sale = |currency: &str, amount, paid_back| Sale {
            months_after: 0,
            currency: currency.to_owned(),
            amount,
            paid_back,
        };
        let figures = Figures {
            qualified: Some(5),
            granted: vec![
                granted("EUR", 10, Standing::Owed),
                granted("EUR", 5, Standing::Issued),
                granted("USD", 7, Standing::Lost),
            ],
            sales: vec![sale("EUR", 100, 40), sale("USD", 70, 0)],
            ..Figures::default()
        };
        let sums = figures.sums();
        let of = |figure, currency: &str| {
            let found = sums.iter().find(|(key, _)| key.figure == figure && key.currency == currency);
            found.map(|(_, sum)| (sum.count, sum.amount))
        };
        assert_eq!(of(Figure::RulePeople, ""), Some((1, 0)));
        assert_eq!((of(Figure::Rule, "EUR"), of(Figure::Rule, "USD")), (Some((2, 15)), Some((1, 7))));
        assert_eq!((of(Figure::Revenue, "EUR"), of(Figure::Refunded, "EUR")), (Some((1, 100)), Some((1, 40))));
        assert_eq!((of(Figure::RuleRevenue, "EUR"), of(Figure::RuleRevenue, "USD")), (Some((1, 60)), Some((1, 70))));
        assert_eq!(of(Figure::Lost, "USD"), Some((1, 7)));
    }
}
