//! Resolve: from what is asked for to where it leads and who is credited.
//!
//! Reads the index, takes the time and the ids as arguments, writes nothing but the counter of links that end after a
//! number of clicks. Each look-up takes one shard's lock, copies what is needed and lets go before the next.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    decode::Route,
    destination,
    query::{Own, Query},
};
use crate::{
    core::{
        code::{Code, CodeBuf},
        credit::Pair,
        event::{Device, Reason},
        id::{EventId, VisitorId},
        program::{Status, WINDOW_DAYS},
        rule,
        template::{self, Variable},
        time::Millis,
    },
    links::{LinkMore, Links, Partner},
};

/// Link, partner and ad that a request names, directly or by a share link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub link: CodeBuf,
    pub partner: Option<CodeBuf>,
    pub ad: Option<CodeBuf>,
    /// The share link that was used.
    pub slug: Option<CodeBuf>,
}

impl Target {
    /// Appends the path under which it is asked for, in its plain form.
    pub fn write_path(&self, out: &mut Vec<u8>) {
        let mut put = |segment: &str| {
            out.push(b'/');
            out.extend_from_slice(segment.as_bytes());
        };
        if let Some(slug) = &self.slug {
            return put(slug);
        }
        put("go");
        [Some(self.link), self.partner, self.ad].iter().flatten().for_each(|code| put(code));
    }
}

/// What a route names; `None` when it is a share link that nobody has.
pub fn target(links: &Links, route: Route) -> Option<Target> {
    match route {
        Route::Go { link, partner, ad } => Some(Target { link, partner, ad, slug: None }),
        Route::Slug(slug) | Route::About(slug) | Route::Share { slug, .. } | Route::Pixel(slug) => {
            let share_link = links.share_links.get(slug.as_str())?;
            Some(Target {
                link: (&share_link.link).into(),
                partner: Some((&share_link.partner).into()),
                ad: share_link.ad.as_ref().map(Into::into),
                slug: Some(slug),
            })
        }
        Route::Beacon | Route::Script | Route::Inbound | Route::Page | Route::Nothing => None,
    }
}

/// What is known of a request when its destination is chosen.
#[derive(Debug)]
pub struct Visit<'a> {
    pub now: Millis,
    pub click: EventId,
    /// `None` where the visitor asked not to be known.
    pub visitor: Option<VisitorId>,
    pub query: Query<'a>,
    pub own: &'a Own<'a>,
    pub country: &'a str,
    pub language: &'a str,
    pub device: Device,
    /// Whether reach counts this request.
    pub counts: bool,
}

/// Who is credited, under which program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    pub partner: Option<CodeBuf>,
    pub ad: Option<CodeBuf>,
    pub program: Option<CodeBuf>,
    /// The partner that was named, when it is not credited.
    pub named: Option<CodeBuf>,
    pub reason: Option<Reason>,
    /// For how long the touch can be credited.
    pub window_days: u32,
    /// `Domain` of the cookie.
    pub domain: Option<Arc<str>>,
}

/// Where a request leads.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every request is a redirect, and lives on the stack")]
pub enum Resolution {
    Redirect(Redirect),
    /// No such link, and no fallback.
    NotFound,
    /// The link is over, and has no fallback.
    Gone,
}

/// A destination. Its address stands in the scratch buffer that `resolve` was given, rendered.
#[derive(Debug)]
pub struct Redirect {
    /// The link, when there is one.
    pub link: Option<CodeBuf>,
    pub credit: Credit,
    /// The rule that chose the destination, counted from 1; 0 means none.
    pub rule: u32,
    /// The link's further settings, for the names of our parameters.
    pub more: Option<Arc<LinkMore>>,
    /// The link is unknown or over, and this is where such visitors go.
    pub fallback: bool,
}

