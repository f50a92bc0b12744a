//! One request, as one flat function of early returns: decode → resolve → record → respond.
//!
//! [`Edge`] belongs to one worker and is never shared: what it writes it writes alone. Nothing is held over an await but
//! the ticket of the record and the answer that waits for it.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header::IF_NONE_MATCH, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{
    about, beacon,
    client::{Client, client},
    connection::Peer,
    decode::{self, Route, Verb},
    destination::{self, OwnParameter},
    listener,
    query::{Own, Query},
    record::{self, About},
    resolve::{self, Credit, Resolution, Target, Visit},
    respond::{self, Answer},
    sighting::{Sighting, sight},
    visitor,
};
use crate::{
    config::{SecureCookie, WhenFull, network::Network},
    core::{
        event::{Class, EventRef, Kind},
        id::{EventId, VisitorId},
        key::KeyRing,
        limits::{EVENT_BODY_MAX_BYTES, REQUEST_LINE_MAX_BYTES, REQUESTS_WAITING_MAX},
        program::{CLICK_PARAMETER, WINDOW_DAYS},
        time::Millis,
        token::Token,
        touch::Touch,
    },
    enrich::{AgentCache, Enrich, GeoReader},
    io::{clock::Clock, random::Random},
    journal::{AppendError, Lane, Ticket},
    links::Links,
    telemetry::edge::{EdgeCounters, Outcome},
};

const SCRIPT: &str = include_str!("fp.js");

/// What all workers read.
#[derive(Debug)]
pub struct Shared {
    pub links: Arc<Links>,
    pub keys: Arc<ArcSwap<KeyRing>>,
    pub enrich: Enrich,
    pub clock: Clock,
    pub settings: Settings,
}

/// The part of the configuration that a request meets.
#[derive(Clone, Debug)]
pub struct Settings {
    pub trusted_proxies: Vec<Network>,
    /// The address under which visitors reach us; `None` takes the request's own host.
    pub url: Option<String>,
    pub fallback: Option<String>,
    pub honour_dnt: bool,
    pub repeat_window: Duration,
    pub secure_cookie: SecureCookie,
    pub when_full: WhenFull,
}

/// One worker's edge.
#[derive(Debug)]
pub struct Edge {
    shared: Arc<Shared>,
    lane: Lane,
    random: Random,
    counters: Arc<EdgeCounters>,
    state: RefCell<State>,
    /// Requests whose record is not committed yet.
    waiting: Cell<usize>,
    script_etag: HeaderValue,
}

/// What a request may use until it waits for the first time.
struct State {
    keys: Cache<Arc<ArcSwap<KeyRing>>, Arc<KeyRing>>,
    geo: GeoReader,
    agents: AgentCache,
    scratch: Scratch,
}

