//! One request, as one flat function of early returns: decode → resolve → record → respond.
//!
//! [`Edge`] belongs to one worker and is never shared: what it writes it writes alone. Nothing is held over an await but
//! the ticket of the record and the answer that waits for it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use http::{Request, StatusCode, header::IF_NONE_MATCH, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{
    about, beacon,
    client::{Client, client},
    connection::Peer,
    decode::{self, Route, Verb},
    listener,
    query::Query,
    resolve,
    respond::{self, Answer},
    sighting::Sighting,
};
use crate::{
    config::{SecureCookie, WhenFull, network::Network},
    core::{
        event::Class,
        id::{EventId, VisitorId},
        key::KeyRing,
        limits::{EVENT_BODY_MAX_BYTES, REQUEST_LINE_MAX_BYTES, REQUESTS_WAITING_MAX},
        time::Millis,
    },
    enrich::{AgentCache, Enrich, GeoReader},
    io::{clock::Clock, random::Random},
    journal::{AppendError, Lane, Ticket},
    links::Links,
    telemetry::edge::{EdgeWriter, Outcome},
};

/// What all workers read.
#[derive(Debug)]
pub struct Shared {
    pub links: Arc<Links>,
    pub keys: Arc<ArcSwap<KeyRing>>,
    pub enrich: Enrich,
    pub clock: Clock,
    pub settings: Settings,
    /// The control plane of this process, where it has one.
    pub control: Option<tokio::sync::mpsc::Sender<super::hand_over::Handed>>,
}

/// The part of the configuration that a request meets.
#[derive(Clone, Debug)]
pub struct Settings {
    pub trusted_proxies: Vec<Network>,
    /// The address under which visitors reach us; `None` takes the request's own host.
    pub url: Option<String>,
    pub fallback: Option<String>,
    /// Where people's pages are, when they are not here.
    pub pages: Option<String>,
    pub honour_dnt: bool,
    pub repeat_window: Duration,
    pub secure_cookie: SecureCookie,
    pub when_full: WhenFull,
}

/// One worker's edge.
#[derive(Debug)]
pub struct Edge {
    pub(super) shared: Arc<Shared>,
    pub(super) lane: Lane,
    pub(super) random: Random,
    pub(super) state: RefCell<State>,
    /// Time of the newest id, and how many it has had before.
    newest_id: Cell<(Millis, u16)>,
    counters: EdgeWriter,
    /// Requests whose record is not committed yet.
    waiting: Cell<usize>,
}

/// What a request may use until it waits for the first time.
pub(super) struct State {
    pub(super) keys: Cache<Arc<ArcSwap<KeyRing>>, Arc<KeyRing>>,
    pub(super) geo: GeoReader,
    pub(super) agents: AgentCache,
    pub(super) scratch: Scratch,
}

/// Buffers that keep their room from request to request.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) address: Vec<u8>,
    pub(super) location: Vec<u8>,
    pub(super) cookie: Vec<u8>,
    pub(super) token: Vec<u8>,
    pub(super) signing: Vec<u8>,
    pub(super) ad: String,
}

/// An answer, and what it is counted as.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) outcome: Outcome,
    pub(super) class: Class,
}

/// A reply that waits for its record.
pub(super) struct Recorded {
    pub(super) reply: Reply,
    pub(super) ticket: Result<Ticket, AppendError>,
    pub(super) now: Millis,
    /// A click that is not recorded is told as missing.
    pub(super) is_click: bool,
}

pub(super) fn reply(answer: Answer, outcome: Outcome) -> Reply {
    Reply { answer, outcome, class: Class::Unspecified }
}

