//! `/v1/programs/{code}/page`: how a program's tracking page looks and what it says, and the files that it shows.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::Object,
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        CatalogError, Mistake,
        pages::{PageFile, ProgramPage},
    },
    core::{
        code::Code,
        limits::PAGE_FILE_MAX_BYTES,
        media,
        page::{Design, is_file_name},
    },
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let files = OpenApiRouter::new().routes(routes!(put_file, delete_file));
    OpenApiRouter::new()
        .routes(routes!(get, put, delete))
        .merge(files.layer(DefaultBodyLimit::max(PAGE_FILE_MAX_BYTES)))
}

fn code(text: &str) -> Result<Code, Problem> {
    text.parse().map_err(|_| CatalogError::NotFound { kind: "program", code: text.to_owned() }.into())
}

/// A program's page. One that was never designed is what the defaults make it.
#[utoipa::path(get, path = "/v1/programs/{code}/page", tag = "programs", operation_id = "get_page",
    params(("code" = String, Path)), responses((status = 200, body = ProgramPage), Problems))]
async fn get(State(state): State<ApiState>, Path(program): Path<String>) -> Result<Json<ProgramPage>, Problem> {
    Ok(Json(state.catalog.program_page(&code(&program)?).await?))
}

/// Designs a program's page. What is not given is as the defaults have it.
#[utoipa::path(put, path = "/v1/programs/{code}/page", tag = "programs", operation_id = "put_page",
    params(("code" = String, Path)), request_body = Design,
    responses((status = 200, description = "Replaced", body = ProgramPage), (status = 201, description = "Designed for the first time", body = ProgramPage),
        Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(program): Path<String>, body: Object) -> Result<Response, Problem> {
    let program = code(&program)?;
    let design = state.catalog.read_design(body.0.into()).await?;
    let (page, made) = state.catalog.put_page(&program, &design).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(page)).into_response())
}

/// Takes the design away: the page looks as the defaults have it. Its files stay.
#[utoipa::path(delete, path = "/v1/programs/{code}/page", tag = "programs", operation_id = "delete_page",
    params(("code" = String, Path)), responses((status = 204, description = "Deleted"), Problems))]
async fn delete(State(state): State<ApiState>, Path(program): Path<String>) -> Result<StatusCode, Problem> {
    state.catalog.delete_page(&code(&program)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a picture or a clip where the page may show it: PNG, JPEG, GIF, WebP, MP4 or WebM, at most 512 KiB.
#[utoipa::path(put, path = "/v1/programs/{code}/page/files/{name}", tag = "programs", operation_id = "put_page_file",
    params(("code" = String, Path), ("name" = String, Path, example = "logo.png")),
    request_body(content = Vec<u8>, content_type = "image/png"),
    responses((status = 200, body = PageFile), Problems, BodyProblems))]
async fn put_file(
    State(state): State<ApiState>,
    Path((program, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PageFile>, Problem> {
    let program = code(&program)?;
    if !is_file_name(&name) {
        let problem = "use lower-case letters, digits, `-`, `_` and one ending, like logo.png";
        return Err(Problem::invalid(vec![Mistake::new(
            "name",
            format!("`{name}` cannot be a file's name: {problem}"),
        )]));
    }
    let Some(media_type) = media::media_type(&body) else {
        let told = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing");
        let detail = format!("this is none of {} (it says it is {told}): convert it", media::known());
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", "The file cannot be shown", detail));
    };
    Ok(Json(state.catalog.put_page_file(&program, &name, media_type, &body).await?))
}

/// Takes a file away that the page does not show any more.
#[utoipa::path(delete, path = "/v1/programs/{code}/page/files/{name}", tag = "programs", operation_id = "delete_page_file",
    params(("code" = String, Path), ("name" = String, Path)),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "The page shows it", body = Problem, content_type = "application/problem+json"), Problems))]
async fn delete_file(
    State(state): State<ApiState>,
    Path((program, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    state.catalog.delete_page_file(&code(&program)?, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
