//! `GET /v1/reports/reach` and `/v1/reports/links`: the same rows as `fingerpost report`, as JSON or (`Accept: text/csv`) CSV.

use std::sync::Arc;

use axum::{
    extract::{FromRef, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    items::parameters,
    problem::{Problem, Problems},
};
use crate::{
    io::clock::Clock,
    report::{
        question::{filter, zone},
        zoned::{self, ZonedError},
    },
    store::{
        Filter, LinksQuery, ReachQuery, Reports,
        question::{self, QuestionError, Words},
        rows::{self, Table},
    },
};

/// The routes; the state holds the event store and the clock.
pub(super) fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<dyn Reports>: FromRef<S>,
    Clock: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(reach)).routes(routes!(links))
}

/// What a report looks at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Question {
    /// A length of time until now (`7d`, `24h`) or a time (`2026-03-01`, `2026-03-01T12:00:00Z`), rounded down to the
    /// hour. Without it: since ever.
    since: Option<String>,
    /// Written as `since`, not included, rounded up to the hour. Without it: until now.
    until: Option<String>,
    /// Of reach only. Dimensions of a row, in order: hour, day, program, link, partner, ad, country, channel, class.
    /// Without it: one row of totals.
    #[param(example = "link,day")]
    by: Option<String>,
    program: Option<String>,
    link: Option<String>,
    partner: Option<String>,
    ad: Option<String>,
    /// `false` leaves unique visitors out (null, an empty cell), which answers at once on any size.
    visitors: Option<bool>,
    /// The time zone in which days begin, by its IANA name; UTC where none is given.
    #[param(example = "Europe/Berlin")]
    tz: Option<String>,
    /// `json` or `csv`, in the place of `Accept`.
    format: Option<String>,
}

/// A row of reach, for the OpenAPI document (`store::rows` writes it). A dimension is there when it was asked for.
#[derive(Serialize, ToSchema)]
struct ReachObject {
    hour: Option<String>,
    day: Option<String>,
    program: Option<String>,
    link: Option<String>,
    partner: Option<String>,
    ad: Option<String>,
    country: Option<String>,
    channel: Option<String>,
    class: Option<String>,
    views: u64,
    clicks: u64,
    shares: u64,
    /// Null when `visitors=false`.
    #[schema(required)]
    unique_visitors: Option<u64>,
    /// Clicks of these hours that were answered but could not be recorded.
    missing: u64,
}

/// A line for each link × partner × ad, for the OpenAPI document.
#[derive(Serialize, ToSchema)]
struct LinkObject {
    link: String,
    /// Empty: nobody was credited.
    partner: String,
    ad: String,
    views: u64,
    clicks: u64,
    shares: u64,
    /// Null when `visitors=false`.
    #[schema(required)]
    unique_visitors: Option<u64>,
    /// Requests of bots, previews, prefetches and the like.
    not_counted: u64,
    /// RFC 3339; empty when there was none.
    last_click: String,
}

/// Views, clicks, shares and unique visitors, by any dimensions.
#[utoipa::path(get, path = "/v1/reports/reach", tag = "reports", params(Question), responses(
    (status = 200, description = "The rows: times ascending, then most clicks first", content(
        (Vec<ReachObject> = "application/json"), (String = "text/csv"))),
    Problems))]
async fn reach(
    State(reports): State<Arc<dyn Reports>>,
    State(clock): State<Clock>,
    headers: HeaderMap,
    asked: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = parameters(asked)?;
    let by = question::dimensions(asked.by.as_deref().unwrap_or_default())?;
    let query = ReachQuery { filter: asked.filter(&clock)?, by, without_visitors: asked.without_visitors() };
    let rows = zoned::reach(&*reports, &query, &zone(asked.tz.as_deref())?).await?;
    answer(&headers, asked.format.as_deref(), &rows::reach(&query.by, &rows))
}

