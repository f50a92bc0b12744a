//! The API as its users see it: requests in, answers out, over a catalog of its own for each test.

use arc_swap::ArcSwap;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    core::{
        code::Code,
        event::Event,
        key::{Key, KeyRing},
    },
    io::clock::Clock,
    store::{
        Arrived, BoxFuture, CreditedClick, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery, ReachRow,
        ReportError, TouchQuery,
    },
};

/// Reports that nobody asks here.
struct NoReports;

fn away<T>() -> BoxFuture<'static, Result<T, ReportError>> {
    Box::pin(async { Err(ReportError::Unavailable("there is no event store in this test".to_owned())) })
}

impl Reports for NoReports {
    fn reach<'a>(&'a self, _: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        away()
    }
    fn links<'a>(&'a self, _: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        away()
    }
    fn events<'a>(
        &'a self,
        _: &'a Filter,
        _: Option<EventCursor>,
        _: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        away()
    }
    fn link_clicks<'a>(&'a self, _: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        away()
    }
    fn touches<'a>(&'a self, _: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        away()
    }
    fn arrived<'a>(&'a self, _: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        away()
    }
}

/// Over a catalog, without reports.
fn state(catalog: Catalog) -> ApiState {
    let settings = crate::config::load(None, [], None).unwrap().webhooks;
    let guard = Arc::new(crate::outbox::Guard::new(Vec::new()));
    let tester = crate::outbox::Tester::new(&settings, Arc::clone(&guard), catalog.clone(), Clock::System).unwrap();
    let webhooks = Webhooks { guard, tester, secret_overlap: settings.secret_overlap };
    let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
    let desk = Desk::new(catalog.clone(), Arc::new(ArcSwap::from_pointee(keys)), Clock::System);
    let keeper = Arc::new(crate::store::sqlite::SqliteKeeper::new("events.db".as_ref(), Clock::System));
    let persons = Persons { keeper, late_events: std::time::Duration::ZERO };
    ApiState {
        catalog,
        reports: Arc::new(NoReports),
        clock: Clock::System,
        desk,
        webhooks,
        persons,
        form_limiter: Arc::new(Limiter::new(30)),
    }
}

struct Api {
    folder: tempfile::TempDir,
    router: Router,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    json: Value,
}

impl Answer {
    /// The fields that are wrong.
    fn fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }
}

impl Api {
    async fn new() -> Api {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, true, Clock::System).await.unwrap();
        let file = folder.path().join("admin-token");
        catalog.ensure_admin_token(&file).await.unwrap();
        let token = std::fs::read_to_string(file).unwrap().trim().to_owned();
        let router = router(state(catalog));
        Api { folder, router, token }
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.token))
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{status}");
            assert_eq!(json["status"], status.as_u16());
            for member in ["type", "title", "detail"] {
                assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member} is missing in {json}");
            }
        }
        Answer { status, headers, json }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn spring(&self) {
        for (path, body) in [
            ("/v1/programs/spring", json!({})),
            ("/v1/links/haircare", json!({"address": "https://shop.example/haircare"})),
            ("/v1/partners/abc123", json!({"programs": ["spring"]})),
            ("/v1/partners/abc123/ads/website2", json!({"name": "Web site"})),
        ] {
            assert_eq!(self.put(path, body).await.status, StatusCode::CREATED, "{path}");
        }
    }
}

