//! `POST /e` with `"kind": "lead"`: a form on somebody's page, sent by their visitor's browser.
//!
//! Anybody can send it, so: only from origins that the program names, only so many from one network, and the answer is the same
//! for people who are known and who are not. It names a person by e-mail only: an id of the business's own would let strangers
//! join people. A field that people do not see (`trap`) catches robots: what fills it is answered the same, and not taken.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use metrics::counter;
use serde_json::{Map, Value, json};

use super::{ApiState, Problem};
use crate::{
    catalog::{CatalogError, Mistake, Program},
    core::{
        cookie,
        net::{self, ClientAddress},
    },
    referral::told::ToldLead,
    telemetry::names,
};

/// Fields of a lead that a form may send.
const FIELDS: [&str; 7] = ["program", "email", "first_name", "last_name", "token", "partner", "metadata"];
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

pub(super) fn routes() -> Router<ApiState> {
    for result in ["taken", "refused", "limited"] {
        counter!(names::FORM_LEADS, "result" => result).increment(0);
    }
    Router::new().route("/e", post(lead))
}

async fn lead(
    State(state): State<ApiState>,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let origin = headers.get(header::ORIGIN).cloned();
    let (result, mut response) = match take(&state, client.map(|Extension(client)| client), &headers, &body).await {
        Ok(()) => ("taken", (StatusCode::ACCEPTED, Json(json!({ "status": "accepted" }))).into_response()),
        Err(Refused::Trapped) => {
            ("refused", (StatusCode::ACCEPTED, Json(json!({ "status": "accepted" }))).into_response())
        }
        Err(Refused::Limited(seconds)) => {
            let detail = format!("too many came from your network: try again in {seconds} seconds");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "limited", "Too many at once", detail);
            let mut response = problem.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            ("limited", response)
        }
        // The page's script may not even read why.
        Err(Refused::NotFromHere(problem)) => {
            counter!(names::FORM_LEADS, "result" => "refused").increment(1);
            return problem.into_response();
        }
        Err(Refused::Wrong(problem)) => ("refused", problem.into_response()),
    };
    counter!(names::FORM_LEADS, "result" => result).increment(1);
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

enum Refused {
    NotFromHere(Problem),
    Limited(u64),
    Trapped,
    Wrong(Problem),
}

impl From<CatalogError> for Refused {
    fn from(error: CatalogError) -> Refused {
        Refused::Wrong(error.into())
    }
}

async fn take(
    state: &ApiState,
    client: Option<ClientAddress>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Refused> {
    let json = |detail: String| {
        Refused::NotFromHere(Problem::new(StatusCode::BAD_REQUEST, "json", "The body is not a JSON object", detail))
    };
    let mut object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(json("send one object, `{…}`".to_owned())),
        Err(error) => return Err(json(format!("line {}, column {}: {error}", error.line(), error.column()))),
    };
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !is_allowed(state, &object, origin).await? {
        // The same for a program that there is not: who asks learns nothing.
        let detail = "this page may not send leads to this program: its `origins` do not name the page's origin";
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin", "Not from this page", detail);
        return Err(Refused::NotFromHere(problem));
    }
    if let Some(ClientAddress(client)) = client {
        state.form_limiter.admit(client, state.clock.now()).map_err(Refused::Limited)?;
    }
    object.swap_remove("kind");
    let trap = object.swap_remove("trap").unwrap_or_default();
    if trap.as_str().is_some_and(|text| !text.is_empty()) {
        return Err(Refused::Trapped);
    }
    let mut mistakes: Vec<Mistake> = object
        .keys()
        .filter(|field| !FIELDS.contains(&field.as_str()))
        .map(|field| Mistake::new(field, format!("a form does not send this: known are {}", FIELDS.join(", "))))
        .collect();
    object.retain(|field, _| FIELDS.contains(&field.as_str()));
    let private = headers.get(SEC_GPC).is_some_and(|value| value.as_bytes() == b"1");
    if private {
        object.swap_remove("token");
    }
    let told = ToldLead::read(object).map_err(|others| {
        mistakes.extend(others);
        Refused::Wrong(Problem::invalid(std::mem::take(&mut mistakes)))
    })?;
    if !mistakes.is_empty() {
        return Err(Refused::Wrong(Problem::invalid(mistakes)));
    }
    let cookie = if private { None } else { visitor_cookie(headers) };
    // Review looks for bursts from one network.
    let network = client.filter(|_| !private).map(|ClientAddress(client)| net::network(client));
    let told = ToldLead { cookie, network, ..told };
    state.desk.lead(&told, None).await.map_err(|error| Refused::Wrong(error.into()))?;
    Ok(())
}

async fn is_allowed(state: &ApiState, object: &Map<String, Value>, origin: &str) -> Result<bool, CatalogError> {
    let Some(program) = object.get("program").and_then(Value::as_str) else { return Ok(false) };
    let Ok(code) = program.parse::<crate::core::code::Code>() else { return Ok(false) };
    match state.catalog.get::<Program>(&[code.as_str()]).await {
        Ok(program) => Ok(program.origins.iter().any(|allowed| allowed == origin)),
        Err(CatalogError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The value of our cookie, as the browser sent it.
fn visitor_cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| Some(pair.trim().strip_prefix(cookie::NAME)?.strip_prefix('=')?.to_owned()))
}
