//! Since when reports have all rows behind them: the header `Fingerpost-Rows-Since` on their answers. Sums are of all time;
//! unique visitors, and whatever else is counted from rows, are complete from then on (`retention.events`).

use axum::{
    extract::{Request, State},
    http::HeaderValue,
    middleware::Next,
    response::Response,
};

use super::ApiState;

const ROWS_SINCE: &str = "fingerpost-rows-since";

/// Says so where rows have gone. A store that does not answer has said that itself.
pub(super) async fn say(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status().is_success()
        && let Ok(Some(since)) = state.persons.keeper.complete_since().await
        && let Ok(value) = HeaderValue::from_str(&since.to_string())
    {
        response.headers_mut().insert(ROWS_SINCE, value);
    }
    response
}
