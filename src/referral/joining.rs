//! Partners who help themselves: they join a program, and get the one link that they share.

use super::desk::{Desk, DeskError};
use crate::{
    catalog::{CatalogError, Link, ListQuery, Partner, Program, ShareLink, entity, joining::Joining},
    core::{
        code::Code,
        limits::PAGE_MAX_ROWS,
        page::{Design, Join},
        program::Status,
    },
};
use serde_json::{Map, json};

impl Desk {
    /// Who in a program has this address, in lower case: the one who joined first.
    pub async fn partner_by_mail(&self, program: &Code, email: &str) -> Result<Option<Partner>, CatalogError> {
        Ok(self.catalog.partners_by_mail(email).await?.into_iter().find(|partner| partner.is_in(program)))
    }

    /// Makes a partner of whoever reads the mail of an address. `None`: the program's page lets nobody join.
    pub async fn join(
        &self,
        program: &Program,
        design: &Design,
        email: &str,
        (first_name, name): (&str, &str),
    ) -> Result<Option<Partner>, DeskError> {
        let status = match design.join {
            Join::Closed => return Ok(None),
            Join::Open => Status::Active,
            Join::Review => Status::Pending,
        };
        let joining = Joining { program: &program.code, email, first_name, name, status };
        let (partner, _) = self.catalog.join(&joining).await?;
        Ok(Some(partner))
    }

    /// The links that a partner may use in a program, in the order of their codes.
    pub async fn links_for(&self, program: Option<&Code>, partner: &Partner) -> Result<Vec<Link>, CatalogError> {
        let query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        let mut links = self.catalog.list::<Link>(&query).await?.items;
        links.retain(|link| may_use(link, program, partner));
        Ok(links)
    }

    /// The short link that a partner shares for a program: always the same one, made when it is asked for first. `None`: there
    /// is no link that they may use.
    pub async fn share_link(
        &self,
        program: &Program,
        design: &Design,
        partner: &Partner,
    ) -> Result<Option<ShareLink>, CatalogError> {
        let link = match &design.link {
            Some(link) => {
                self.catalog.get::<Link>(&[link]).await.ok().filter(|link| may_use(link, Some(&program.code), partner))
            }
            None => self.links_for(Some(&program.code), partner).await?.into_iter().next(),
        };
        let Some(link) = link else { return Ok(None) };
        self.share_link_of(&link.code, &partner.code, None).await.map(Some)
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

/// As the edge decides it (`edge::resolve`): the link names the partner or nobody, the program or none, and the partner's
/// list names the link or none.
fn may_use(link: &Link, program: Option<&Code>, partner: &Partner) -> bool {
    let for_partner = link.partner.as_ref().is_none_or(|only| *only == partner.code);
    let allowed = partner.allowed.is_empty() || partner.allowed.contains(&link.code);
    let in_program = match program {
        Some(program) => link.programs.is_empty() || link.programs.contains(program),
        None => link.programs.is_empty() || link.programs.iter().any(|program| partner.is_in(program)),
    };
    for_partner && allowed && in_program
}
