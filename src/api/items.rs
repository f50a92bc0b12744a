//! What the resources have in common: reading a body, the four operations, the parameters of a list.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Query, Request, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ApiState, Problem};
use crate::{
    catalog::{Entity, ListQuery, Mistake, Page, entity},
    core::{
        code::Code,
        limits::{API_BODY_MAX_BYTES, PAGE_DEFAULT_ROWS, PAGE_MAX_ROWS},
    },
};

/// A body that is one JSON object.
#[derive(Debug)]
pub(super) struct Object(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Object, Problem> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = format!("`{essence}` is not taken here: send `Content-Type: application/json`");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", "The body is not JSON", detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let detail = format!("the body has more than {API_BODY_MAX_BYTES} bytes: send less, or use the import");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "body", "The body did not arrive", rejection.to_string())
            }
        })?;
        let json =
            |detail: String| Problem::new(StatusCode::BAD_REQUEST, "json", "The body is not a JSON object", detail);
        match serde_json::from_slice(&body) {
            Ok(Value::Object(object)) => Ok(Object(object)),
            Ok(_) => Err(json("send one object, `{…}`".to_owned())),
            Err(error) => Err(json(format!("line {}, column {}: {error}", error.line(), error.column()))),
        }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Part of a code, a name, an address …, in any case.
    pub(super) search: Option<String>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
    /// Items of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: Option<u32>,
}

/// How an item is deleted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteParameters {
    /// Delete its share links, and a partner's ads, as well.
    #[serde(default)]
    pub(super) cascade: bool,
}

/// The parameters of a query, or what is wrong with them.
pub(super) fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(parameters)| parameters).map_err(|rejection| {
        let text = rejection.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        let (field, problem) = text.split_once(": ").unwrap_or(("query", text));
        Problem::parameter(vec![Mistake::new(field, problem)])
    })
}

impl ListParameters {
    pub(super) fn query(self, only: Vec<(&'static str, String)>) -> Result<ListQuery, Problem> {
        let ListParameters { search, cursor, limit } = self;
        let limit = limit.unwrap_or(PAGE_DEFAULT_ROWS);
        if !(1..=PAGE_MAX_ROWS).contains(&limit) {
            let problem = format!("{limit} is not a number from 1 to {PAGE_MAX_ROWS}");
            return Err(Problem::parameter(vec![Mistake::new("limit", problem)]));
        }
        Ok(ListQuery { search, cursor, limit: Some(limit), only })
    }
}

pub(super) async fn list<T: Entity>(
    state: &ApiState,
    parameters: ListParameters,
    only: Vec<(&'static str, String)>,
) -> Result<Json<Page<T>>, Problem> {
    Ok(Json(state.catalog.list(&parameters.query(only)?).await?))
}

/// The codes of a path; one that cannot be a code names nothing.
fn key<T: Entity>(parts: &[&str]) -> Result<Vec<Code>, Problem> {
    parts
        .iter()
        .map(|part| part.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| crate::catalog::CatalogError::NotFound { kind: T::KIND.label(), code: parts.join("/") }.into())
}

pub(super) async fn get<T: Entity>(state: &ApiState, parts: &[&str]) -> Result<Json<T>, Problem> {
    let key = key::<T>(parts)?;
    let key: Vec<&str> = key.iter().map(Code::as_str).collect();
    Ok(Json(state.catalog.get(&key).await?))
}

pub(super) async fn delete<T: Entity>(state: &ApiState, parts: &[&str], cascade: bool) -> Result<StatusCode, Problem> {
    let key = key::<T>(parts)?;
    let key: Vec<&str> = key.iter().map(Code::as_str).collect();
    state.catalog.delete::<T>(&key, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates or replaces the item that the path names. The body may name it as well, but no other.
pub(super) async fn put<T: Entity>(state: &ApiState, parts: &[&str], mut body: Object) -> Result<Response, Problem> {
    let mut mistakes = Vec::new();
    for (field, part) in T::KEY.iter().zip(parts) {
        let named = body.0.insert((*field).to_owned(), Value::from(*part));
        match named.unwrap_or_default() {
            Value::Null => {}
            Value::String(named) if named.eq_ignore_ascii_case(part) => {}
            other => mistakes.push(Mistake::new(
                *field,
                format!("{other} is not the `{part}` of the address: leave the field out, or send it there"),
            )),
        }
    }
    match entity::from_json::<T>(body.0) {
        Ok(item) if mistakes.is_empty() => {
            let (item, created) = state.catalog.put(item).await?;
            Ok(stored(&item, created, None))
        }
        Ok(_) => Err(Problem::invalid(mistakes)),
        Err(others) => {
            mistakes.extend(others);
            Err(Problem::invalid(mistakes))
        }
    }
}

/// 201 with the new item's address, or 200.
pub(super) fn stored<T: Entity>(item: &T, created: bool, location: Option<&str>) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, Json(item)).into_response();
    if let Some(location) = location.filter(|_| created).and_then(|location| HeaderValue::from_str(location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
