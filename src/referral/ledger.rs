//! What is granted of what was earned: each n-th time, milestones, caps and budgets. All of them count what was earned
//! before, in the order of history, over all referrals of a partner (or, for budgets, of the rule).

use crate::core::{
    money::Money,
    terms::{Period, RewardRule},
    time::Millis,
};

/// A line of a rule's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Millis,
    /// `None`: a gift.
    pub money: Option<Money>,
    /// Taken back: it counts no more.
    pub reversed: bool,
}

/// Why something that was earned is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// It is not the n-th time, or no milestone.
    NotThisTime,
    Cap,
    Budget,
}

impl Withheld {
    /// As it is stored.
    pub const fn tag(self) -> &'static str {
        match self {
            Withheld::NotThisTime => "not_this_time",
            Withheld::Cap => "cap",
            Withheld::Budget => "budget",
        }
    }

    pub const fn words(self) -> &'static str {
        match self {
            Withheld::NotThisTime => "the rule rewards only some of a partner's referrals, and this is not one of them",
            Withheld::Cap => "the partner has had all that the rule allows for this time",
            Withheld::Budget => "the rule's budget is used up",
        }
    }
}

/// Goes through one partner's ledger of a rule, in order.
#[derive(Clone, Debug)]
pub struct OfPartner<'a> {
    rule: &'a RewardRule,
    times: u32,
    period: Option<Millis>,
    granted_in_period: u32,
}

impl<'a> OfPartner<'a> {
    pub fn new(rule: &'a RewardRule) -> OfPartner<'a> {
        OfPartner { rule, times: 0, period: None, granted_in_period: 0 }
    }

    /// Goes on behind entries that are known by their sums: how many took a place, and how many of these were granted in the
    /// period that holds `at`.
    pub fn behind(rule: &'a RewardRule, at: Millis, times: u32, granted_in_period: u32) -> OfPartner<'a> {
        let period = rule.cap_period.map(|period| beginning(period, at));
        OfPartner { rule, times, period, granted_in_period }
    }

    /// Since when what was granted counts against the cap for something at `at`.
    pub fn counts_since(rule: &RewardRule, at: Millis) -> Millis {
        rule.cap_period.map_or(Millis(i64::MIN), |period| beginning(period, at))
    }

    /// Whether the rule looks at other referrals of the partner at all.
    pub fn is_needed(rule: &RewardRule) -> bool {
        rule.every.is_some() || !rule.milestones.is_empty() || rule.cap.is_some()
    }

    /// The next entry: granted, or why not.
    pub fn next(&mut self, entry: Entry) -> Result<(), Withheld> {
        if entry.reversed {
            // What is taken back takes no place; it says itself why it is not owed.
            return Ok(());
        }
        self.times += 1;
        let wanted = match self.rule.every {
            Some(every) => self.times.is_multiple_of(every),
            None => self.rule.milestones.is_empty() || self.rule.milestones.contains(&self.times),
        };
        if !wanted {
            return Err(Withheld::NotThisTime);
        }
        let Some(cap) = self.rule.cap else { return Ok(()) };
        let period = self.rule.cap_period.map(|period| beginning(period, entry.at));
        if period != self.period {
            (self.period, self.granted_in_period) = (period, 0);
        }
        if self.granted_in_period >= cap {
            return Err(Withheld::Cap);
        }
        self.granted_in_period += 1;
        Ok(())
    }
}

/// Goes through what a rule granted to all partners, in order.
#[derive(Clone, Debug)]
pub struct OfRule {
    budget: Option<Money>,
    spent: i64,
}

impl OfRule {
    pub fn new(rule: &RewardRule) -> OfRule {
        OfRule::behind(rule, 0)
    }

    /// Goes on when so much was granted, in minor units of the budget's currency.
    pub const fn behind(rule: &RewardRule, spent: i64) -> OfRule {
        OfRule { budget: rule.budget, spent }
    }

    pub fn next(&mut self, entry: Entry) -> Result<(), Withheld> {
        let (Some(budget), Some(money)) = (self.budget, entry.money) else { return Ok(()) };
        if entry.reversed {
            return Ok(());
        }
        // A share of a sale in another currency cannot be counted against it.
        if money.currency != budget.currency || self.spent.saturating_add(money.amount) > budget.amount {
            return Err(Withheld::Budget);
        }
        self.spent += money.amount;
        Ok(())
    }
}

/// When the period began that holds this instant (UTC).
fn beginning(period: Period, at: Millis) -> Millis {
    if period == Period::Day {
        return at.day();
    }
    let date = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
    let first = if period == Period::Month { date.first_of_month() } else { date.first_of_year() };
    first.to_zoned(jiff::tz::TimeZone::UTC).map_or(at, |zoned| Millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &serde_json::Value) -> RewardRule {
        let mut rule = serde_json::json!({
            "code": "r", "to": "partner", "on": "qualification", "value": {"fixed": {"amount": 500, "currency": "EUR"}}
        });
        rule.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(rule).unwrap()
    }

    fn granted(rule: &RewardRule, days: &[(i64, bool)]) -> Vec<bool> {
        let money = Some(Money::new(500, "EUR".parse().unwrap()));
        let (mut partner, mut all) = (OfPartner::new(rule), OfRule::new(rule));
        let entry = |(day, reversed): (i64, bool)| Entry { at: Millis(day * 86_400_000), money, reversed };
        days.iter().map(|day| partner.next(entry(*day)).and_then(|()| all.next(entry(*day))).is_ok()).collect()
    }

    #[test]
    fn times_are_counted_without_what_was_taken_back() {
        let days = [(0, false), (1, false), (2, true), (3, false), (4, false)];
        let [yes, no] = [true, false];
        assert_eq!(granted(&rule(&serde_json::json!({})), &days), [yes; 5]);
        assert_eq!(granted(&rule(&serde_json::json!({"every": 2})), &days), [no, yes, yes, no, yes]);
        assert_eq!(granted(&rule(&serde_json::json!({"milestones": [1, 3]})), &days), [yes, no, yes, yes, no]);
        assert_eq!(granted(&rule(&serde_json::json!({"cap": 2})), &days), [yes, yes, yes, no, no]);
        let monthly = rule(&serde_json::json!({"cap": 1, "cap_period": "month"}));
        assert_eq!(granted(&monthly, &[(0, no), (30, no), (31, no), (58, no), (59, no)]), [yes, no, yes, no, yes]);
        let budget = rule(&serde_json::json!({"budget": {"amount": 1_200, "currency": "EUR"}}));
        assert_eq!(granted(&budget, &days), [yes, yes, yes, no, no]);
    }

    #[test]
    fn periods_begin_at_midnight_utc() {
        let at: Millis = "2026-03-15T12:00:00Z".parse().unwrap();
        let begins = [Period::Day, Period::Month, Period::Year].map(|period| beginning(period, at).to_string());
        assert_eq!(begins, ["2026-03-15T00:00:00.000Z", "2026-03-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]);
    }
}
