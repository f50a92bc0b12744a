//! `/v1/leads`, `/v1/conversions`, `/v1/refunds`: what is told about people.
//!
//! Each takes an `Idempotency-Key`: the same request under the same key gets the same answer, another one a conflict with what
//! was answered before. Conversions and refunds are told apart by their own ids as well.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::Object,
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{Mistake, record::Answer},
    core::{limits::IDEMPOTENCY_KEY_MAX_BYTES, money::Money},
    referral::{
        DeskError, Once,
        desk::{FactAnswer, LeadAnswer},
        told::{self, ToldConversion, ToldLead, ToldRefund},
    },
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create_lead)).routes(routes!(create_conversion)).routes(routes!(create_refund))
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A lead: a person left their name.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct NewLead {
    #[schema(example = "spring")]
    program: String,
    /// This or `external_id`, or both.
    #[schema(example = "ann@home.example")]
    email: Option<String>,
    /// The id that your own programs know the person by.
    external_id: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    /// The click token that the landing page was given (`fpc`).
    token: Option<String>,
    /// The value of the cookie `fp`, where your server sees it.
    cookie: Option<String>,
    /// A partner's code that the person gave.
    partner: Option<String>,
    /// The visitor's IP address, where your server sees it. Only its network (/24 or /48) is kept, for review.
    ip: Option<String>,
    /// What you want to keep with it.
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// When it happened (RFC 3339); now where it is not given.
    at: Option<String>,
}

/// A conversion: a business event of a person. One of `referral`, `external_id`, `email` and `token` says whose.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct NewConversion {
    referral: Option<String>,
    external_id: Option<String>,
    email: Option<String>,
    token: Option<String>,
    /// It counts in this program only.
    program: Option<String>,
    /// Its name; `sale` where none is given.
    event: Option<String>,
    #[schema(inline)]
    #[serde(flatten)]
    money: Option<Money>,
    /// What makes it the same one when it is told again.
    invoice_id: Option<String>,
    at: Option<String>,
}

/// Money that went back. It may come before its conversion.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct NewRefund {
    /// The conversion's.
    invoice_id: String,
    /// Tells several refunds of one invoice apart.
    refund_id: Option<String>,
    /// Minor units of the conversion's currency; all of it where none is given.
    amount: Option<i64>,
    reason: Option<String>,
    at: Option<String>,
}

/// Takes a lead in, and says who is credited for it and why.
#[utoipa::path(post, path = "/v1/leads", tag = "referrals", operation_id = "create_lead", request_body = NewLead,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    responses((status = 201, body = LeadAnswer),
        (status = 409, description = "The key was used for something else", body = Problem, content_type = "application/problem+json"),
        Problems, BodyProblems))]
async fn create_lead(State(state): State<ApiState>, headers: HeaderMap, body: Object) -> Result<Response, Problem> {
    let once = once("leads", &headers, &body)?;
    let told = ToldLead::read(body.0).map_err(Problem::invalid)?;
    answer(state.desk.lead(&told, once.as_ref()).await?)
}

/// Takes a conversion in. One whose person nobody knows yet is kept, and counts when their lead comes.
#[utoipa::path(post, path = "/v1/conversions", tag = "referrals", operation_id = "create_conversion",
    request_body = NewConversion,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    responses((status = 200, description = "This invoice was told before", body = FactAnswer),
        (status = 201, body = FactAnswer),
        (status = 409, description = "Something else was told under this invoice or key", body = Problem,
            content_type = "application/problem+json"),
        Problems, BodyProblems))]
async fn create_conversion(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Object,
) -> Result<Response, Problem> {
    let once = once("conversions", &headers, &body)?;
    let told = ToldConversion::read(body.0, "api").map_err(Problem::invalid)?;
    answer(state.desk.convert(&told, once.as_ref()).await?)
}

/// Takes a refund or a chargeback in: what the conversion has earned is reversed, or made smaller.
#[utoipa::path(post, path = "/v1/refunds", tag = "referrals", operation_id = "create_refund", request_body = NewRefund,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    responses((status = 200, description = "This refund was told before", body = FactAnswer),
        (status = 201, body = FactAnswer),
        (status = 409, description = "Something else was told under this id or key", body = Problem,
            content_type = "application/problem+json"),
        Problems, BodyProblems))]
async fn create_refund(State(state): State<ApiState>, headers: HeaderMap, body: Object) -> Result<Response, Problem> {
    let once = once("refunds", &headers, &body)?;
    let told = ToldRefund::read(body.0).map_err(Problem::invalid)?;
    answer(state.desk.refund(&told, once.as_ref()).await?)
}

/// The request's Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), where it has one.
fn once(scope: &'static str, headers: &HeaderMap, body: &Object) -> Result<Option<Once>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
        let problem = format!("give 1 to {IDEMPOTENCY_KEY_MAX_BYTES} visible characters, for example a UUID");
        return Err(Problem::parameter(vec![Mistake::new("Idempotency-Key", problem)]));
    }
    let digest = told::digest(&serde_json::to_string(&body.0).unwrap_or_default());
    Ok(Some(Once { scope, key: key.to_owned(), digest }))
}

fn answer(answer: Answer) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Problem {
        let detail = error.to_string();
        match error {
            DeskError::Catalog(error) => error.into(),
            DeskError::Conflict { known, .. } => Problem {
                known: Some(known),
                ..Problem::new(StatusCode::CONFLICT, "conflict", "It was told before, and otherwise", detail)
            },
        }
    }
}
