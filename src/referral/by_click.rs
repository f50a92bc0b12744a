//! Which clicks of a known contact stand for a lead. Pure.
//!
//! Somebody whom the business knows needs no form: their click on a credited link of a program is enough. With `credit: first`
//! it is the first such click, where nobody was credited before it; with `credit: latest` each one that gives the credit to
//! another partner than the lead before it. Both follow from all leads and clicks there are, so their order of arrival does not
//! matter: what is not needed any more goes.

use crate::{
    catalog::record::ContactId,
    core::{
        code::Code,
        fact::{FactId, Place},
        id::EventId,
        terms::Credit,
    },
};

use super::attribution::Decision;

/// The id of the lead that this click stands for: the same one whenever it is computed.
pub(super) fn lead_id(contact: ContactId, program: &Code, click: EventId) -> FactId {
    let hash = blake3::hash(format!("click|{contact}|{program}|{click}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    FactId(id)
}

/// The clicks that stand for a lead. `told` are the leads that somebody told, with who is credited; `clicks` come in the order of
/// their places and are judged one by one, as far as it is needed.
pub(super) fn wanted<T>(
    mut told: Vec<(Place, Option<&Code>)>,
    clicks: impl Iterator<Item = (Place, T)>,
    credit: Credit,
    judge: impl Fn(&T) -> Decision,
) -> Vec<(Place, Decision)> {
    told.sort();
    let mut told = told.into_iter().peekable();
    let mut last: Option<Code> = None;
    let mut wanted = Vec::new();
    for (place, click) in clicks {
        // What was told goes before a click of the same moment.
        while let Some((_, partner)) = told.next_if(|(told, _)| told.at <= place.at) {
            last = partner.cloned().or(last);
        }
        if credit == Credit::First && last.is_some() {
            break;
        }
        let decision = judge(&click);
        let Some(winner) = decision.winner().map(|winner| winner.partner.clone()) else { continue };
        if last.as_ref() != Some(&winner) {
            wanted.push((place, decision));
        }
        last = Some(winner);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::{
        super::attribution::{Candidate, Rules, Source, decide},
        *,
    };
    use crate::core::{program::Attribution, time::Millis};

    fn place(at: i64) -> Place {
        Place { at: Millis(at), id: FactId([at as u8; 16]) }
    }

    /// By whom each wanted click is credited; `told` and `clicks` are times and partners.
    fn credited(told: &[(i64, &str)], clicks: &[(i64, &str)], credit: Credit) -> Vec<(i64, String)> {
        let told: Vec<(i64, Option<Code>)> = told.iter().map(|(at, partner)| (*at, partner.parse().ok())).collect();
        let told = told.iter().map(|(at, partner)| (place(*at), partner.as_ref())).collect();
        let clicks = clicks.iter().map(|(at, partner)| (place(*at), (*at, *partner)));
        let judge = |(at, partner): &(i64, &str)| {
            let (at, partner) = (Millis(*at), partner.parse().unwrap());
            let candidate = Candidate {
                source: Source::History,
                partner,
                link: None,
                ad: None,
                click: None,
                at,
                other_program: None,
            };
            decide(vec![candidate], at, Rules { model: Attribution::LastTouch, window_days: 30 }, |_| Ok(()))
        };
        let wanted = wanted(told, clicks, credit, judge);
        wanted.iter().map(|(place, d)| (place.at.0, d.winner().unwrap().partner.to_string())).collect()
    }

    #[test]
    fn the_first_click_counts_where_nobody_was_credited_before() {
        let clicks = [(20, "ann"), (30, "bob")];
        let ann = vec![(20, "ann".to_owned())];
        assert_eq!(credited(&[], &clicks, Credit::First), ann);
        assert_eq!(credited(&[(10, "")], &clicks, Credit::First), ann, "a lead without credit takes nothing");
        assert_eq!(credited(&[(25, "eve")], &clicks, Credit::First), ann, "the click was earlier");
        assert!(credited(&[(10, "eve")], &clicks, Credit::First).is_empty());
    }

    #[test]
    fn with_the_latest_credit_each_change_of_partner_counts() {
        let clicks = [(20, "ann"), (21, "ann"), (30, "bob"), (31, "ann"), (40, "eve")];
        let expected = [(20, "ann"), (30, "bob"), (31, "ann")].map(|(at, who)| (at, who.to_owned()));
        assert_eq!(credited(&[(35, "eve")], &clicks, Credit::Latest), expected);
    }
}