/// Chooses the destination and writes its rendered address into `address` (cleared first).
pub fn resolve(
    links: &Links,
    target: Option<&Target>,
    fallback: Option<&str>,
    visit: &Visit<'_>,
    address: &mut Vec<u8>,
    scratch: &mut String,
) -> Resolution {
    address.clear();
    let Some(target) = target else {
        return unknown(fallback, None, address);
    };
    let more = {
        let Some(link) = links.links.get(target.link.as_str()) else {
            return unknown(fallback, target.partner, address);
        };
        address.extend_from_slice(link.address().as_bytes());
        link.more().cloned()
    };
    let settings = more.as_deref();
    if let Some(reason) = settings.and_then(|more| over(more, visit)) {
        let Some(elsewhere) = settings.and_then(|more| more.fallback.as_deref()).or(fallback) else {
            return Resolution::Gone;
        };
        render(elsewhere.as_bytes(), target, &Credit::default(), visit, address);
        let credit =
            Credit { named: target.partner, reason: Some(reason), window_days: WINDOW_DAYS, ..Credit::default() };
        return Resolution::Redirect(Redirect { link: Some(target.link), credit, rule: 0, more, fallback: true });
    }
    let mut credit = credit(links, target, settings, scratch);
    let (rule, chosen) = choose(settings, target, &mut credit, visit);
    match chosen {
        // `?to=` is the visitor's text: a placeholder in it stays what it is.
        Some(Chosen::Page(page)) => {
            address.clear();
            address.extend_from_slice(page.as_bytes());
        }
        Some(Chosen::Template(template)) => render(template.as_bytes(), target, &credit, visit, address),
        None if memchr::memchr(b'{', address).is_some() => {
            let template = std::mem::take(address);
            render(&template, target, &credit, visit, address);
        }
        None => {}
    }
    Resolution::Redirect(Redirect { link: Some(target.link), credit, rule, more, fallback: false })
}

fn unknown(fallback: Option<&str>, named: Option<CodeBuf>, address: &mut Vec<u8>) -> Resolution {
    let Some(fallback) = fallback else { return Resolution::NotFound };
    address.extend_from_slice(fallback.as_bytes());
    let credit = Credit { named, reason: Some(Reason::UnknownLink), window_days: WINDOW_DAYS, ..Credit::default() };
    Resolution::Redirect(Redirect { link: None, credit, rule: 0, more: None, fallback: true })
}

/// Why the link is over, if it is. A request that counts takes one of the link's clicks.
fn over(more: &LinkMore, visit: &Visit<'_>) -> Option<Reason> {
    if more.expires_at.is_some_and(|end| end <= visit.now) {
        return Some(Reason::Expired);
    }
    let max = more.max_clicks?;
    let taken = if visit.counts { take_one(&more.clicks, max) } else { more.clicks.load(Ordering::Relaxed) < max };
    (!taken).then_some(Reason::MaxClicks)
}

/// Raises the counter unless it has reached `max`.
fn take_one(clicks: &AtomicU64, max: u64) -> bool {
    clicks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1)).is_ok()
}

enum Chosen<'a> {
    Template(&'a str),
    Page(Cow<'a, str>),
}

/// What replaces the link's own address: `?to=`, the fallback of a partner who may not, or a rule; in this order.
fn choose<'m>(
    settings: Option<&'m LinkMore>,
    target: &Target,
    credit: &mut Credit,
    visit: &Visit<'_>,
) -> (u32, Option<Chosen<'m>>) {
    if let Some(to) = &visit.own.to {
        let hosts = settings.map_or(&[][..], |more| &more.to_hosts);
        if let Some(page) = destination::other_page(to, hosts) {
            return (0, Some(Chosen::Page(Cow::Owned(page))));
        }
        credit.reason.get_or_insert(Reason::ToNotAllowed);
    }
    let Some(more) = settings else { return (0, None) };
    if let (Some(_), Some(fallback)) = (&credit.named, &more.fallback) {
        return (0, Some(Chosen::Template(fallback)));
    }
    if more.rules.is_empty() {
        return (0, None);
    }
    let query = |name: &str| visit.query.get(name.as_bytes());
    let facts = rule::Facts {
        country: visit.country,
        device: visit.device,
        language: visit.language,
        now: visit.now,
        query: &query,
        sticky: visit.visitor.unwrap_or(VisitorId(visit.click.0)),
    };
    match rule::choose(&more.rules, target.link.as_str(), &facts) {
        Some((number, template)) => (number, Some(Chosen::Template(template))),
        None => (0, None),
    }
}

