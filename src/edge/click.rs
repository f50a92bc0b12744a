//! A click, from what was decoded to a recorded redirect: `/go/…` and `/{slug}`.

use http::{StatusCode, request::Parts};

use super::{
    client::Client,
    connection::Peer,
    decode::{Route, Verb},
    destination::{self, OwnParameter},
    preview,
    query::{Own, Query},
    record::{self, About},
    resolve::{self, Credit, Redirect, Resolution, Target, Visit},
    respond::{self, Answer},
    service::{Edge, Recorded, Reply, Scratch, State, not_found, reply},
    sighting::sight,
    visitor,
};
use crate::{
    core::{
        code::CodeBuf,
        event::{Class, Kind},
        id::{EventId, VisitorId},
        key::KeyRing,
        percent,
        program::CLICK_PARAMETER,
        token::Token,
        touch::Touch,
    },
    enrich::Verdict,
    telemetry::edge::Outcome,
};

impl Edge {
    /// Decides where the click leads and appends it to the journal. `Err` is an answer that leaves no record.
    pub(super) fn click(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let (now, client) = self.seen(head, peer);
        let (settings, links) = (&self.shared.settings, &*self.shared.links);
        let State { keys, geo, agents, scratch } = &mut *self.state.borrow_mut();
        let keys: &KeyRing = keys.load();
        let sighting =
            sight(&head.headers, client, now, keys, settings.honour_dnt, geo, (agents, &self.shared.enrich.agents));
        let query = Query(head.uri.query().unwrap_or_default().as_bytes());
        let own = query.own();
        let id = self.id(now);
        let visitor = self.visitor(&sighting);
        let target = resolve::target(links, route);
        let repeat = target.as_ref().is_some_and(|target| {
            // An ad that the partner does not have is not in the touch before, either.
            let has = |ad: &CodeBuf| target.partner.is_some_and(|partner| links.has_ad(&partner, ad, &mut scratch.ad));
            let touch = touch(id, Some(target.link), target.partner, target.ad.filter(has));
            touch.is_some_and(|touch| visitor::repeats(sighting.cookie.as_ref(), &touch, settings.repeat_window))
        });
        let class = sighting.class(verb == Verb::Head, own.test, repeat);
        let visit = Visit {
            now,
            click: id,
            visitor,
            query,
            own: &own,
            country: sighting.place.country,
            language: sighting.language.as_str(),
            device: sighting.device,
            counts: class.counts(),
        };
        let fallback = settings.fallback.as_deref();
        let redirect =
            match resolve::resolve(links, target.as_ref(), fallback, &visit, &mut scratch.address, &mut scratch.ad) {
                Resolution::Redirect(redirect) => redirect,
                Resolution::NotFound => return Err(Reply { class, ..not_found() }),
                Resolution::Gone => {
                    let answer = respond::text(StatusCode::GONE, "This link has ended.\n");
                    return Err(Reply { class, ..reply(answer, Outcome::Gone) });
                }
            };
        let about = About {
            visitor: visitor.as_ref(),
            link: redirect.link.as_ref(),
            rule: redirect.rule,
            ..About::target(&id, Kind::Click, class, target.as_ref())
        };
        let ticket = self.lane.append(&record::event(&sighting, &own, about, &redirect.credit));
        let Credit { partner, ad, window_days, ref domain, .. } = redirect.credit;
        write_location(&redirect, query, id, visitor, keys, scratch);
        if sighting.agent.verdict == Verdict::Preview
            && let Some(answer) = self.preview(head, client, target.as_ref(), &own, &redirect, &scratch.location)
        {
            return Ok(Recorded {
                reply: Reply { answer, outcome: Outcome::Preview, class },
                ticket,
                now,
                is_click: true,
            });
        }
        let cookie = visitor.map(|visitor| {
            // What does not count credits nobody: else a page could take the last touch by prefetching a link.
            let counts = class.counts() || class == Class::Test;
            let touch = touch(id, redirect.link, partner, ad).filter(|_| counts);
            let cookie = visitor::after(sighting.cookie.as_ref(), visitor, touch, now, window_days);
            let Scratch { signing, cookie: out, .. } = scratch;
            visitor::set_cookie(&cookie, keys, now, self.secure(client), domain.as_deref(), signing, out);
        });
        let answer = respond::redirect(&scratch.location, cookie.map(|()| scratch.cookie.as_slice()));
        let outcome = if redirect.fallback { Outcome::Fallback } else { Outcome::Redirect };
        Ok(Recorded { reply: Reply { answer, outcome, class }, ticket, now, is_click: true })
    }

    /// The page for a previewer, where the link has one. Sets no cookie.
    #[cold]
    fn preview(
        &self,
        head: &Parts,
        client: Client,
        target: Option<&Target>,
        own: &Own<'_>,
        redirect: &Redirect,
        destination: &[u8],
    ) -> Option<Answer> {
        // `?to=` asks for another page than the one that the preview is about.
        let target = target.filter(|_| own.to.is_none())?;
        let mut url = self.base(head, client).into_bytes();
        target.write_path(&mut url);
        if let Some(query) = head.uri.query().filter(|query| !query.is_empty()) {
            url.push(b'?');
            percent::mend_query(query.as_bytes(), &mut url);
        }
        let url = String::from_utf8(url).ok()?;
        preview::page(&self.shared.links, redirect, &url, destination).map(respond::preview)
    }
}

/// The touch of a click that credits somebody.
fn touch(click: EventId, link: Option<CodeBuf>, partner: Option<CodeBuf>, ad: Option<CodeBuf>) -> Option<Touch> {
    Some(Touch { click, link: link?, partner: partner?, ad })
}

/// Puts the destination together in `scratch.location`: the rendered address, the visitor's query, and ours under the
/// names that the link gives them. There is no token where there is no link, or where the visitor asked not to be known.
fn write_location(
    redirect: &Redirect,
    query: Query<'_>,
    click: EventId,
    visitor: Option<VisitorId>,
    keys: &KeyRing,
    scratch: &mut Scratch,
) {
    let Scratch { address, location, token, signing, .. } = scratch;
    let Credit { program, ref partner, ref ad, .. } = redirect.credit;
    token.clear();
    if let (Some(link), Some(_)) = (redirect.link, visitor) {
        Token { click, program, link, partner: *partner, ad: *ad }.encode(keys, signing, token);
    }
    let more = redirect.more.as_deref();
    let name = more.and_then(|more| more.click_parameter.as_deref()).unwrap_or(CLICK_PARAMETER);
    let mut own = [OwnParameter { name, value: token }; 3];
    let mut count = 0;
    let names =
        [more.and_then(|more| more.partner_parameter.as_deref()), more.and_then(|more| more.ad_parameter.as_deref())];
    for (name, value) in names.into_iter().zip([partner, ad]) {
        if let (Some(name), Some(value)) = (name, value) {
            own[count] = OwnParameter { name, value: value.as_bytes() };
            count += 1;
        }
    }
    if !token.is_empty() {
        own[count] = OwnParameter { name, value: token };
        count += 1;
    }
    location.clear();
    destination::assemble(address, query, &own[..count], location);
}