/// The statistics of links: a line for each link × partner × ad, most clicks first.
#[utoipa::path(get, path = "/v1/reports/links", tag = "reports", params(Question), responses(
    (status = 200, description = "The lines", content(
        (Vec<LinkObject> = "application/json"), (String = "text/csv"))),
    Problems))]
async fn links(
    State(reports): State<Arc<dyn Reports>>,
    State(clock): State<Clock>,
    headers: HeaderMap,
    asked: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = parameters(asked)?;
    if asked.by.is_some() {
        let problem = "is a parameter of /v1/reports/reach: links always has a line for each link, partner and ad";
        return Err(QuestionError { field: "by", problem: problem.to_owned() }.into());
    }
    let query = LinksQuery { filter: asked.filter(&clock)?, without_visitors: asked.without_visitors() };
    let lines = reports.links(&query).await?;
    answer(&headers, asked.format.as_deref(), &rows::links(&lines))
}

impl Question {
    fn without_visitors(&self) -> bool {
        self.visitors == Some(false)
    }

    fn filter(&self, clock: &Clock) -> Result<Filter, QuestionError> {
        let words = Words {
            since: self.since.as_deref(),
            until: self.until.as_deref(),
            program: self.program.as_deref(),
            link: self.link.as_deref(),
            partner: self.partner.as_deref(),
            ad: self.ad.as_deref(),
        };
        filter(&words, &zone(self.tz.as_deref())?, clock.now())
    }
}

impl From<ZonedError> for Problem {
    fn from(error: ZonedError) -> Problem {
        match error {
            ZonedError::Question(error) => error.into(),
            ZonedError::Events(error) => error.into(),
        }
    }
}

pub(super) fn answer(headers: &HeaderMap, format: Option<&str>, table: &Table) -> Result<Response, Problem> {
    let mut body = Vec::new();
    let csv = match format.unwrap_or_default() {
        "" => wants_csv(headers),
        "csv" => true,
        "json" => false,
        other => {
            let problem = format!("`{other}` is neither json nor csv");
            return Err(QuestionError { field: "format", problem }.into());
        }
    };
    let (written, kind) = if csv {
        (table.write_csv(&mut body), "text/csv; charset=utf-8")
    } else {
        (table.write_json(&mut body), "application/json")
    };
    written.map_err(|error| Problem::internal(error.to_string()))?;
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("Accept")),
    ];
    Ok((head, body).into_response())
}

