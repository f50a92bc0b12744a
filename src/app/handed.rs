//! Requests that the edge hands over to the control plane.

use std::sync::Arc;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    core::{
        limits::HANDED_MAX,
        net::{ClientAddress, OverHttps},
    },
    edge::{Handed, HandedOver},
};

/// Answers them, a bounded number at a time.
pub(super) async fn serve(mut handed: HandedOver, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(HANDED_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let next = tokio::select! {
            () = stop.cancelled() => None,
            next = handed.recv() => next,
        };
        let Some(Handed { head, body, client, https, answer }) = next else { return };
        let router = router.clone();
        tokio::spawn(async move {
            let mut request = Request::from_parts(head, Body::from(body));
            request.extensions_mut().insert(ClientAddress(client));
            request.extensions_mut().insert(OverHttps(https));
            // Who does not wait any more is not told.
            let _ = answer.send(whole(router.oneshot(request).await).await);
            drop(place);
        });
    }
}

async fn whole(answered: Result<Response<Body>, std::convert::Infallible>) -> Response<Bytes> {
    let Ok(response) = answered;
    let (head, body) = response.into_parts();
    // Our own answers are made in memory.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(head, body)
}
