//! The page as a program's design makes it, with the figures of nobody: for whoever designs it. What it shows cannot be sent.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

use super::{
    super::{PagesState, fault::Fault, visit::Visit},
    enter,
    place::Place,
    stats,
};

/// One step of the page: `email`, `code` or `stats`. It may be shown in a frame of our own, and sends no form.
pub(in super::super) async fn preview(
    state: &PagesState,
    visit: &Visit,
    program: &str,
    step: &str,
) -> Result<Response, Fault> {
    let place = Place::find(state, program).await?;
    let mut response = match step {
        "email" => enter::email_page(&place, visit, "", None, "")?,
        "code" => enter::code_page(&place, visit, "", None, false)?,
        "stats" => stats::example(state, visit, &place)?,
        _ => return Err(Fault::NotFound),
    };
    let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let policy = policy.and_then(|policy| policy.rsplit_once("frame-ancestors")).map(|(before, _)| before);
    let policy = format!("{}frame-ancestors 'self'; sandbox allow-scripts", policy.unwrap_or("default-src 'none'; "));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}
