//! Who is credited for a lead. All candidates are kept with the verdict on each, so that every credit can be explained.
//!
//! A candidate is a touch (by a click token, a cookie, or the history of the contact's visitors) or a partner's code that came
//! with the lead: that counts as a touch at the moment of the lead. Of those that may be credited the program's model takes
//! the first or the last one.
//!
//! A decision keeps all that it was made of, so that it can be made again when a click turns up late: see [`Decision::again`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::{
    code::Code,
    fact::Credited,
    id::EventId,
    program::Attribution,
    time::{DAY_MS, Millis},
};

/// Where a candidate comes from. What stands first is preferred where two say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The click token that came with the lead.
    Token,
    /// A touch in the visitor's cookie.
    Cookie,
    /// A click of a visitor that is bound to the contact.
    History,
    /// A partner's code that came with the lead.
    Code,
}

/// Somebody who may be credited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidate {
    pub source: Source,
    #[schema(value_type = String)]
    pub partner: Code,
    #[schema(value_type = Option<String>)]
    pub link: Option<Code>,
    #[schema(value_type = Option<String>)]
    pub ad: Option<Code>,
    #[schema(value_type = Option<String>)]
    pub click: Option<EventId>,
    /// When the click was, or the lead.
    #[schema(value_type = String, format = DateTime)]
    pub at: Millis,
    /// The program that the token names, when it is another one than the lead's.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_program: Option<Code>,
}

/// Why a candidate is not credited, or that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    Won,
    /// Another touch was earlier, and the program credits the first.
    NotFirst,
    /// Another touch was later, and the program credits the last.
    NotLast,
    /// The same click is a candidate already.
    SameClick,
    /// The click is older than the program's window.
    TooOld,
    /// The click came after the lead.
    TooLate,
    OtherProgram,
    PartnerUnknown,
    PartnerInactive,
    PartnerNotInProgram,
    ProgramInactive,
}

/// One candidate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Judged {
    #[serde(flatten)]
    pub candidate: Candidate,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What a decision is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A lead that somebody told.
    #[default]
    Told,
    /// A click of a known contact, which stands for a lead by itself.
    Click,
}

impl Origin {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
    fn is_told(&self) -> bool {
        *self == Origin::Told
    }
}

/// The decision on one lead, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Decision {
    #[serde(default, skip_serializing_if = "Origin::is_told")]
    #[schema(required = false)]
    pub source: Origin,
    /// The event store was not asked yet for the clicks of all visitors: it is decided again when it answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub history_unasked: bool,
    pub model: Attribution,
    pub window_days: u32,
    #[schema(value_type = String, format = DateTime)]
    pub lead_at: Millis,
    /// In the order of their times.
    pub candidates: Vec<Judged>,
}

/// What decides, beside the candidates.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub model: Attribution,
    pub window_days: u32,
}

/// Judges all candidates. `partner` says whether a partner may be credited in this program; the order of `candidates` does
/// not matter.
pub fn decide(
    mut candidates: Vec<Candidate>,
    lead_at: Millis,
    rules: Rules,
    partner: impl Fn(&Code) -> Result<(), Verdict>,
) -> Decision {
    candidates.sort_by(|a, b| order(a).cmp(&order(b)));
    let oldest = lead_at.plus(-i64::from(rules.window_days) * DAY_MS);
    let mut judged: Vec<Judged> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let known = candidate.click.is_some()
            && judged
                .iter()
                .any(|other| other.verdict != Verdict::SameClick && other.candidate.click == candidate.click);
        let verdict = if known {
            Verdict::SameClick
        } else if candidate.other_program.is_some() {
            Verdict::OtherProgram
        } else if candidate.at > lead_at {
            Verdict::TooLate
        } else if candidate.at < oldest {
            Verdict::TooOld
        } else {
            partner(&candidate.partner).err().unwrap_or(Verdict::Won)
        };
        judged.push(Judged { candidate, verdict });
    }
    let eligible = |judged: &Judged| judged.verdict == Verdict::Won;
    let (winner, lost) = match rules.model {
        Attribution::FirstTouch => (judged.iter().position(eligible), Verdict::NotFirst),
        Attribution::LastTouch => (judged.iter().rposition(eligible), Verdict::NotLast),
    };
    for (at, judged) in judged.iter_mut().enumerate() {
        if judged.verdict == Verdict::Won && Some(at) != winner {
            judged.verdict = lost.clone();
        }
    }
    let Rules { model, window_days } = rules;
    Decision { source: Origin::Told, history_unasked: false, model, window_days, lead_at, candidates: judged }
}

