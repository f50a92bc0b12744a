//! Under which program a link credits a partner, if at all: from what the two say of each other. Shared by whoever answers clicks and
//! whoever hands links out, so that no page offers a link whose clicks are somebody else's, or another program's.

use super::{code::Code, event::Reason};

/// A link and a partner, as far as the one says who may use it, and the other what it may use. An empty list means all.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub link: &'a str,
    pub partner: &'a str,
    /// The link is this partner's only.
    pub only: Option<&'a str>,
    pub link_programs: &'a [Code],
    /// The preferred one first.
    pub partner_programs: &'a [Code],
    /// Links that the partner may use.
    pub allowed: &'a [Code],
}

impl<'a> Pair<'a> {
    /// What `active` gives of the first program that both are in and that is active, the partner's preference first; `Ok(None)`
    /// where neither names one. The error says why the partner is not credited. `active` gives nothing of a program that is not.
    pub fn program<T>(&self, mut active: impl FnMut(&'a Code) -> Option<T>) -> Result<Option<T>, Reason> {
        if self.only.is_some_and(|only| only != self.partner) {
            return Err(Reason::LinkOfAnotherPartner);
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|link| **link == *self.link) {
            return Err(Reason::LinkNotAllowed);
        }
        let of_link = self.link_programs;
        let candidates = if self.partner_programs.is_empty() { of_link } else { self.partner_programs };
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut reason = Reason::PartnerNotInProgram;
        for code in candidates.iter().filter(|code| of_link.is_empty() || of_link.contains(code)) {
            match active(code) {
                Some(found) => return Ok(Some(found)),
                None => reason = Reason::ProgramInactive,
            }
        }
        Err(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partners_preference_goes_first_and_only_active_programs_count() {
        let codes = |text: &str| text.split_whitespace().map(|code| code.parse().unwrap()).collect::<Vec<Code>>();
        for (of_link, of_partner, expected) in [
            ("", "", Ok(None)),
            ("", "spring summer", Ok(Some("spring"))),
            ("summer spring", "", Ok(Some("summer"))),
            ("summer", "spring summer", Ok(Some("summer"))),
            ("", "over summer", Ok(Some("summer"))),
            ("over", "", Err(Reason::ProgramInactive)),
            ("autumn", "spring", Err(Reason::PartnerNotInProgram)),
        ] {
            let (link_programs, partner_programs) = (codes(of_link), codes(of_partner));
            let pair = Pair {
                link: "haircare",
                partner: "abc123",
                only: None,
                link_programs: &link_programs,
                partner_programs: &partner_programs,
                allowed: &[],
            };
            let active = |code: &Code| (code.as_str() != "over").then(|| code.to_string());
            let expected = expected.map(|code| code.map(str::to_owned));
            assert_eq!(pair.program(active), expected, "link {of_link:?}, partner {of_partner:?}");
            let (other, allowed) = (Pair { only: Some("other"), ..pair }, codes("shoes"));
            assert_eq!(other.program(active), Err(Reason::LinkOfAnotherPartner));
            assert_eq!(Pair { allowed: &allowed, ..pair }.program(active), Err(Reason::LinkNotAllowed));
        }
    }
}
