//! Shares and views, from what was decoded to a recorded answer: `/s/…`, `/v/…` and `POST /e`.

use bytes::Bytes;
use http::{StatusCode, header::HOST, request::Parts};

use super::{
    beacon,
    client::Client,
    connection::Peer,
    decode::{Route, Verb},
    query::{Own, Query},
    record::{self, About},
    resolve::{self, Credit, Target},
    respond,
    service::{Edge, Recorded, Reply, State, not_found, reply},
    sighting::sight,
};
use crate::{
    core::{code::CodeBuf, event::Kind, id::EventId, program::WINDOW_DAYS},
    telemetry::edge::Outcome,
};

/// What a share or a view is about.
struct Subject<'a> {
    kind: Kind,
    target: &'a Target,
    /// The click that the page was reached by, and its program: signed, so it is believed.
    click: Option<(EventId, Option<CodeBuf>)>,
    channel: &'static str,
}

impl Edge {
    /// `/s/{channel}/{slug}`: a share, and the way to the channel's share form.
    pub(super) fn share(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let Route::Share { channel, slug } = route else { return Err(not_found()) };
        let target = resolve::target(&self.shared.links, route).ok_or_else(not_found)?;
        let (_, client) = self.seen(head, peer);
        let link = format!("{}/{}", self.base(head, client), slug.as_str());
        let mut address = Vec::new();
        channel.address(link.as_bytes(), &mut address);
        let subject = Subject { kind: Kind::Share, target: &target, click: None, channel: channel.name() };
        let own = Query(head.uri.query().unwrap_or_default().as_bytes()).own();
        Ok(self.note(head, peer, verb, &own, &subject, reply(respond::redirect(&address, None), Outcome::Share)))
    }

    /// `/v/{slug}.gif`: a view, from a picture on a page.
    pub(super) fn pixel(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let target = resolve::target(&self.shared.links, route).ok_or_else(not_found)?;
        let subject = Subject { kind: Kind::View, target: &target, click: None, channel: "" };
        let own = Query(head.uri.query().unwrap_or_default().as_bytes()).own();
        Ok(self.note(head, peer, verb, &own, &subject, reply(respond::pixel(), Outcome::Pixel)))
    }

    /// `POST /e`: a view or a share, from a script on a page.
    pub(super) fn beacon(&self, head: &Parts, peer: &Peer, body: &Bytes) -> Result<Recorded, Reply> {
        let bad = |mistake: beacon::Mistake| {
            reply(respond::problem(StatusCode::BAD_REQUEST, mistake.field, &mistake.problem), Outcome::BadRequest)
        };
        let beacon = beacon::read(body, self.state.borrow_mut().keys.load()).map_err(bad)?;
        let (target, click) = match beacon.of {
            beacon::Subject::Click { click, target, program } => (target, Some((click, program))),
            beacon::Subject::Slug(slug) => {
                let unknown = || beacon::Mistake { field: "slug", problem: "no share link has this code".to_owned() };
                (resolve::target(&self.shared.links, Route::Slug(slug)).ok_or_else(unknown).map_err(bad)?, None)
            }
        };
        let channel = beacon.channel.map_or("", crate::core::channel::Channel::name);
        let subject = Subject { kind: beacon.kind, target: &target, click, channel };
        let own = Own::of(&beacon.subs);
        Ok(self.note(head, peer, Verb::Post, &own, &subject, reply(respond::taken(), Outcome::Event)))
    }

    /// Appends a share or a view to the journal.
    fn note(
        &self,
        head: &Parts,
        peer: &Peer,
        verb: Verb,
        own: &Own<'_>,
        subject: &Subject<'_>,
        reply: Reply,
    ) -> Recorded {
        let (now, client) = self.seen(head, peer);
        let State { keys, geo, agents, scratch } = &mut *self.state.borrow_mut();
        let honour_dnt = self.shared.settings.honour_dnt;
        let sighting =
            sight(&head.headers, client, now, keys.load(), honour_dnt, geo, (agents, &self.shared.enrich.agents));
        let class = sighting.class(verb == Verb::Head, own.test, false);
        let id = self.id(now);
        let Target { link, partner, ad, .. } = *subject.target;
        let credit = match subject.click {
            Some((_, program)) => Credit { partner, ad, program, window_days: WINDOW_DAYS, ..Credit::default() },
            None => {
                let more = self.shared.links.links.get(link.as_str()).and_then(|link| link.more().cloned());
                resolve::credit(&self.shared.links, subject.target, more.as_deref(), &mut scratch.ad)
            }
        };
        let visitor = sighting.cookie.map(|cookie| cookie.visitor);
        let about = About {
            visitor: visitor.as_ref(),
            channel: subject.channel,
            // A click id would tie this visit to an earlier one.
            click: subject.click.as_ref().filter(|_| !sighting.private).map(|(click, _)| click),
            ..About::target(&id, subject.kind, class, Some(subject.target))
        };
        let ticket = self.lane.append(&record::event(&sighting, own, about, &credit));
        Recorded { reply: Reply { class, ..reply }, ticket, now, is_click: false }
    }

    /// The address under which this request reached us, without a slash at the end.
    pub(super) fn base(&self, head: &Parts, client: Client) -> String {
        if let Some(url) = &self.shared.settings.url {
            return url.clone();
        }
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        format!("{}://{host}", if client.https { "https" } else { "http" })
    }
}