/// By time; of one click the token comes before the cookie.
fn order(candidate: &Candidate) -> (Millis, Option<[u8; 16]>, Source, &str) {
    (candidate.at, candidate.click.map(|click| click.0), candidate.source, candidate.partner.as_str())
}

impl Decision {
    /// The same with this history, by the same rules. Who could be credited when it was decided first still can: a partner who
    /// was paused since keeps what was theirs. Of others `partner` says whether they may be credited.
    pub fn again(&self, history: Vec<Candidate>, partner: impl Fn(&Code) -> Result<(), Verdict>) -> Decision {
        let told = self.candidates.iter().map(|judged| &judged.candidate);
        let candidates = told.filter(|told| told.source != Source::History).cloned().chain(history).collect();
        let rules = Rules { model: self.model, window_days: self.window_days };
        let decided =
            decide(candidates, self.lead_at, rules, |code| self.eligibility(code).unwrap_or_else(|| partner(code)));
        Decision { source: self.source, history_unasked: self.history_unasked, ..decided }
    }

    /// What was found of a partner when it was decided; `None`: nothing.
    pub fn eligibility(&self, partner: &Code) -> Option<Result<(), Verdict>> {
        let of_partner = self.candidates.iter().filter(|judged| judged.candidate.partner == *partner);
        of_partner.map(|judged| &judged.verdict).find_map(|verdict| match verdict {
            Verdict::Won | Verdict::NotFirst | Verdict::NotLast => Some(Ok(())),
            Verdict::PartnerUnknown
            | Verdict::PartnerInactive
            | Verdict::PartnerNotInProgram
            | Verdict::ProgramInactive => Some(Err(verdict.clone())),
            Verdict::SameClick | Verdict::TooOld | Verdict::TooLate | Verdict::OtherProgram => None,
        })
    }

    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|judged| judged.verdict == Verdict::Won).map(|judged| &judged.candidate)
    }

    pub fn credited(&self) -> Option<Credited> {
        let Candidate { partner, link, ad, click, .. } = self.winner()?.clone();
        Some(Credited { partner, link, ad, click })
    }

    /// The decision as a person would tell it: a sentence for the whole, then one for each candidate.
    pub fn in_words(&self) -> Vec<String> {
        let model = match self.model {
            Attribution::FirstTouch => "first",
            Attribution::LastTouch => "last",
        };
        let what = match self.source {
            Origin::Told => "the lead",
            Origin::Click => "the click of a known contact, which stands for a lead by itself and",
        };
        let rules = format!(
            "the program credits the {model} touch of the {} days before {what}{} was on {}",
            self.window_days,
            if self.source == Origin::Told { ", which" } else { "" },
            day(self.lead_at)
        );
        let whole = match self.winner() {
            Some(winner) => format!("{} is credited: {rules}.", winner.partner),
            None if self.candidates.is_empty() => {
                "Nobody is credited: no click and no partner's code is known.".to_owned()
            }
            None => format!("Nobody is credited: {rules}."),
        };
        let each = self.candidates.iter().map(|Judged { candidate, verdict }| {
            let what = match candidate.source {
                Source::Code => format!("The code of {} came with the lead", candidate.partner),
                source => {
                    let link = candidate.link.as_ref().map_or_else(String::new, |link| format!(" on the link {link}"));
                    format!("A click for {}{link} on {} ({source})", candidate.partner, day(candidate.at))
                }
            };
            format!("{what}: {}.", self.why(candidate, verdict))
        });
        let unasked = self.history_unasked.then(|| {
            "The event store could not be asked for earlier clicks of this person: it is decided again when it answers."
                .to_owned()
        });
        std::iter::once(whole).chain(unasked).chain(each).collect()
    }

    fn why(&self, candidate: &Candidate, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Won => "it is credited".to_owned(),
            Verdict::NotFirst => "another touch was earlier".to_owned(),
            Verdict::NotLast => "another touch was later".to_owned(),
            Verdict::SameClick => "it is the same click as one above".to_owned(),
            Verdict::TooOld => format!("it is older than {} days", self.window_days),
            Verdict::TooLate => "it came after the lead".to_owned(),
            Verdict::OtherProgram => match &candidate.other_program {
                Some(program) => format!("it was a click of the program {program}"),
                None => "it was a click of another program".to_owned(),
            },
            Verdict::PartnerUnknown => "there is no such partner".to_owned(),
            Verdict::PartnerInactive => "the partner is not active".to_owned(),
            Verdict::PartnerNotInProgram => "the partner is not in this program".to_owned(),
            Verdict::ProgramInactive => "the program is not active".to_owned(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Token => "by the click token",
            Source::Cookie => "by the visitor's cookie",
            Source::History => "by the history of the person's visitors",
            Source::Code => "by the partner's code",
        })
    }
}

