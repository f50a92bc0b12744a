//! When somebody looks at a referral first: the signals, what each one weighs, and from which score on rewards are held.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    fact::FactId,
    limits::{BURST_LEADS_MAX, BURST_MAX_MINUTES, DISPOSABLE_DOMAINS_MAX, FAST_MAX_SECONDS, HOST_MAX_BYTES, SCORE_MAX},
    terms::TermsError,
    time::Millis,
};

/// What makes a referral doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The person's e-mail address is the partner's own.
    SelfMail,
    /// The person pays as the partner does who is a customer too.
    SelfPayment,
    /// The person's browser is the partner's.
    SelfVisitor,
    /// Somebody who came to the program before has the same e-mail address.
    SameMail,
    /// Somebody who came to the program before pays the same way.
    SamePayment,
    /// The address is one that is thrown away.
    DisposableMail,
    /// Many people of this partner came from one network at the same time.
    Burst,
    /// The name was left sooner after the click than a person can type.
    TooFast,
    /// Much of the partner's clicks are bots'.
    BotShare,
    /// Much of the partner's clicks are the partner's own.
    OwnClicks,
}

super::program::words!(Signal {
    SelfMail = "self_mail",
    SelfPayment = "self_payment",
    SelfVisitor = "self_visitor",
    SameMail = "same_mail",
    SamePayment = "same_payment",
    DisposableMail = "disposable_mail",
    Burst = "burst",
    TooFast = "too_fast",
    BotShare = "bot_share",
    OwnClicks = "own_clicks",
});

impl Signal {
    /// Points where a program names none. Two that are likely by accident do not add up to the 50 that most will hold from.
    pub const fn weight(self) -> u32 {
        match self {
            Signal::SelfMail | Signal::SelfPayment => 100,
            Signal::SelfVisitor | Signal::SameMail | Signal::SamePayment => 60,
            Signal::DisposableMail | Signal::Burst => 40,
            Signal::TooFast | Signal::BotShare => 30,
            Signal::OwnClicks => 20,
        }
    }
}

/// One reason for a referral's score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    pub signal: Signal,
    /// What it adds to the score.
    pub points: u32,
    /// For whoever decides.
    pub words: String,
    /// The contact who has the same address or payment.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<FactId>,
}

/// A program's rules of review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Review {
    /// A referral with this score or a higher one is held: its rewards wait until somebody approves. None: nobody is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_from: Option<u32>,
    /// Points of a signal, where they are not the usual ones; 0 leaves it out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::HashMap<String, u32>)]
    pub weights: BTreeMap<Signal, u32>,
    /// Who came before is not held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Millis>,
    /// Hosts of mail that is thrown away, beside those that are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disposable_domains: Vec<String>,
    /// So many people of one partner from one network …
    pub burst_leads: u32,
    /// … within so many minutes are a burst.
    pub burst_minutes: u32,
    /// A lead within fewer seconds after its click is too fast.
    pub fast_seconds: u32,
    /// From this share of bots among a partner's clicks on, percent.
    pub bot_percent: u32,
    /// From this share of the partner's own clicks on, percent.
    pub own_percent: u32,
}

impl Default for Review {
    fn default() -> Review {
        Review {
            hold_from: None,
            weights: BTreeMap::new(),
            from: None,
            disposable_domains: Vec::new(),
            burst_leads: 5,
            burst_minutes: 60,
            fast_seconds: 3,
            bot_percent: 50,
            own_percent: 20,
        }
    }
}

impl Review {
    /// What a signal adds to the score.
    pub fn points(&self, signal: Signal) -> u32 {
        self.weights.get(&signal).copied().unwrap_or(signal.weight())
    }

    pub fn check(&self) -> Result<(), TermsError> {
        let wrong = |field: String, problem: String| Err(TermsError { field, problem });
        for (field, value, bounds) in [
            (".hold_from", self.hold_from.unwrap_or(1), 1..=SCORE_MAX),
            (".burst_leads", self.burst_leads, 2..=BURST_LEADS_MAX),
            (".burst_minutes", self.burst_minutes, 1..=BURST_MAX_MINUTES),
            (".fast_seconds", self.fast_seconds, 1..=FAST_MAX_SECONDS),
            (".bot_percent", self.bot_percent, 1..=100),
            (".own_percent", self.own_percent, 1..=100),
        ] {
            if !bounds.contains(&value) {
                return wrong(field.to_owned(), format!("{value} is not from {} to {}", bounds.start(), bounds.end()));
            }
        }
        if let Some((signal, points)) = self.weights.iter().find(|(_, points)| **points > SCORE_MAX) {
            return wrong(format!(".weights.{}", signal.word()), format!("{points} is not from 0 to {SCORE_MAX}"));
        }
        if self.disposable_domains.len() > DISPOSABLE_DOMAINS_MAX {
            return wrong(".disposable_domains".to_owned(), format!("at most {DISPOSABLE_DOMAINS_MAX} are allowed"));
        }
        let host = |text: &str| {
            text.len() <= HOST_MAX_BYTES
                && text.contains('.')
                && text.chars().all(|c| c.is_alphanumeric() && !c.is_uppercase() || matches!(c, '.' | '-'))
        };
        match self.disposable_domains.iter().position(|domain| !host(domain)) {
            Some(at) => wrong(
                format!(".disposable_domains[{at}]"),
                format!("`{}` is no domain: give one like mail.example, in lower case", self.disposable_domains[at]),
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: serde_json::Value) -> Result<(), String> {
        let review: Review = serde_json::from_value(json).map_err(|error| error.to_string())?;
        review.check().map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_names_its_field() {
        use serde_json::json;
        assert_eq!(check(json!({})), Ok(()));
        let all =
            json!({"hold_from": 50, "weights": {"burst": 0, "self_mail": 500}, "disposable_domains": ["x.example"]});
        assert_eq!(check(all), Ok(()));
        for (given, field) in [
            (json!({"hold_from": 0}), ".hold_from"),
            (json!({"burst_leads": 1}), ".burst_leads"),
            (json!({"burst_minutes": 0}), ".burst_minutes"),
            (json!({"fast_seconds": 0}), ".fast_seconds"),
            (json!({"bot_percent": 101}), ".bot_percent"),
            (json!({"own_percent": 0}), ".own_percent"),
            (json!({"weights": {"too_fast": 1_001}}), ".weights.too_fast"),
            (json!({"disposable_domains": ["a.example", "Mail"]}), ".disposable_domains[1]"),
        ] {
            let error = check(given.clone()).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{given}: {error}");
        }
        assert!(check(json!({"holdfrom": 3})).unwrap_err().contains("unknown field"));
        assert!(check(json!({"weights": {"luck": 3}})).unwrap_err().contains("unknown variant"));
    }

    #[test]
    fn the_words_of_signals_are_those_of_json() {
        for word in Signal::WORDS {
            let signal = Signal::from_word(word).unwrap();
            assert_eq!(serde_json::to_value(signal).unwrap(), *word);
        }
    }
}