/// Buffers that keep their room from request to request.
#[derive(Debug, Default)]
struct Scratch {
    address: Vec<u8>,
    location: Vec<u8>,
    cookie: Vec<u8>,
    token: Vec<u8>,
    signing: Vec<u8>,
    ad: String,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// An answer, and what it is counted as.
struct Reply {
    answer: Answer,
    outcome: Outcome,
    class: Class,
}

/// A reply that waits for its record.
struct Recorded {
    reply: Reply,
    ticket: Result<Ticket, AppendError>,
    now: Millis,
}

fn reply(answer: Answer, outcome: Outcome) -> Reply {
    Reply { answer, outcome, class: Class::Unspecified }
}

fn not_found() -> Reply {
    reply(respond::text(StatusCode::NOT_FOUND, "There is nothing at this address. Was it typed in full?\n"), Outcome::NotFound)
}

impl listener::Service for Rc<Edge> {
    async fn call(&self, request: Request<Incoming>, peer: &Rc<Peer>) -> Answer {
        let started = Instant::now();
        let Reply { answer, outcome, class } = self.reply(request, peer).await;
        self.counters.observe(outcome, class, started.elapsed());
        answer
    }
}

impl Edge {
    pub fn new(shared: Arc<Shared>, lane: Lane, random: Random, counters: Arc<EdgeCounters>) -> Rc<Edge> {
        let state = State {
            keys: Cache::new(Arc::clone(&shared.keys)),
            geo: shared.enrich.geo.reader(),
            agents: AgentCache::new(Arc::clone(&shared.enrich.agents)),
            scratch: Scratch::default(),
        };
        let etag = format!("\"{}\"", &blake3::hash(SCRIPT.as_bytes()).to_hex()[..16]);
        let script_etag = HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"0\""));
        Rc::new(Edge { shared, lane, random, counters, state: RefCell::new(state), waiting: Cell::new(0), script_etag })
    }

    async fn reply(&self, request: Request<Incoming>, peer: &Peer) -> Reply {
        let (head, body) = request.into_parts();
        let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target_bytes > REQUEST_LINE_MAX_BYTES {
            let answer = respond::text(StatusCode::URI_TOO_LONG, "This address is longer than 8 KiB.\n");
            return reply(answer, Outcome::TooLarge);
        }
        let Ok(route) = decode::route(head.uri.path().as_bytes()) else {
            let text = "This address has a `%` that two hexadecimal digits do not follow. Write a percent sign as %25.\n";
            return reply(respond::text(StatusCode::BAD_REQUEST, text), Outcome::BadRequest);
        };
        let verb = match decode::verb(&head.method, route) {
            Ok(verb) => verb,
            Err(allow) => return reply(respond::method_not_allowed(allow), Outcome::MethodNotAllowed),
        };
        match (route, verb) {
            (Route::Nothing, _) => return not_found(),
            (Route::Script, _) => {
                let known = head.headers.get(IF_NONE_MATCH);
                return reply(respond::script(SCRIPT, &self.script_etag, known), Outcome::Script);
            }
            (Route::About(_), _) => return self.about(route),
            (_, Verb::Preflight) => return reply(respond::preflight(), Outcome::Event),
            _ => {}
        }
        if self.waiting.get() >= REQUESTS_WAITING_MAX {
            return reply(respond::refused(), Outcome::Refused);
        }
        let recorded = match route {
            Route::Beacon => match Limited::new(body, EVENT_BODY_MAX_BYTES).collect().await {
                Ok(body) => self.beacon(&head, peer, &body.to_bytes()),
                Err(error) => Err(body_error(&*error)),
            },
            Route::Share { .. } => self.share(&head, peer, route, verb),
            Route::Pixel(_) => self.pixel(&head, peer, route, verb),
            _ => self.click(&head, peer, route, verb),
        };
        match recorded {
            Ok(recorded) => self.settle(recorded).await,
            Err(reply) => reply,
        }
    }

    /// A click: `/go/…` or `/{slug}`. `Err` is an answer that leaves no record.
    fn click(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let (now, client) = self.seen(head, peer);
        let state = &mut *self.state.borrow_mut();
        let State { keys, geo, agents, scratch } = state;
        let (keys, settings, links) = (keys.load(), &self.shared.settings, &*self.shared.links);
        let sighting = sight(&head.headers, client, now, keys, settings.honour_dnt, geo, agents);
        let query = Query(head.uri.query().unwrap_or_default().as_bytes());
        let own = query.own();
        let id = EventId::new(now, self.random.bytes());
        let visitor = self.visitor(&sighting);
        let target = resolve::target(links, route);
        let repeat = |target: &Target| {
            let touch = Touch { click: id, link: target.link, partner: target.partner?, ad: target.ad };
            Some(visitor::repeats(sighting.cookie.as_ref(), &touch, millis(settings.repeat_window)))
        };
        let class = sighting.class(verb == Verb::Head, own.test, target.as_ref().and_then(repeat).unwrap_or(false));
        let visit = Visit {
            now,
            click: id,
            visitor,
            query,
            own: &own,
            country: sighting.place.country,
            language: sighting.language.as_str(),
            device: sighting.agent.device(),
            counts: class.counts(),
        };
        let fallback = settings.fallback.as_deref();
        let resolution = resolve::resolve(links, target.as_ref(), fallback, &visit, &mut scratch.address, &mut scratch.ad);
        let redirect = match resolution {
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
        token(&redirect, id, visitor, keys, scratch);
        let more = redirect.more.as_deref();
        let mut own_parameters = [OwnParameter { name: "", value: b"" }; 3];
        let own_count = own_parameters_of(more, &redirect.credit, &scratch.token, &mut own_parameters);
        scratch.location.clear();
        destination::assemble(&scratch.address, query, &own_parameters[..own_count], &mut scratch.location);
        let cookie = visitor.map(|visitor| {
            let credit = &redirect.credit;
            let touch = redirect.link.zip(credit.partner).map(|(link, partner)| Touch { click: id, link, partner, ad: credit.ad });
            let cookie = visitor::after(sighting.cookie.as_ref(), visitor, touch, now, credit.window_days);
            let Scratch { signing, cookie: out, .. } = scratch;
            visitor::set_cookie(&cookie, keys, now, self.secure(client), credit.domain.as_deref(), signing, out);
            out.as_slice()
        });
        let answer = respond::redirect(&scratch.location, cookie);
        Ok(Recorded { reply: Reply { answer, outcome: Outcome::Redirect, class }, ticket, now })
    }

    /// `/s/{channel}/{slug}`: a share.
    fn share(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let Route::Share { channel, slug } = route else { return Err(not_found()) };
        let target = resolve::target(&self.shared.links, route).ok_or_else(not_found)?;
        let mut link = self.base(head, self.seen(head, peer).1);
        link.push('/');
        link.push_str(&slug);
        let mut address = Vec::new();
        channel.address(link.as_bytes(), &mut address);
        let reply = reply(respond::redirect(&address, None), Outcome::Share);
        let subject = Subject { kind: Kind::Share, target: &target, program: None, click: None, channel: channel.name() };
        let own = Query(head.uri.query().unwrap_or_default().as_bytes()).own();
        Ok(self.note(head, peer, verb, &own, &subject, reply))
    }

    /// `/v/{slug}.gif`: a view, from a picture on a page.
    fn pixel(&self, head: &Parts, peer: &Peer, route: Route, verb: Verb) -> Result<Recorded, Reply> {
        let target = resolve::target(&self.shared.links, route).ok_or_else(not_found)?;
        let subject = Subject { kind: Kind::View, target: &target, program: None, click: None, channel: "" };
        let own = Query(head.uri.query().unwrap_or_default().as_bytes()).own();
        Ok(self.note(head, peer, verb, &own, &subject, reply(respond::pixel(), Outcome::Pixel)))
    }

    /// `POST /e`: a view or a share, from a script on a page.
    fn beacon(&self, head: &Parts, peer: &Peer, body: &Bytes) -> Result<Recorded, Reply> {
        let bad = |mistake: beacon::Mistake| {
            reply(respond::problem(StatusCode::BAD_REQUEST, mistake.field, &mistake.problem), Outcome::BadRequest)
        };
        let keys = Arc::clone(self.state.borrow_mut().keys.load());
        let beacon = beacon::read(body, &keys).map_err(bad)?;
        let (target, program, click) = match beacon.of {
            beacon::Subject::Click { click, target, program } => (target, program, Some(click)),
            beacon::Subject::Slug(slug) => {
                let problem = || beacon::Mistake { field: "slug", problem: "no share link has this code".to_owned() };
                (resolve::target(&self.shared.links, Route::Slug(slug)).ok_or_else(problem).map_err(bad)?, None, None)
            }
        };
        let channel = beacon.channel.map_or("", |channel| channel.name());
        let subject = Subject { kind: beacon.kind, target: &target, program, click, channel };
        let own = Own::of(&beacon.subs);
        Ok(self.note(head, peer, Verb::Post, &own, &subject, reply(respond::taken(), Outcome::Event)))
    }

    /// Records a share or a view.
    fn note(&self, head: &Parts, peer: &Peer, verb: Verb, own: &Own<'_>, subject: &Subject<'_>, reply: Reply) -> Recorded {
        let (now, client) = self.seen(head, peer);
        let State { keys, geo, agents, scratch } = &mut *self.state.borrow_mut();
        let sighting = sight(&head.headers, client, now, keys.load(), self.shared.settings.honour_dnt, geo, agents);
        let class = sighting.class(verb == Verb::Head, own.test, false);
        let id = EventId::new(now, self.random.bytes());
        let credit = match subject.click {
            // The signed token says who is credited, as it was when the click was made.
            Some(_) => Credit {
                partner: subject.target.partner,
                ad: subject.target.ad,
                program: subject.program,
                window_days: WINDOW_DAYS,
                ..Credit::default()
            },
            None => {
                let more = self.shared.links.links.get(subject.target.link.as_str()).and_then(|link| link.more.clone());
                resolve::credit(&self.shared.links, subject.target, more.as_deref(), &mut scratch.ad)
            }
        };
        let visitor = sighting.cookie.map(|cookie| cookie.visitor);
        let about = About {
            visitor: visitor.as_ref(),
            channel: subject.channel,
            click: subject.click.as_ref(),
            ..About::target(&id, subject.kind, class, Some(subject.target))
        };
        let ticket = self.lane.append(&record::event(&sighting, own, about, &credit));
        Recorded { reply: Reply { class, ..reply }, ticket, now }
    }

    /// `/{slug}+`: where it leads. Records nothing.
    fn about(&self, route: Route) -> Reply {
        let links = &self.shared.links;
        let Some(target) = resolve::target(links, route) else { return not_found() };
        let Some((address, more)) = links.links.get(target.link.as_str()).map(|link| (link.address.clone(), link.more.clone()))
        else {
            return not_found();
        };
        let name = more.as_ref().map_or("", |more| &more.name);
        let varies = more.as_ref().is_some_and(|more| !more.rules.is_empty());
        let slug = target.slug.as_ref().map_or("", |slug| slug.as_str());
        reply(respond::html(about::page(slug, name, &address, varies)), Outcome::About)
    }

    /// Waits until the record is committed, then lets the answer go.
    async fn settle(&self, recorded: Recorded) -> Reply {
        let Recorded { reply, ticket, now } = recorded;
        let committed = match ticket {
            Ok(ticket) => {
                self.waiting.set(self.waiting.get() + 1);
                let _leaving = Leaving(&self.waiting);
                self.lane.committed(ticket).await
            }
            Err(error) => Err(error),
        };
        match (committed, self.shared.settings.when_full) {
            (Ok(()), _) => reply,
            (Err(_), WhenFull::Refuse) => Reply { class: reply.class, ..self::reply(respond::refused(), Outcome::Refused) },
            (Err(_), WhenFull::Redirect) => {
                if reply.outcome == Outcome::Redirect {
                    self.lane.shed(now);
                    self.counters.shed();
                }
                Reply { outcome: Outcome::Shed, ..reply }
            }
        }
    }

    fn seen(&self, head: &Parts, peer: &Peer) -> (Millis, Client) {
        let address: IpAddr = peer.address.ip();
        (self.shared.clock.now(), client(address, peer.tls, &self.shared.settings.trusted_proxies, &head.headers))
    }

    /// Who the visitor is: the cookie's, a new one, or nobody where they asked for that.
    fn visitor(&self, sighting: &Sighting<'_>) -> Option<VisitorId> {
        if sighting.private {
            return None;
        }
        Some(sighting.cookie.as_ref().map_or_else(|| VisitorId(self.random.bytes()), |cookie| cookie.visitor))
    }

    fn secure(&self, client: Client) -> bool {
        match self.shared.settings.secure_cookie {
            SecureCookie::Auto => client.https,
            SecureCookie::Always => true,
            SecureCookie::Never => false,
        }
    }

    /// The address under which this request reached us, without a slash at the end.
    fn base(&self, head: &Parts, client: Client) -> String {
        if let Some(url) = &self.shared.settings.url {
            return url.clone();
        }
        let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        format!("{}://{host}", if client.https { "https" } else { "http" })
    }
}