fn day(at: Millis) -> String {
    let text = at.to_string();
    text.get(..16).map_or(text.clone(), |head| format!("{} UTC", head.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: i64 = 100 * DAY_MS;

    fn touch(source: Source, partner: &str, days_before: i64) -> Candidate {
        let at = Millis(LEAD - days_before * DAY_MS);
        let click = (source != Source::Code).then(|| EventId::new(at, [partner.len() as u8; 10]));
        Candidate { source, partner: partner.parse().unwrap(), link: None, ad: None, click, at, other_program: None }
    }

    fn judge(model: Attribution, candidates: Vec<Candidate>) -> Decision {
        decide(candidates, Millis(LEAD), Rules { model, window_days: 30 }, |partner| match partner.as_str() {
            "gone" => Err(Verdict::PartnerUnknown),
            _ => Ok(()),
        })
    }

    fn verdicts(decision: &Decision) -> Vec<(&str, Verdict)> {
        decision.candidates.iter().map(|j| (j.candidate.partner.as_str(), j.verdict.clone())).collect()
    }

    #[test]
    fn the_model_takes_the_first_or_the_last_of_those_that_may_be_credited() {
        let candidates = vec![
            touch(Source::Token, "b", 2),
            touch(Source::Cookie, "a", 20),
            touch(Source::Cookie, "old", 31),
            touch(Source::Cookie, "gone", 1),
            touch(Source::Cookie, "late", -1),
        ];
        let first = judge(Attribution::FirstTouch, candidates.clone());
        let expected = [
            ("old", Verdict::TooOld),
            ("a", Verdict::Won),
            ("b", Verdict::NotFirst),
            ("gone", Verdict::PartnerUnknown),
            ("late", Verdict::TooLate),
        ];
        assert_eq!(verdicts(&first), expected);
        let mut turned = candidates;
        turned.reverse();
        assert_eq!(judge(Attribution::FirstTouch, turned.clone()), first, "the order of arrival does not matter");
        assert_eq!(*judge(Attribution::LastTouch, turned).winner().unwrap().partner, *"b");
    }

    #[test]
    fn one_click_is_one_candidate_and_a_code_is_a_touch_at_the_lead() {
        let twice = vec![touch(Source::Cookie, "a", 3), touch(Source::Token, "a", 3), touch(Source::Code, "b", 0)];
        let last = judge(Attribution::LastTouch, twice.clone());
        assert_eq!(verdicts(&last), [("a", Verdict::NotLast), ("a", Verdict::SameClick), ("b", Verdict::Won)]);
        assert_eq!(last.candidates[0].candidate.source, Source::Token);
        assert_eq!(*judge(Attribution::FirstTouch, twice).winner().unwrap().partner, *"a");
    }

    #[test]
    fn it_is_decided_again_with_what_turned_up_and_keeps_what_it_found() {
        let first =
            judge(Attribution::FirstTouch, vec![touch(Source::Token, "b", 2), touch(Source::Cookie, "gone", 1)]);
        // Nobody may be credited any more who was not asked about then.
        let now = |_: &Code| Err(Verdict::PartnerInactive);
        let again = first.again(vec![touch(Source::History, "a", 9), touch(Source::History, "b", 5)], now);
        let expected = [
            ("a", Verdict::PartnerInactive),
            ("b", Verdict::Won),
            ("b", Verdict::NotFirst),
            ("gone", Verdict::PartnerUnknown),
        ];
        assert_eq!(verdicts(&again), expected);
        assert_eq!(first.again(Vec::new(), now), first);
        assert_eq!(again.again(Vec::new(), now), first, "history is given anew each time");
        let words = again.in_words();
        assert!(words[2].contains("(by the history of the person's visitors): it is credited"), "{words:?}");
        let unasked = Decision { history_unasked: true, source: Origin::Click, ..first };
        let words = unasked.in_words();
        assert!(words[0].contains("before the click of a known contact"), "{words:?}");
        assert!(words[1].contains("could not be asked"), "{words:?}");
    }

    #[test]
    fn it_is_told_in_words_and_kept_as_json() {
        let decision =
            judge(Attribution::LastTouch, vec![touch(Source::Token, "a", 3), touch(Source::Cookie, "gone", 1)]);
        let words = decision.in_words();
        assert!(words[0].starts_with("a is credited: the program credits the last touch of the 30 days"), "{words:?}");
        assert_eq!(words[1], "A click for a on 1970-04-08 00:00 UTC (by the click token): it is credited.");
        assert!(words[2].ends_with("there is no such partner."), "{words:?}");
        let json = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), decision);
        assert_eq!(judge(Attribution::LastTouch, Vec::new()).in_words().len(), 1);
    }
}