/// Whether CSV is named before JSON. Browsers and curl name neither.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .find(|range| matches!(*range, "text/csv" | "application/json"))
        == Some("text/csv")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::event::{Class, Event, Kind},
        store::model::{Model, START},
    };
    use axum::{
        body::Body,
        http::{Request, StatusCode},
    };
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    #[derive(Clone)]
    struct TestState {
        reports: Arc<dyn Reports>,
        clock: Clock,
    }

    impl FromRef<TestState> for Arc<dyn Reports> {
        fn from_ref(state: &TestState) -> Self {
            Arc::clone(&state.reports)
        }
    }

    impl FromRef<TestState> for Clock {
        fn from_ref(state: &TestState) -> Self {
            state.clock.clone()
        }
    }

    fn get(address: &str, accept: &str) -> (StatusCode, String, String) {
        let click = Event {
            kind: Kind::Click as i32,
            class: Class::Human as i32,
            time_ms: START.0,
            link: "haircare".to_owned(),
            partner: "abc123".to_owned(),
            visitor: vec![1; 16],
            ..Event::default()
        };
        let state =
            TestState { reports: Arc::new(Model::new(vec![click])), clock: Clock::manual(START.plus(3_600_000)) };
        let (router, _) = routes::<TestState>().split_for_parts();
        let request = Request::get(address).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let response = router.with_state(state).oneshot(request).await.unwrap();
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, kind, String::from_utf8(body.into()).unwrap())
        })
    }

    #[test]
    fn json_and_csv_have_the_same_rows() {
        let (status, kind, body) = get("/v1/reports/reach?since=7d&by=link,day", "*/*");
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected = serde_json::json!([{
            "link": "haircare", "day": "2026-03-01T00:00:00.000Z", "views": 0, "clicks": 1, "shares": 0,
            "unique_visitors": 1, "missing": 0,
        }]);
        assert_eq!(json, expected);
        let (_, kind, body) = get("/v1/reports/links?link=HairCare", "text/csv;q=0.9, application/json;q=0.1");
        assert_eq!(kind, "text/csv; charset=utf-8");
        insta::assert_snapshot!(body, @r"
        link,partner,ad,views,clicks,shares,unique_visitors,not_counted,last_click
        haircare,abc123,,0,1,0,1,0,2026-03-01T00:00:00.000Z
        ");
        assert_eq!(get("/v1/reports/links?until=2h", "*/*").2, "[]\n");
        assert_eq!(get("/v1/reports/links?link=haircare&format=csv", "*/*").2, body);
        let (_, _, abroad) =
            get("/v1/reports/reach?since=2026-03-01&by=day&visitors=false&tz=Europe/Berlin&format=csv", "*/*");
        assert!(abroad.contains("2026-03-01T00:00:00.000+01:00"), "{abroad}");
    }

    #[test]
    fn visitors_that_nobody_asked_for_are_null_and_not_none() {
        for report in ["reach", "links"] {
            let address = format!("/v1/reports/{report}?visitors=false");
            let rows: serde_json::Value = serde_json::from_str(&get(&address, "*/*").2).unwrap();
            assert_eq!(
                (&rows[0]["clicks"], rows[0].get("unique_visitors")),
                (&1.into(), Some(&serde_json::Value::Null))
            );
        }
        insta::assert_snapshot!(get("/v1/reports/links?visitors=false", "text/csv").2, @r"
        link,partner,ad,views,clicks,shares,unique_visitors,not_counted,last_click
        haircare,abc123,,0,1,0,,0,2026-03-01T00:00:00.000Z
        ");
        let counted = get("/v1/reports/links?visitors=true", "*/*").2;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&counted).unwrap()[0]["unique_visitors"], 1);
    }

    #[test]
    fn a_wrong_question_names_the_field_and_the_mend() {
        for (address, field, part) in [
            ("/v1/reports/reach?by=week", Some("by"), "choose from hour, day"),
            ("/v1/reports/reach?since=soon", Some("since"), "2026-03-01"),
            ("/v1/reports/reach?link=a%20b", Some("link"), "only letters"),
            ("/v1/reports/links?by=day", Some("by"), "/v1/reports/reach"),
            ("/v1/reports/reach?lnik=x", Some("lnik"), "lnik"),
            ("/v1/reports/reach?tz=Berlin", Some("tz"), "Europe/Berlin"),
            ("/v1/reports/reach?by=day&tz=Europe/Berlin", Some("tz"), "visitors=false"),
            ("/v1/reports/links?format=xml", Some("format"), "json nor csv"),
        ] {
            let (status, kind, body) = get(address, "*/*");
            assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, "application/problem+json"), "{address}");
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["errors"][0]["field"].as_str(), field, "{address}");
            assert!(problem["detail"].as_str().unwrap().contains(part), "{address}: {body}");
        }
    }

    #[test]
    fn the_openapi_document_knows_both() {
        let (_, api) = routes::<TestState>().split_for_parts();
        let json = serde_json::to_value(&api).unwrap();
        let row = &json["components"]["schemas"]["LinkObject"];
        assert_eq!(row["properties"]["unique_visitors"]["type"], serde_json::json!(["integer", "null"]));
        assert!(row["required"].as_array().unwrap().contains(&"unique_visitors".into()));
        let parameters = json["paths"]["/v1/reports/reach"]["get"]["parameters"].as_array().unwrap();
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let expected = ["since", "until", "by", "program", "link", "partner", "ad", "visitors", "tz", "format"];
        assert_eq!(names, expected);
        assert!(json["paths"]["/v1/reports/links"]["get"]["responses"]["200"]["content"]["text/csv"].is_object());
    }
}
