//! What a program promises: which referrals qualify, what they earn, and when somebody looks at them first.

use serde::{Deserialize, Serialize};

use super::{
    code::Code,
    limits::{
        GIFT_MAX_CHARS, HOLD_MAX_DAYS, MILESTONES_MAX, NAME_MAX_CHARS, NTH_MAX, PARENT_LEVELS, RECURRING_MAX_MONTHS,
        REWARD_RULES_MAX, WINDOW_MAX_DAYS,
    },
    money::Money,
    time::Millis,
};

/// Whose referral a person is when several partners brought them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credit {
    /// The first partner keeps the credit.
    #[default]
    First,
    /// The partner of the last lead before the referral qualified.
    Latest,
}

/// When a referral qualifies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Qualification {
    /// `lead`: at once; `event`: when a conversion says so; `hand`: only by hand.
    pub on: QualifyOn,
    /// Name of the event that counts; empty: each.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// The how many-eth of these events qualifies.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u32>,
    /// Only events of at least this amount count, in this currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Money>,
    /// Only events within so many days after the first lead count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualifyOn {
    Lead,
    #[default]
    Event,
    Hand,
}

/// One rule of what is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardRule {
    /// Its name in rewards and reports; stays when the rule changes.
    #[schema(value_type = String, example = "first-sale")]
    pub code: Code,
    pub to: RewardTo,
    pub on: RewardOn,
    pub value: RewardValue,
    /// With `on: sale`: name of the event that counts; empty: each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// With `on: sale`: for how many months after the first sale each further one earns as well. None: only the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurring_months: Option<u32>,
    /// Only each n-th time for a partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// Only the first, second, tenth … time for a partner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<u32>,
    /// At most so many for a partner, in `cap_period` or for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_period: Option<Period>,
    /// At most so much in all, over all partners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Days from what earned it until it is due.
    #[serde(default)]
    pub hold_days: u32,
    /// Issued as soon as it is due, without anybody's act.
    #[serde(default)]
    pub auto_issue: bool,
    /// For what happens from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Millis>,
    /// For what happens before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardTo {
    Partner,
    Invited,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardOn {
    Lead,
    Qualification,
    Sale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Month,
    Year,
}

super::program::words!(Credit { First = "first", Latest = "latest" });

/// Who gets a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Partner,
    Invited,
}

super::program::words!(Side { Partner = "partner", Invited = "invited" });

/// What somebody is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owed {
    Money(Money),
    Gift(String),
}

/// Where a reward stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardState {
    /// Earned, and the referral has not qualified or is being looked at.
    Pending,
    /// Owed, and not due before a date.
    Held,
    Due,
    Issued,
    /// Not owed after all.
    Reversed,
}

super::program::words!(RewardState { Pending = "pending", Held = "held", Due = "due", Issued = "issued", Reversed = "reversed" });

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardValue {
    Fixed(Money),
    /// Basis points of the sale's amount: 1250 is 12.5 %.
    Percent(u32),
    /// Something that is no money, in words.
    Gift(String),
}

/// Why terms are refused: the field within them, and what to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct TermsError {
    /// For example `[0].hold_days`.
    pub field: String,
    pub problem: String,
}

fn wrong<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, TermsError> {
    Err(TermsError { field: field.into(), problem: problem.into() })
}

fn one_to(field: &str, value: Option<u32>, max: u32) -> Result<(), TermsError> {
    match value {
        Some(value) if !(1..=max).contains(&value) => wrong(field, format!("{value} is not from 1 to {max}")),
        _ => Ok(()),
    }
}

fn amount(field: &str, money: Option<Money>) -> Result<(), TermsError> {
    match money {
        Some(money) if !money.is_sane() || money.amount == 0 => wrong(
            format!("{field}.amount"),
            format!("{} is no amount that can be owed: give more than 0", money.amount),
        ),
        _ => Ok(()),
    }
}

fn event_name(field: &str, name: &str) -> Result<(), TermsError> {
    if name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return wrong(
            field,
            format!("is no name: at most {NAME_MAX_CHARS} characters, none of them a control character"),
        );
    }
    Ok(())
}

impl Qualification {
    pub fn check(&self) -> Result<(), TermsError> {
        event_name(".event", &self.event)?;
        one_to(".nth", self.nth, NTH_MAX)?;
        one_to(".within_days", self.within_days, u32::try_from(WINDOW_MAX_DAYS).unwrap_or(u32::MAX))?;
        amount(".over", self.over)?;
        let asks = !self.event.is_empty() || self.nth.is_some() || self.over.is_some() || self.within_days.is_some();
        if asks && self.on != QualifyOn::Event {
            return wrong(".on", "event, nth, over and within_days are about events: say `event`, or leave them out");
        }
        Ok(())
    }
}

