//! `--demo`: a small catalog in an empty installation, and addresses to try.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::addresses::Addresses;
use crate::catalog::{Ad, Catalog, Entity, Link, ListQuery, Partner, Program, ShareLink, entity};

const PROGRAM: &str = "spring";
const LINK: &str = "haircare";
const PARTNER: &str = "abc123";
const AD: &str = "website2";
const MAIL: &str = "jane@example.com";
const SLUG: &str = "demo";

/// Fills a catalog that has no link yet.
pub(super) async fn fill(catalog: &Catalog) -> anyhow::Result<()> {
    if !catalog.list::<Link>(&ListQuery { limit: Some(1), ..ListQuery::default() }).await?.items.is_empty() {
        return Ok(());
    }
    let preview = json!({ "title": "Care for every kind of hair", "description": "What Jane uses herself." });
    put::<Program>(catalog, json!({ "code": PROGRAM, "name": "Spring", "preview": preview })).await?;
    put::<Partner>(
        catalog,
        json!({
            "code": PARTNER, "name": "Jane's Hair Blog", "first_name": "Jane", "email": MAIL, "programs": [PROGRAM],
        }),
    )
    .await?;
    let address = "https://shop.example/haircare";
    put::<Link>(catalog, json!({ "code": LINK, "name": "Hair care", "address": address, "programs": [PROGRAM] }))
        .await?;
    let ad = json!({ "partner": PARTNER, "code": AD, "name": "Side bar", "media_type": "banner" });
    put::<Ad>(catalog, ad).await?;
    put::<ShareLink>(catalog, json!({ "slug": SLUG, "link": LINK, "partner": PARTNER, "ad": AD })).await
}

async fn put<T: Entity>(catalog: &Catalog, item: Value) -> anyhow::Result<()> {
    let Value::Object(fields) = item else { return Err(anyhow!("the demo's items are objects")) };
    let item: T = entity::from_json(fields).map_err(|mistakes| {
        anyhow!(
            "{}",
            mistakes
                .iter()
                .map(|mistake| format!("{}: {}", mistake.field, mistake.problem))
                .collect::<Vec<_>>()
                .join("; ")
        )
    })?;
    catalog.put(item).await.map(drop).context("the demo's catalog cannot be written")
}

/// What to try, on standard output.
pub(super) fn print(data: &Path, addresses: &Addresses) {
    let Some(edge) = addresses.edge.first().or(addresses.edge_tls.first()) else { return };
    let scheme = if addresses.edge.is_empty() { "https" } else { "http" };
    // 0.0.0.0 is where we listen; here is where to go.
    let host = if edge.ip().is_unspecified() { format!("localhost:{}", edge.port()) } else { edge.to_string() };
    // Browsers keep the dashboard's cookie on `localhost`.
    let dashboard = format!("localhost:{}", addresses.control.port());
    let (control, ops) = (addresses.control, addresses.ops);
    let token = std::fs::read_to_string(data.join("admin-token")).unwrap_or_default();
    let token = token.trim();
    let data = data.display();
    // As it was started, so that the lines can be copied: `cargo run` puts it on no PATH.
    let program = std::env::args().next().unwrap_or_else(|| "fingerpost".to_owned());
    println!(
        "\nFingerpost is ready. Click a link of the demo:

  curl -i {scheme}://{host}/go/{LINK}/{PARTNER}/{AD}   (link, partner who is credited, ad)
  curl -i {scheme}://{host}/{SLUG}   (the same as a share link; /{SLUG}+ shows where it leads)
  curl -i -A WhatsApp/2 {scheme}://{host}/{SLUG}   (what a chat shows of it)

See it counted:

  {program} report links --data {data}
  {program} report reach --by day,link --since 7d --data {data}
  {program} export events --data {data}
  curl -H 'Authorization: Bearer {token}' http://{control}/v1/reports/links

See it as people do (Jane's address is {MAIL}; the code that is mailed to her is a file in {data}/mails):

  {scheme}://{host}/r/{PROGRAM}   (her tracking page)
  {scheme}://{host}/partner   (her partner center)
  http://{dashboard}/dashboard   (yours: log in with the token {token})

Change something (live within a second):

  curl -X PUT -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
       -d '{{\"name\": \"Shoes\", \"address\": \"https://shop.example/shoes\"}}' http://{control}/v1/links/shoes

The API's token is in {data}/admin-token; its description at http://{control}/v1/openapi.json.
Health and metrics: http://{ops}/readyz and http://{ops}/metrics. Stop with Ctrl-C.
"
    );
}