/// What a share or a view is about.
struct Subject<'a> {
    kind: Kind,
    target: &'a Target,
    program: Option<crate::core::code::CodeBuf>,
    click: Option<EventId>,
    channel: &'a str,
}

/// Counts a waiting request down, also when its connection is dropped.
struct Leaving<'a>(&'a Cell<usize>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Writes the click token into the scratch, or nothing where there is no link or the visitor asked not to be known.
fn token(redirect: &resolve::Redirect, click: EventId, visitor: Option<VisitorId>, keys: &KeyRing, scratch: &mut Scratch) {
    scratch.token.clear();
    if let (Some(link), Some(_)) = (redirect.link, visitor) {
        let Credit { program, partner, ad, .. } = redirect.credit;
        Token { click, program, link, partner, ad }.encode(keys, &mut scratch.signing, &mut scratch.token);
    }
}

/// Our parameters on the landing page, under the names that the link gives them. Their number is returned.
fn own_parameters_of<'a>(
    more: Option<&'a crate::links::LinkMore>,
    credit: &'a Credit,
    token: &'a [u8],
    out: &mut [OwnParameter<'a>; 3],
) -> usize {
    let name = more.and_then(|more| more.click_parameter.as_deref()).unwrap_or(CLICK_PARAMETER);
    let partner = more.and_then(|more| more.partner_parameter.as_deref()).zip(credit.partner.as_ref());
    let ad = more.and_then(|more| more.ad_parameter.as_deref()).zip(credit.ad.as_ref());
    let token = (!token.is_empty()).then_some(OwnParameter { name, value: token });
    let codes = [partner, ad].into_iter().flatten().map(|(name, code)| OwnParameter { name, value: code.as_bytes() });
    let mut count = 0;
    for (slot, parameter) in out.iter_mut().zip(codes.chain(token)) {
        *slot = parameter;
        count += 1;
    }
    count
}

fn body_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Reply {
    if error.is::<http_body_util::LengthLimitError>() {
        let text = format!("this body is longer than {EVENT_BODY_MAX_BYTES} bytes: send less");
        return reply(respond::problem(StatusCode::PAYLOAD_TOO_LARGE, "", &text), Outcome::TooLarge);
    }
    reply(respond::problem(StatusCode::BAD_REQUEST, "", "the body did not arrive whole: send it again"), Outcome::BadRequest)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

