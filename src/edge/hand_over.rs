//! What belongs to the control plane though it comes to the edge, so that one domain serves all: people's pages (`/r/…`, `/partner…`),
//! leads of forms (`POST /e`), webhooks of others (`POST /v1/inbound/…`). The request goes to the control plane of this process as a whole; nothing of it is
//! recorded here, since it holds what no journal may hold. Redirects never wait for it.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Peer,
    respond::{self, Answer},
    service::{Edge, Reply, body_error, reply},
};
use crate::{
    core::{
        limits::{INBOUND_BODY_MAX_BYTES, PAGE_FORM_MAX_BYTES},
        net::BodyTooLarge,
    },
    telemetry::edge::Outcome,
};

/// A request on its way to the control plane.
#[derive(Debug)]
pub struct Handed {
    pub head: Parts,
    pub body: Bytes,
    /// Who sends it, through proxies that are trusted.
    pub client: IpAddr,
    /// Whether they came over https.
    pub https: bool,
    pub answer: oneshot::Sender<Response<Bytes>>,
}

impl Edge {
    /// A webhook of somebody else.
    pub(super) async fn inbound(&self, head: Parts, peer: &Peer, body: Incoming) -> Reply {
        match Limited::new(body, INBOUND_BODY_MAX_BYTES).collect().await {
            Ok(body) => self.hand_over(head, peer, body.to_bytes(), respond::away).await,
            Err(error) => body_error(&*error, INBOUND_BODY_MAX_BYTES),
        }
    }

    /// A page for people; where pages are elsewhere, the way there.
    pub(super) async fn page(&self, mut head: Parts, peer: &Peer, body: Incoming) -> Reply {
        if let Some(elsewhere) = &self.shared.settings.pages {
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            return reply(respond::elsewhere(&format!("{elsewhere}{target}")), Outcome::Page);
        }
        match Limited::new(body, PAGE_FORM_MAX_BYTES).collect().await {
            Ok(body) => self.hand_over(head, peer, body.to_bytes(), respond::page_away).await,
            // People are told so by a page.
            Err(error) if error.is::<LengthLimitError>() => {
                head.extensions.insert(BodyTooLarge);
                self.hand_over(head, peer, Bytes::new(), respond::page_away).await
            }
            Err(error) => body_error(&*error, PAGE_FORM_MAX_BYTES),
        }
    }

    /// `away` is what is answered where nobody takes it.
    pub(super) async fn hand_over(&self, head: Parts, peer: &Peer, body: Bytes, away: fn() -> Answer) -> Reply {
        let (_, client) = self.seen(&head, peer);
        let (answer, answered) = oneshot::channel();
        let handed = Handed { head, body, client: client.address, https: client.https, answer };
        let taken = self.shared.control.as_ref().is_some_and(|control| control.try_send(handed).is_ok());
        match if taken { answered.await.ok() } else { None } {
            Some(response) => {
                let outcome = outcome(response.status());
                reply(response.map(Full::new), outcome)
            }
            // Nothing was taken: whoever sent it sends it again.
            None => reply(away(), Outcome::Refused),
        }
    }
}

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::NOT_FOUND => Outcome::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Outcome::Refused,
        status if status.is_client_error() => Outcome::BadRequest,
        status if status.is_server_error() => Outcome::Error,
        _ => Outcome::Page,
    }
}

/// The control plane's end of it.
pub type HandedOver = mpsc::Receiver<Handed>;