pub(super) fn not_found() -> Reply {
    let text = "There is nothing at this address. Was it typed in full?\n";
    reply(respond::text(StatusCode::NOT_FOUND, text), Outcome::NotFound)
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Counts a waiting request down, also when its connection is dropped.
struct Leaving<'a>(&'a Cell<usize>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl listener::Service for Rc<Edge> {
    async fn call(&self, request: Request<Incoming>, peer: &Rc<Peer>) -> Answer {
        let started = Instant::now();
        let Reply { answer, outcome, class } = self.reply(request, peer).await;
        self.counters.answered(outcome, class, started.elapsed());
        answer
    }
}

impl Edge {
    pub fn new(shared: Arc<Shared>, lane: Lane, random: Random, counters: EdgeWriter) -> Rc<Edge> {
        let state = State {
            keys: Cache::new(Arc::clone(&shared.keys)),
            geo: shared.enrich.geo.reader(),
            agents: AgentCache::new(&shared.enrich.agents),
            scratch: Scratch::default(),
        };
        Rc::new(Edge {
            shared,
            lane,
            random,
            state: RefCell::new(state),
            newest_id: Cell::default(),
            counters,
            waiting: Cell::new(0),
        })
    }

    /// The journal lane of this worker: its owner closes it when all connections are gone.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    async fn reply(&self, request: Request<Incoming>, peer: &Peer) -> Reply {
        let (head, body) = request.into_parts();
        if head.uri.path_and_query().map_or(0, |target| target.as_str().len()) > REQUEST_LINE_MAX_BYTES {
            let answer = respond::text(StatusCode::URI_TOO_LONG, "This address is longer than 8 KiB.\n");
            return reply(answer, Outcome::TooLarge);
        }
        let Ok(route) = decode::route(head.uri.path().as_bytes()) else {
            let text =
                "This address has a `%` that two hexadecimal digits do not follow. Write a percent sign as %25.\n";
            return reply(respond::text(StatusCode::BAD_REQUEST, text), Outcome::BadRequest);
        };
        let verb = match decode::verb(&head.method, route) {
            Ok(verb) => verb,
            Err(allow) => return reply(respond::method_not_allowed(allow), Outcome::MethodNotAllowed),
        };
        match (route, verb) {
            (Route::Nothing, _) => return not_found(),
            (Route::Script, _) => {
                let named = Query(head.uri.query().unwrap_or_default().as_bytes()).get(b"v");
                let answer = respond::script(named.as_deref(), head.headers.get(IF_NONE_MATCH));
                return reply(answer, Outcome::Script);
            }
            (Route::About(_), _) => return self.about(route),
            // Boxed: a redirect's future does not grow by it.
            (Route::Inbound, _) => return Box::pin(self.inbound(head, peer, body)).await,
            (Route::Page, _) => return Box::pin(self.page(head, peer, body)).await,
            (_, Verb::Preflight) => return reply(respond::preflight(), Outcome::Event),
            _ => {}
        }
        if self.waiting.get() >= REQUESTS_WAITING_MAX {
            return reply(respond::refused(), Outcome::Refused);
        }
        let recorded = match route {
            Route::Beacon => match Limited::new(body, EVENT_BODY_MAX_BYTES).collect().await {
                Ok(body) => {
                    let body = body.to_bytes();
                    if beacon::is_lead(&body) {
                        // Whatever its path was written like.
                        let mut head = head;
                        head.uri = http::Uri::from_static("/e");
                        return Box::pin(self.hand_over(head, peer, body, respond::away)).await;
                    }
                    self.beacon(&head, peer, &body)
                }
                Err(error) => Err(body_error(&*error, EVENT_BODY_MAX_BYTES)),
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

    /// Waits until the record is committed, then lets the answer go.
    async fn settle(&self, recorded: Recorded) -> Reply {
        let Recorded { reply, ticket, now, is_click } = recorded;
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
            (Err(_), WhenFull::Refuse) => Reply { answer: respond::refused(), outcome: Outcome::Refused, ..reply },
            (Err(_), WhenFull::Redirect) => {
                if is_click {
                    self.lane.shed(now);
                    self.counters.shed(1);
                }
                Reply { outcome: Outcome::Shed, ..reply }
            }
        }
    }

    /// `/{slug}+`: where it leads. Records nothing.
    fn about(&self, route: Route) -> Reply {
        let links = &self.shared.links;
        let Some(target) = resolve::target(links, route) else { return not_found() };
        let found = links.links.get(target.link.as_str()).map(|link| (link.address().to_owned(), link.more().cloned()));
        let Some((address, more)) = found else { return not_found() };
        let name = more.as_ref().map_or("", |more| &more.name);
        let varies = more.as_ref().is_some_and(|more| !more.rules.is_empty());
        let slug = target.slug.as_ref().map_or("", |slug| slug.as_str());
        match about::page(slug, name, &address, varies) {
            Ok(page) => reply(respond::html(page), Outcome::LinkPage),
            Err(_) => not_found(),
        }
    }

    /// An id for an event of now: this worker's ids of one millisecond sort in the order in which they were asked for.
    pub(super) fn id(&self, now: Millis) -> EventId {
        let (newest, counter) = self.newest_id.get();
        let counter = if newest == now { counter.wrapping_add(1) } else { 0 };
        self.newest_id.set((now, counter));
        EventId::in_order(now, counter, self.random.bytes())
    }

    /// When, and from where.
    pub(super) fn seen(&self, head: &Parts, peer: &Peer) -> (Millis, Client) {
        let client = client(peer.address.ip(), peer.tls, &self.shared.settings.trusted_proxies, &head.headers);
        (self.shared.clock.now(), client)
    }

    /// Who the visitor is: the cookie's, a new one, or nobody where they asked for that.
    pub(super) fn visitor(&self, sighting: &Sighting<'_>) -> Option<VisitorId> {
        if sighting.private {
            return None;
        }
        Some(sighting.cookie.as_ref().map_or_else(|| VisitorId(self.random.bytes()), |cookie| cookie.visitor))
    }

    pub(super) fn secure(&self, client: Client) -> bool {
        match self.shared.settings.secure_cookie {
            SecureCookie::Auto => client.https,
            SecureCookie::Always => true,
            SecureCookie::Never => false,
        }
    }
}

pub(super) fn body_error(error: &(dyn std::error::Error + Send + Sync + 'static), max: usize) -> Reply {
    if error.is::<http_body_util::LengthLimitError>() {
        let text = format!("this body is longer than {max} bytes: send less");
        return reply(respond::problem(StatusCode::PAYLOAD_TOO_LARGE, "", &text), Outcome::TooLarge);
    }
    reply(
        respond::problem(StatusCode::BAD_REQUEST, "", "the body did not arrive whole: send it again"),
        Outcome::BadRequest,
    )
}