impl RewardRule {
    fn check(&self) -> Result<(), TermsError> {
        event_name(".event", &self.event)?;
        one_to(".every", self.every, NTH_MAX)?;
        one_to(".cap", self.cap, NTH_MAX)?;
        one_to(".recurring_months", self.recurring_months, RECURRING_MAX_MONTHS)?;
        amount(".budget", self.budget)?;
        match &self.value {
            RewardValue::Fixed(money) => amount(".value.fixed", Some(*money))?,
            RewardValue::Percent(points) if !(1..=10_000).contains(points) => {
                return wrong(".value.percent", format!("{points} basis points are not from 1 to 10000 (100 %)"));
            }
            RewardValue::Percent(_) if self.on != RewardOn::Sale => {
                return wrong(".value.percent", "is a share of a sale: say `on: sale`, or give a fixed amount");
            }
            RewardValue::Gift(text) if text.trim().is_empty() || text.chars().count() > GIFT_MAX_CHARS => {
                return wrong(".value.gift", format!("say what it is, in 1 to {GIFT_MAX_CHARS} characters"));
            }
            RewardValue::Percent(_) | RewardValue::Gift(_) => {}
        }
        if self.hold_days > HOLD_MAX_DAYS {
            return wrong(".hold_days", format!("{} days: at most {HOLD_MAX_DAYS}", self.hold_days));
        }
        if self.on != RewardOn::Sale && (self.recurring_months.is_some() || !self.event.is_empty()) {
            return wrong(".on", "event and recurring_months are about sales: say `on: sale`, or leave them out");
        }
        if self.milestones.len() > MILESTONES_MAX || self.milestones.contains(&0) {
            return wrong(".milestones", format!("at most {MILESTONES_MAX} numbers, from 1 on"));
        }
        if !self.milestones.is_empty() && self.every.is_some() {
            return wrong(".every", "and milestones say the same thing twice: give one of them");
        }
        if self.cap_period.is_some() && self.cap.is_none() {
            return wrong(".cap_period", "needs a cap: say how many");
        }
        if let (Some(budget), RewardValue::Gift(_)) = (self.budget, &self.value) {
            return wrong(".budget", format!("{budget} says nothing about gifts: give a cap"));
        }
        if let (Some(budget), RewardValue::Fixed(money)) = (self.budget, &self.value)
            && budget.currency != money.currency
        {
            return wrong(".budget.currency", format!("is {}, the reward is {}", budget.currency, money.currency));
        }
        if self.from.zip(self.until).is_some_and(|(from, until)| from >= until) {
            return wrong(".until", "is not after `from`");
        }
        Ok(())
    }
}

pub fn check_rewards(rules: &[RewardRule]) -> Result<(), TermsError> {
    if rules.len() > REWARD_RULES_MAX {
        return wrong("", format!("{} rules: at most {REWARD_RULES_MAX} are allowed", rules.len()));
    }
    for (at, rule) in rules.iter().enumerate() {
        rule.check().map_err(|error| TermsError { field: format!("[{at}]{}", error.field), ..error })?;
        if rules[..at].iter().any(|other| other.code == rule.code) {
            return wrong(format!("[{at}].code"), format!("`{}` is the code of a rule before it", rule.code));
        }
    }
    Ok(())
}

/// Shares of a parent, its parent, and so on, in basis points of what the partner gets.
pub fn check_parent_shares(shares: &[u32]) -> Result<(), TermsError> {
    if shares.len() > PARENT_LEVELS {
        return wrong("", format!("{} levels: at most {PARENT_LEVELS} are allowed", shares.len()));
    }
    match shares.iter().position(|share| *share > 10_000) {
        Some(at) => wrong(format!("[{at}]"), format!("{} basis points are more than all of it", shares[at])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &serde_json::Value) -> Result<(), String> {
        let mut rule = serde_json::json!({
            "code": "welcome", "to": "partner", "on": "qualification", "value": {"fixed": {"amount": 500, "currency": "EUR"}}
        });
        rule.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        let rule: RewardRule = serde_json::from_value(rule).map_err(|error| error.to_string())?;
        check_rewards(&[rule]).map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_of_a_rule_names_its_field() {
        use serde_json::json;
        assert_eq!(rule(&json!({})), Ok(()));
        for (given, field) in [
            (json!({"value": {"fixed": {"amount": 0, "currency": "EUR"}}}), "[0].value.fixed.amount"),
            (json!({"value": {"percent": 1_000}}), "[0].value.percent"),
            (json!({"value": {"percent": 10_001}, "on": "sale"}), "[0].value.percent"),
            (json!({"value": {"gift": " "}}), "[0].value.gift"),
            (json!({"every": 0}), "[0].every"),
            (json!({"every": 2, "milestones": [1]}), "[0].every"),
            (json!({"milestones": [0]}), "[0].milestones"),
            (json!({"hold_days": 5_000}), "[0].hold_days"),
            (json!({"recurring_months": 3}), "[0].on"),
            (json!({"cap_period": "month"}), "[0].cap_period"),
            (json!({"budget": {"amount": 5, "currency": "USD"}}), "[0].budget.currency"),
            (json!({"from": "2026-03-02", "until": "2026-03-02"}), "[0].until"),
        ] {
            let error = rule(&given).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{given}: {error}");
        }
        assert!(rule(&json!({"holddays": 3})).unwrap_err().contains("unknown field"));
    }

    #[test]
    fn conditions_on_events_need_events() {
        let json = serde_json::json!({"on": "lead", "nth": 2});
        let qualification: Qualification = serde_json::from_value(json).unwrap();
        assert_eq!(qualification.check().unwrap_err().field, ".on");
        assert_eq!(Qualification::default().check(), Ok(()));
    }

    #[test]
    fn no_parent_gets_more_than_all() {
        assert_eq!(check_parent_shares(&[1_000, 500, 0]), Ok(()));
        assert_eq!(check_parent_shares(&[1_000, 10_001]).unwrap_err().field, "[1]");
        assert_eq!(check_parent_shares(&[1, 1, 1, 1]).unwrap_err().field, "");
    }
}