#[tokio::test]
async fn items_are_created_replaced_read_and_deleted() {
    let api = Api::new().await;
    api.spring().await;
    for (path, change) in [
        ("/v1/programs/spring", json!({"name": "Spring"})),
        ("/v1/links/HAIRCARE", json!({"name": "Hair", "address": "https://shop.example/h"})),
        ("/v1/partners/abc123", json!({"name": "Ann"})),
        ("/v1/partners/abc123/ads/website2", json!({"name": "Site"})),
    ] {
        let put = api.put(path, change.clone()).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.json);
        let got = api.get(path).await;
        assert_eq!((got.status, &got.json), (StatusCode::OK, &put.json));
        assert_eq!(got.json["name"], change["name"]);
        assert_eq!(api.put(path, got.json).await.status, StatusCode::OK, "what GET answers can be sent back");
    }
    for path in ["/v1/partners/abc123/ads/website2", "/v1/partners/abc123", "/v1/links/haircare", "/v1/programs/spring"]
    {
        assert_eq!(api.call(Method::DELETE, path, None).await.status, StatusCode::NO_CONTENT);
        assert_eq!(api.get(path).await.status, StatusCode::NOT_FOUND);
        assert_eq!(api.call(Method::DELETE, path, None).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn share_links_are_made_once() {
    let api = Api::new().await;
    api.spring().await;
    let wanted = json!({"link": "haircare", "partner": "abc123", "ad": "website2"});
    let made = api.call(Method::POST, "/v1/share-links", Some(wanted.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = made.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(path, format!("/v1/share-links/{}", made.json["slug"].as_str().unwrap()));
    let again = api.call(Method::POST, "/v1/share-links", Some(wanted)).await;
    assert_eq!((again.status, &again.json), (StatusCode::OK, &made.json));
    assert_eq!(api.get(&path).await.json, made.json);
    assert_eq!(api.get("/v1/share-links?link=haircare&ad=website2").await.json["items"], json!([made.json]));
    assert_eq!(api.get("/v1/share-links?partner=other").await.json["items"], json!([]));

    let named = json!({"slug": "hair", "link": "haircare", "partner": "abc123"});
    assert_eq!(api.call(Method::POST, "/v1/share-links", Some(named)).await.status, StatusCode::CREATED);
    let taken = json!({"slug": "hair", "link": "haircare", "partner": "abc123", "ad": "website2"});
    assert_eq!(api.call(Method::POST, "/v1/share-links", Some(taken)).await.status, StatusCode::CONFLICT);

    let in_use = api.call(Method::DELETE, "/v1/links/haircare", None).await;
    assert_eq!(in_use.status, StatusCode::CONFLICT);
    assert!(in_use.json["detail"].as_str().unwrap().contains("hair"), "{}", in_use.json);
    assert_eq!(api.call(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    let with_all = api.call(Method::DELETE, "/v1/links/haircare?cascade=true", None).await;
    assert_eq!(with_all.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get("/v1/share-links/hair").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn mistakes_name_their_fields() {
    let api = Api::new().await;
    let answer = api.put("/v1/links/a%20b", json!({"address": "ftp://x", "max_clicks": -1, "colour": "red"})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.fields(), ["code", "address", "max_clicks", "colour"]);
    assert_eq!(answer.json["type"], "urn:fingerpost:problem:invalid");
    let other = api.put("/v1/links/one", json!({"code": "two", "address": "https://a.example"})).await;
    assert_eq!((other.status, other.fields()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["code"]));
    let reference = api.put("/v1/links/one", json!({"address": "https://a.example", "partner": "nobody"})).await;
    assert_eq!((reference.status, reference.fields()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["partner"]));
    for (path, field) in [
        ("/v1/links?limit=0", "limit"),
        ("/v1/links?limit=1001", "limit"),
        ("/v1/links?limit=ten", "limit"),
        ("/v1/links?cursor=%21", "cursor"),
    ] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec![field]), "{path}");
    }
    let unknown = api.get("/v1/links?serach=x").await;
    assert!(
        unknown.status == StatusCode::BAD_REQUEST && unknown.json.to_string().contains("serach"),
        "{}",
        unknown.json
    );
}

#[tokio::test]
async fn every_refusal_is_a_problem_of_its_status() {
    let api = Api::new().await;
    let json_request = |body: Body| {
        api.request(Method::PUT, "/v1/links/x").header("content-type", "application/json").body(body).unwrap()
    };
    let bad = api.send(json_request(Body::from("{\n  \"address\": nope\n}"))).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.json["detail"].as_str().unwrap().starts_with("line 2, column 15"), "{}", bad.json);
    assert_eq!(api.send(json_request(Body::from("[]"))).await.status, StatusCode::BAD_REQUEST);
    let large = Body::from(vec![b' '; API_BODY_MAX_BYTES + 1]);
    assert_eq!(api.send(json_request(large)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let form = api.request(Method::PUT, "/v1/links/x").body(Body::from("a=b")).unwrap();
    assert_eq!(api.send(form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let method = api.call(Method::POST, "/v1/links/x", None).await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    let allow = method.headers[header::ALLOW].to_str().unwrap();
    for allowed in ["GET", "PUT", "DELETE"] {
        assert!(allow.contains(allowed), "{allow}");
    }
    assert_eq!(api.get("/v2/links").await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/v1/links/%FF").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/v1/partners/nobody/ads").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let api = Api::new().await;
    let cut = &api.token[..api.token.len() - 1];
    for authorization in
        [None, Some("Bearer fp_wrong".to_owned()), Some(format!("Basic {}", api.token)), Some(format!("Bearer {cut}"))]
    {
        for (method, path) in [
            (Method::GET, "/v1/links"),
            (Method::PUT, "/v1/links/x"),
            (Method::DELETE, "/v1/links/x"),
            (Method::POST, "/v1/share-links"),
        ] {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {authorization:?}");
            assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
        }
    }
    let lower_case = Request::builder().uri("/v1/links").header("authorization", format!("bearer {}", api.token));
    assert_eq!(api.send(lower_case.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn lists_are_walked_by_their_cursor() {
    let api = Api::new().await;
    for n in 0..7 {
        let name = if n < 2 { "Red" } else { "Blue" };
        api.put(&format!("/v1/links/l{n}"), json!({"name": name, "address": "https://a.example"})).await;
    }
    let (mut codes, mut path) = (Vec::new(), "/v1/links?limit=3".to_owned());
    loop {
        let page = api.get(&path).await.json;
        codes.extend(page["items"].as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/links?limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(codes, ["l0", "l1", "l2", "l3", "l4", "l5", "l6"]);
    assert_eq!(api.get("/v1/links?search=red").await.json["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_catalog_that_is_away_is_a_503() {
    let api = Api::new().await;
    let url = format!("sqlite:{}", api.folder.path().join("gone.db").display());
    let catalog = Catalog::new(&url, false, Clock::System).unwrap();
    let gone = Api { router: router(state(catalog)), ..api };
    let answer = gone.get("/v1/links").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn the_description_is_public_and_names_every_route() {
    let api = Api::new().await;
    let request = Request::builder().uri("/v1/openapi.json").body(Body::empty()).unwrap();
    let document = api.send(request).await;
    assert_eq!(document.status, StatusCode::OK);
    let document = document.json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(format!("{} {path}", method.to_uppercase()));
            assert!(operation["operationId"].is_string(), "{method} {path}");
        }
    }
    operations.sort();
    let mut expected = vec!["GET /v1/openapi.json".to_owned(), "POST /v1/share-links".to_owned()];
    for list in ["programs", "links", "partners", "share-links", "partners/{partner}/ads"] {
        expected.push(format!("GET /v1/{list}"));
    }
    for item in ["programs/{code}", "links/{code}", "partners/{code}", "partners/{partner}/ads/{code}"] {
        expected.extend(["GET", "PUT", "DELETE"].map(|method| format!("{method} /v1/{item}")));
    }
    expected.extend(["GET", "DELETE"].map(|method| format!("{method} /v1/share-links/{{slug}}")));
    expected.extend(["GET", "POST"].map(|method| format!("{method} /v1/webhooks")));
    expected.extend(["GET", "PUT", "DELETE"].map(|method| format!("{method} /v1/webhooks/{{id}}")));
    expected.extend(["rotate-secret", "test", "replay"].map(|verb| format!("POST /v1/webhooks/{{id}}/{verb}")));
    expected.push("GET /v1/webhooks/{id}/deliveries".to_owned());
    for operation in &expected {
        assert!(operations.contains(operation), "{operation} is not described");
    }
    // Every operation that is described exists: it is not answered with 404 for want of a route, or 405.
    for operation in &operations {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{code}", "x").replace("{partner}", "x").replace("{slug}", "x").replace("{id}", "x");
        let answer = api.call(method.parse().unwrap(), &path, None).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{operation}");
        assert_ne!(answer.json["type"], "urn:fingerpost:problem:no_route", "{operation}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}
