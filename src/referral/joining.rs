//! Partners who help themselves: they join a program, and get the one link that they share.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, json};

use super::desk::{Desk, DeskError};
use crate::{
    catalog::{CatalogError, Link, ListQuery, Partner, Program, ShareLink, entity, joining::Joining},
    core::{
        code::Code,
        credit::Pair,
        limits::PAGE_MAX_ROWS,
        page::{Design, Join},
        program::Status,
    },
};

impl Desk {
    /// Who in a program has this address, in lower case: the one who joined first.
    pub async fn partner_by_mail(&self, program: &Code, email: &str) -> Result<Option<Partner>, CatalogError> {
        Ok(self.catalog.partners_by_mail(email).await?.into_iter().find(|partner| partner.is_in(program)))
    }

    /// Makes a partner of whoever reads the mail of an address. `None`: the program is not active, or its page lets nobody join.
    pub async fn join(
        &self,
        program: &Program,
        design: &Design,
        email: &str,
        (first_name, name): (&str, &str),
    ) -> Result<Option<Partner>, DeskError> {
        let status = match design.join {
            Join::Closed => return Ok(None),
            _ if program.status != Status::Active => return Ok(None),
            Join::Open => Status::Active,
            Join::Review => Status::Pending,
        };
        let joining = Joining { program: &program.code, email, first_name, name, status };
        let (partner, _) = self.catalog.join(&joining).await?;
        Ok(Some(partner))
    }

    /// The links that credit a partner; with a program those that credit it there, the ones that name it first.
    pub async fn links_for(&self, program: Option<&Code>, partner: &Partner) -> Result<Vec<Link>, CatalogError> {
        let query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        let links = self.catalog.list::<Link>(&query).await?.items;
        self.offered(links, program, partner).await
    }

    /// The short link that a partner shares for a program: always the same one, made when it is asked for first. `None`: there
    /// is no link that they may use.
    pub async fn share_link(
        &self,
        program: &Program,
        design: &Design,
        partner: &Partner,
    ) -> Result<Option<ShareLink>, CatalogError> {
        let code = Some(&program.code);
        let links = match &design.link {
            None => self.links_for(code, partner).await?,
            Some(link) => match self.catalog.get::<Link>(&[link]).await {
                Ok(link) => self.offered(vec![link], code, partner).await?,
                Err(CatalogError::NotFound { .. }) => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        let Some(link) = links.first() else { return Ok(None) };
        self.share_link_of(&link.code, &partner.code, None).await.map(Some)
    }

    /// Those of these links that are not over and credit a partner, as the edge decides it.
    async fn offered(
        &self,
        mut links: Vec<Link>,
        program: Option<&Code>,
        partner: &Partner,
    ) -> Result<Vec<Link>, CatalogError> {
        let active = self.active_programs().await?;
        let now = self.clock.now();
        links.retain(|link| link.expires_at.is_none_or(|end| end > now) && credits(link, program, partner, &active));
        self.drop_used_up(&mut links).await;
        if let Some(program) = program {
            links.sort_by_key(|link| !link.programs.contains(program));
        }
        Ok(links)
    }

    /// Leaves out links that have had as many clicks as they may. Where the event store does not answer they stay: the edge knows.
    async fn drop_used_up(&self, links: &mut Vec<Link>) {
        let limited: Vec<Code> =
            links.iter().filter(|link| link.max_clicks.is_some()).map(|link| link.code.clone()).collect();
        let Some(clicks) = self.clicks.as_ref().filter(|_| !limited.is_empty()) else { return };
        let counted: HashMap<Code, u64> = clicks.counted(&limited).await.into_iter().collect();
        let is_used_up =
            |link: &Link| link.max_clicks.is_some_and(|max| counted.get(&link.code).is_some_and(|count| *count >= max));
        links.retain(|link| !is_used_up(link));
    }

    async fn active_programs(&self) -> Result<HashSet<Code>, CatalogError> {
        let mut query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        let mut active = HashSet::new();
        loop {
            let page = self.catalog.list::<Program>(&query).await?;
            let running = page.items.into_iter().filter(|program| program.status == Status::Active);
            active.extend(running.map(|program| program.code));
            if page.next.is_none() {
                return Ok(active);
            }
            query.cursor = page.next;
        }
    }

    /// The short link of a link, a partner and an ad of theirs: the one that is there, or a new one.
    pub async fn share_link_of(
        &self,
        link: &Code,
        partner: &Code,
        ad: Option<&Code>,
    ) -> Result<ShareLink, CatalogError> {
        let only = vec![("link", link.to_string()), ("partner", partner.to_string())];
        let query = ListQuery { only, limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        // Reading takes no lock from anybody.
        let there = self.catalog.list::<ShareLink>(&query).await?.items;
        if let Some(there) =
            there.into_iter().filter(|share| share.ad.as_ref() == ad).min_by_key(|share| share.created_at)
        {
            return Ok(there);
        }
        let mut wanted = Map::new();
        wanted.insert("link".to_owned(), json!(link.as_str()));
        wanted.insert("partner".to_owned(), json!(partner.as_str()));
        if let Some(ad) = ad {
            wanted.insert("ad".to_owned(), json!(ad.as_str()));
        }
        let wanted = entity::from_json::<ShareLink>(wanted).map_err(CatalogError::Invalid)?;
        Ok(self.catalog.share(wanted).await?.0)
    }
}

/// Whether a click on this link would credit the partner, once they are active; with a program, whether it would do so there.
fn credits(link: &Link, program: Option<&Code>, partner: &Partner, active: &HashSet<Code>) -> bool {
    let pair = Pair {
        link: &link.code,
        partner: &partner.code,
        only: link.partner.as_deref(),
        link_programs: &link.programs,
        partner_programs: &partner.programs,
        allowed: &partner.allowed,
    };
    match (pair.program(|code| active.get(code)), program) {
        (Ok(credited), Some(program)) => credited == Some(program),
        (Ok(_), None) => true,
        (Err(_), _) => false,
    }
}