/// Who is credited for a click on this link, or why nobody is.
pub fn credit(links: &Links, target: &Target, settings: Option<&LinkMore>, scratch: &mut String) -> Credit {
    let mut credit = Credit { window_days: WINDOW_DAYS, ..Credit::default() };
    let Some(code) = target.partner else {
        return credit;
    };
    let partner =
        links.partners.get(code.as_str()).map(|partner| Partner { status: partner.status, more: partner.more.clone() });
    let eligible = match &partner {
        None => Err(Reason::UnknownPartner),
        Some(partner) if partner.status != Status::Active => Err(Reason::PartnerInactive),
        Some(partner) => {
            let more = partner.more.as_deref();
            let pair = Pair {
                link: &target.link,
                partner: &code,
                only: settings.and_then(|more| more.partner.as_deref()),
                link_programs: settings.map_or(&[][..], |more| &more.programs),
                partner_programs: more.map_or(&[][..], |more| &more.programs),
                allowed: more.map_or(&[][..], |more| &more.allowed),
            };
            pair.program(|code| Taken::of(links, code))
        }
    };
    match eligible {
        Err(reason) => {
            credit.named = Some(code);
            credit.reason = Some(reason);
        }
        Ok(program) => {
            credit.partner = Some(code);
            if let Some(Taken { code, window_days, domain }) = program {
                credit.program = Some(code);
                credit.window_days = window_days;
                credit.domain = domain;
            }
            match target.ad {
                Some(ad) if links.has_ad(&code, &ad, scratch) => credit.ad = Some(ad),
                Some(_) => credit.reason = Some(Reason::UnknownAd),
                None => {}
            }
        }
    }
    credit
}

/// What a credit takes from its program: nothing is copied that a click does not need.
struct Taken {
    code: CodeBuf,
    window_days: u32,
    domain: Option<Arc<str>>,
}

impl Taken {
    /// Nothing of a program that is not active.
    fn of(links: &Links, code: &Code) -> Option<Taken> {
        let program = links.programs.get(code.as_str()).filter(|program| program.status == Status::Active)?;
        Some(Taken { code: code.into(), window_days: program.window_days, domain: program.domain.clone() })
    }
}

/// Renders a template into `out` (cleared first).
fn render(template: &[u8], target: &Target, credit: &Credit, visit: &Visit<'_>, out: &mut Vec<u8>) {
    out.clear();
    let Ok(text) = std::str::from_utf8(template) else { return };
    let click = visit.click.to_string();
    let code = |code: &'_ Option<CodeBuf>| code.as_ref().map_or(&b""[..], |code| code.as_str().as_bytes()).to_vec();
    let (program, partner, ad, slug) =
        (code(&credit.program), code(&credit.partner), code(&credit.ad), code(&target.slug));
    template::render(text, out, |variable| match variable {
        // Without a visitor there is no id that could tie two pages together.
        Variable::Click if visit.visitor.is_none() => b"",
        Variable::Click => click.as_bytes(),
        Variable::Program => &program,
        Variable::Link => target.link.as_str().as_bytes(),
        Variable::Partner => &partner,
        Variable::Ad => &ad,
        Variable::Slug => &slug,
        Variable::Country => visit.country.as_bytes(),
        Variable::Language => visit.language.as_bytes(),
        Variable::Device => visit.device.label().as_bytes(),
        Variable::Sub(n) => visit.own.subs[usize::from(n)].as_bytes(),
    });
}

#[cfg(test)]
mod tests;
