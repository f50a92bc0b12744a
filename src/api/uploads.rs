//! `/v1/uploads`: files of facts (CSV), worked off in the background.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::parameters,
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        Mistake, Page,
        sheet::{REASON, neutralise},
        uploads::{RefusedLine, Upload, UploadKind},
    },
    core::limits::UPLOAD_MAX_BYTES,
    referral::upload,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .layer(DefaultBodyLimit::max(UPLOAD_MAX_BYTES))
        .routes(routes!(get, delete))
        .routes(routes!(refused))
}

/// What a file tells.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NewUpload {
    /// `leads` or `conversions`.
    #[param(value_type = UploadKind)]
    kind: Option<String>,
}

/// Files, the newest first.
#[utoipa::path(get, path = "/v1/uploads", tag = "uploads", operation_id = "list_uploads",
    responses((status = 200, body = Page<Upload>), Problems))]
async fn list(State(state): State<ApiState>) -> Result<Json<Page<Upload>>, Problem> {
    Ok(Json(state.catalog.uploads().await?))
}

/// Takes a file: CSV with the API's fields as columns. It is kept, and worked off in the background.
#[utoipa::path(post, path = "/v1/uploads", tag = "uploads", operation_id = "create_upload", params(NewUpload),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "Kept", body = Upload), Problems, BodyProblems))]
async fn create(
    State(state): State<ApiState>,
    query: Result<Query<NewUpload>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = parameters(query)?.kind;
    let kind = kind.as_deref().and_then(UploadKind::from_word).ok_or_else(|| {
        let problem = format!("says what the file tells: use one of {}", UploadKind::WORDS.join(", "));
        Problem::parameter(vec![Mistake::new("kind", problem)])
    })?;
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/csv") {
        let detail = format!("`{essence}` is not taken here: send `Content-Type: text/csv`");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", "The body is not CSV", detail));
    }
    let wrong = |mistake: Mistake| Problem::invalid(vec![mistake]);
    let file = std::str::from_utf8(&body).map_err(|error| {
        wrong(Mistake::new("body", format!("is not UTF-8 at byte {}: save the file as UTF-8", error.valid_up_to())))
    })?;
    if file.contains('\0') {
        return Err(wrong(Mistake::new("body", "holds a NUL: this is no CSV, or not in UTF-8")));
    }
    let upload::Beginning { header, position, line } = upload::begin(kind, file).map_err(wrong)?;
    let created = state.catalog.create_upload(kind, &header, file, (position, line)).await?;
    let location = HeaderValue::from_str(&format!("/v1/uploads/{}", created.id));
    let mut response = (StatusCode::ACCEPTED, Json(created)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// One file, and how far it is.
#[utoipa::path(get, path = "/v1/uploads/{id}", tag = "uploads", operation_id = "get_upload", params(("id" = String, Path)),
    responses((status = 200, body = Upload), Problems))]
async fn get(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Upload>, Problem> {
    Ok(Json(state.catalog.upload(&id).await?))
}

/// Forgets a file, with its refused lines. What it told stays; lines that are not worked off yet never are.
#[utoipa::path(delete, path = "/v1/uploads/{id}", tag = "uploads", operation_id = "delete_upload",
    params(("id" = String, Path)), responses((status = 204, description = "Deleted"), Problems))]
async fn delete(State(state): State<ApiState>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    state.catalog.delete_upload(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The lines that were refused, each with its reason, as CSV: mend them and upload that file.
#[utoipa::path(get, path = "/v1/uploads/{id}/refused", tag = "uploads", operation_id = "get_refused_lines",
    params(("id" = String, Path)), responses((status = 200, body = String, content_type = "text/csv"), Problems))]
async fn refused(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (columns, lines) = state.catalog.refused_lines(&id).await?;
    let csv = sheet(&columns, &lines).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response())
}

/// The file of these lines. No cell is one that a spreadsheet would run; the import takes away what was put before it.
fn sheet(columns: &[String], lines: &[RefusedLine]) -> Result<Vec<u8>, csv::Error> {
    let reasons = columns.iter().position(|name| name == REASON);
    let mut sheet = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let names = columns.iter().map(String::as_str).filter(|name| *name != REASON).chain([REASON]);
    sheet.write_record(names)?;
    for RefusedLine { line, reason, cells } in lines {
        let kept = cells.iter().enumerate().filter(|(at, _)| Some(*at) != reasons).map(|(_, cell)| cell);
        let reason = format!("line {line}: {reason}");
        // What was given neutralised comes back as it was.
        let written = |cell: &String| neutralise(crate::catalog::sheet::restore(cell)).into_owned();
        sheet.write_record(kept.map(written).chain([neutralise(&reason).into_owned()]))?;
    }
    sheet.into_inner().map_err(|error| error.into_error().into())
}
