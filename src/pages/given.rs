//! What a request gives beside who is there: its path, its query, its form. Whatever cannot be read is told in words on a page.
//!
//! What somebody has not typed with a browser of today may name a field twice: the first one counts.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use serde::de::{DeserializeOwned, value::MapDeserializer};

use super::fault::{Fault, program_of};

type Pairs = Vec<(String, String)>;

/// The parts of the path that a route names.
pub(super) struct Path<T>(pub(super) T);
/// What stands behind the `?`; what cannot be read of it counts as not said.
pub(super) struct Query<T>(pub(super) T);
/// A form as browsers send it.
pub(super) struct Form<T>(pub(super) T);

/// What a refused body means.
pub(super) fn refused(rejection: impl IntoResponse) -> Fault {
    match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Fault::TooLarge,
        _ => Fault::Malformed,
    }
}

/// Fields of texts. They all have a default, so only their names could be wrong, and unknown ones are left out.
fn read<T: DeserializeOwned>(pairs: Pairs) -> Result<T, Fault> {
    let mut first: Pairs = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        if !first.iter().any(|(known, _)| *known == name) {
            first.push((name, value));
        }
    }
    let fields = MapDeserializer::<_, serde::de::value::Error>::new(first.into_iter());
    T::deserialize(fields).map_err(|_| Fault::Malformed)
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Fault> {
        // What is no text names nothing.
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let path = parts.uri.path();
        let is_program = path.starts_with("/r/") && program_of(path).is_none();
        found.map(|path| Path(path.0)).map_err(|_| if is_program { Fault::Program } else { Fault::NotFound })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequestParts<S> for Query<T> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Self::Rejection> {
        let pairs = axum::extract::Query::<Pairs>::try_from_uri(&parts.uri).map(|query| query.0);
        Ok(Query(pairs.ok().and_then(|pairs| read(pairs).ok()).unwrap_or_default()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Form<T>, Fault> {
        let pairs = axum::Form::<Pairs>::from_request(request, state).await.map_err(refused)?;
        Ok(Form(read(pairs.0)?))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Fields {
        email: String,
        code: String,
    }

    #[test]
    fn the_first_of_two_counts_and_what_nobody_knows_is_left_out() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read: Fields = read(vec![pair("email", "a"), pair("x", "y"), pair("email", "b")]).unwrap();
        assert_eq!(read, Fields { email: "a".to_owned(), code: String::new() });
    }
}
