//! Whose pages they are, and what all pages of the partner center have in common: the partner, the navigation, the addresses of links.

use axum::response::Response;

use super::super::{
    PagesState,
    fault::Fault,
    login::{self, Person},
    sheet::{Sheet, go},
    visit::Visit,
    words::Words,
};
use crate::{
    catalog::{ListQuery, Partner},
    core::{code::Code, limits::PAGE_MAX_ROWS, program::Status},
};

/// The pages, in the order of the navigation: the end of the address, and the name of the text.
const TABS: &[(&str, &str)] = &[
    ("", "center_sites"),
    ("/partners", "center_children"),
    ("/ads", "center_ads"),
    ("/generator", "center_generator"),
    ("/stats", "center_stats"),
    ("/rewards", "center_rewards"),
    ("/promote", "center_promote"),
];

/// One entry of the navigation.
#[derive(Debug)]
pub(super) struct Tab {
    pub(super) address: String,
    pub(super) label: String,
    pub(super) is_current: bool,
}

/// A partner whose pages somebody may open.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) person: Person,
    pub(super) partner: Partner,
    /// All partners of the address, this one among them.
    pub(super) all: Vec<Partner>,
    pub(super) words: Words<'static>,
    /// Share links begin so; without a slash at the end.
    pub(super) base: String,
}

impl Desk {
    /// The desk that an address names; the way to the log-in for whoever it does not belong to.
    pub(super) async fn open(state: &PagesState, visit: &Visit, code: &str) -> Result<Result<Desk, Response>, Fault> {
        let Some(person) = login::person(state, visit).await? else { return Ok(Err(go("/partner"))) };
        let code: Code = code.parse().map_err(|_| Fault::NotFound)?;
        let all = state.catalog.partners_by_mail(&person.email).await?;
        // Somebody else's is as good as not there.
        let partner = all.iter().find(|partner| partner.code == code).cloned().ok_or(Fault::NotFound)?;
        let base = state.links_url.clone().unwrap_or_else(|| visit.base());
        Ok(Ok(Desk { person, partner, all, words: Words::new(visit.language), base }))
    }

    pub(super) fn path(&self) -> String {
        format!("/partner/of/{}", self.partner.code)
    }

    /// The navigation, with the page that ends so marked.
    pub(super) fn tabs(&self, current: &str) -> Vec<Tab> {
        let tab = |(end, name): &(&str, &str)| Tab {
            address: format!("{}{end}", self.path()),
            label: self.words.say(name),
            is_current: *end == current,
        };
        TABS.iter().map(tab).collect()
    }

    pub(super) fn sheet(&self, name: &str) -> Result<Sheet<'static>, Fault> {
        Sheet::new(self.words, self.words.say(name))
    }

    /// How people call the partner.
    pub(super) fn name(&self) -> &str {
        called(&self.partner)
    }

    /// How people call a partner.
    pub(super) fn called<'p>(&self, partner: &'p Partner) -> &'p str {
        called(partner)
    }

    /// The long link of a partner, with an ad where there is one.
    pub(super) fn link(&self, link: &str, partner: &str, ad: Option<&str>) -> String {
        let ad = ad.map(|ad| format!("/{ad}")).unwrap_or_default();
        format!("{}/go/{link}/{partner}{ad}", self.base)
    }

    /// The partners below this one.
    pub(super) async fn children(&self, state: &PagesState) -> Result<Vec<Partner>, Fault> {
        let only = vec![("parent", self.partner.code.to_string())];
        let query = ListQuery { only, limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        Ok(state.catalog.list::<Partner>(&query).await?.items)
    }

    /// What the partner has to know before anything else.
    pub(super) fn notice(&self) -> Option<String> {
        match self.partner.status {
            Status::Active => None,
            Status::Pending => Some(self.words.say("waiting_for_review")),
            Status::Paused | Status::Rejected => Some(self.words.say("center_stopped")),
        }
    }

    pub(super) fn token(&self) -> String {
        self.person.form_token()
    }

    pub(super) fn email(&self) -> &str {
        &self.person.email
    }
}

/// How people call a partner.
pub(super) fn called(partner: &Partner) -> &str {
    if partner.name.is_empty() { &partner.code } else { &partner.name }
}

/// Opens the desk or sends the browser to the log-in.
macro_rules! desk {
    ($state:expr, $visit:expr, $partner:expr) => {
        match $crate::pages::partner::desk::Desk::open($state, $visit, $partner).await? {
            Ok(desk) => desk,
            Err(login) => return Ok(login),
        }
    };
}
pub(super) use desk;
