//! Items by forms: added, changed, deleted; mistakes; what else a program has.

use serde_json::{Value, json};

use crate::{
    Business,
    support::{Operator, eventually, operator::escaped},
};

/// Names and values of a form.
type Fields = &'static [(&'static str, &'static str)];

#[test]
fn each_kind_is_added_changed_and_deleted() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let made: &[(&str, Fields, &str)] = &[
        ("programs", &[("code", "autumn"), ("name", "Autumn"), ("window_days", "30")], "/dashboard/programs/autumn"),
        (
            "links",
            &[("code", "SunCare"), ("address", "https://shop.example/sun"), ("programs", "autumn; spring")],
            "/dashboard/links/suncare",
        ),
        (
            "partners",
            &[("code", "joe"), ("name", "Joe"), ("email", "joe@home.example"), ("parent", "abc123")],
            "/dashboard/partners/joe",
        ),
        ("ads", &[("code", "banner"), ("partner", "joe"), ("start_date", "2026-03-01")], "/dashboard/ads/joe/banner"),
        (
            "share-links",
            &[("slug", "sunny"), ("link", "suncare"), ("partner", "joe"), ("ad", "banner")],
            "/dashboard/share-links/sunny",
        ),
    ];
    for (kind, fields, address) in made {
        let answer = operator.submit(&format!("/dashboard/add/{kind}"), fields);
        let to = format!("{address}?done=saved");
        assert_eq!((answer.status, answer.header("location")), (303, Some(to.as_str())), "{}", answer.text());
        let page = operator.page(&to);
        assert!(page.contains("Saved.") && page.contains(fields[1].1), "{page}");
        let list = operator.page(&format!("/dashboard/{kind}?search={}", fields[0].1));
        assert!(list.contains(&format!("href=\"{address}\"")), "{list}");
        // The same again is a mistake, but for a share link, which is what it was.
        let again = operator.submit(&format!("/dashboard/add/{kind}"), fields);
        if *kind == "share-links" {
            assert_eq!(again.header("location"), Some("/dashboard/share-links/sunny?done=known"));
        } else {
            assert!(again.status == 422 && again.text().contains("is taken"), "{}", again.text());
        }
    }
    let link = business.ok("GET", "/v1/links/suncare", &Value::Null);
    assert_eq!(
        (&link["programs"], &link["address"]),
        (&json!(["autumn", "spring"]), &json!("https://shop.example/sun"))
    );

    // Changed: what the form has is all there is; the key is the address's.
    let rules = "[{\"address\": \"https://shop.example/de\", \"when\": {\"country\": [\"DE\"]}}]";
    let fields = [("code", "other"), ("address", "https://shop.example/sun2"), ("rules", rules)];
    let answer = operator.submit("/dashboard/links/suncare", &fields);
    if answer.status != 303 {
        // Rules have the API's form, whatever it is: here it is the reader's word that counts.
        assert!(answer.text().contains("rules"), "{}", answer.text());
        assert_eq!(operator.submit("/dashboard/links/suncare", &fields[..2]).status, 303);
    }
    let link = business.ok("GET", "/v1/links/suncare", &Value::Null);
    assert_eq!((&link["programs"], &link["address"]), (&json!([]), &json!("https://shop.example/sun2")));
    assert_eq!(business.call("GET", "/v1/links/other", &Value::Null).status, 404);
    assert_eq!(operator.submit("/dashboard/share-links/sunny", &[("link", "haircare")]).status, 405);

    // What is in use says by whom, and goes with what hangs on it where that is wished for.
    let asked = operator.page("/dashboard/delete/partners/joe");
    assert!(asked.contains("Delete joe?"));
    let refused = operator.submit("/dashboard/delete/partners/joe", &[]);
    assert!(refused.status == 409 && refused.text().contains("sunny"), "{}", refused.text());
    assert_eq!(operator.submit("/dashboard/delete/partners/joe", &[("along", "1")]).status, 303);
    assert_eq!(business.call("GET", "/v1/share-links/sunny", &Value::Null).status, 404);
    assert_eq!(operator.submit("/dashboard/delete/links/suncare", &[]).status, 303);
    assert_eq!(
        operator.submit("/dashboard/delete/programs/autumn", &[]).header("location"),
        Some("/dashboard/programs?done=deleted")
    );
    assert_eq!(operator.get("/dashboard/programs/autumn").status, 404);
}

#[test]
fn a_mistake_is_told_at_its_field_and_what_was_typed_stays() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let rewards = "[{\"code\": \"x\", \"to\": \"everybody\"}]";
    let fields = [
        ("code", "a b"),
        ("name", "Kept <as typed>"),
        ("window_days", "100000"),
        ("domain", "127.0.0.1"),
        ("qualification", "{not json"),
        ("rewards", rewards),
    ];
    let answer = operator.submit("/dashboard/add/programs", &fields);
    let page = answer.text();
    assert_eq!(answer.status, 422);
    for field in ["code", "window_days", "domain", "qualification", "rewards"] {
        assert!(page.contains(&format!("id=\"{field}-problem\"")), "{field} is not marked: {page}");
    }
    assert!(!page.contains("id=\"name-problem\"") && page.contains("5 fields need mending"), "{page}");
    for typed in ["Kept <as typed>", "100000", "127.0.0.1", "{not json", "everybody"] {
        assert!(page.contains(&escaped(typed)), "{typed} was not kept: {page}");
    }
    // What refers to nothing is told by the catalog, at its field too.
    let link = [("code", "l1"), ("address", "https://shop.example/"), ("partner", "nobody")];
    let answer = operator.submit("/dashboard/add/links", &link);
    assert!(answer.status == 422 && answer.text().contains("id=\"partner-problem\""), "{}", answer.text());
    let answer = operator.submit("/dashboard/add/links", &[("code", "l1"), ("address", "javascript:alert(1)")]);
    assert!(answer.status == 422 && answer.text().contains("id=\"address-problem\""), "{}", answer.text());
    let answer = operator.submit("/dashboard/partners/abc123", &[("parent", "abc123"), ("email", "no")]);
    let page = answer.text();
    assert!(page.contains("id=\"parent-problem\"") && page.contains("id=\"email-problem\""), "{page}");
    let taken = [("slug", "haircare"), ("link", "haircare"), ("partner", "abc123")];
    assert_eq!(operator.submit("/dashboard/add/share-links", &taken).status, 303);
    let other = [("slug", "haircare"), ("link", "haircare"), ("partner", "abc123"), ("ad", "website2")];
    let answer = operator.submit("/dashboard/add/share-links", &other);
    assert!(answer.status == 422 && answer.text().contains("id=\"slug-problem\""), "{}", answer.text());
    let hook = operator.submit("/dashboard/add/webhooks", &[("address", "http://127.0.0.1/"), ("kinds", "Odd Kind")]);
    let page = hook.text();
    assert!(page.contains("id=\"address-problem\"") && page.contains("id=\"kinds-problem\""), "{page}");
    let page = operator.get("/dashboard?tz=Nowhere").text();
    assert!(page.contains("id=\"tz-problem\"") && page.contains("value=\"Nowhere\""), "{page}");
}

#[test]
fn lists_have_pages_sort_where_all_is_there_and_export() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    for n in 0..60 {
        let name = if n == 7 { "=HYPERLINK(1)".to_owned() } else { format!("Partner {n}") };
        business.ok("PUT", &format!("/v1/partners/p{n:02}"), &json!({"name": name}));
    }
    let first = operator.page("/dashboard/partners?search=p");
    let (_, next) = first.split_once("rel=\"next\"").unwrap_or_else(|| panic!("{first}"));
    assert!(next.contains("Next page") && first.contains(">p00<") && !first.contains(">p59<"));
    let way = first.split("href=\"").find(|part| part.contains("cursor=")).unwrap().split('"').next().unwrap();
    let second = operator.page(&way.replace("&#38;", "&"));
    assert!(second.contains(">p59<") && !second.contains(">p00<") && second.contains("First page"));
    assert!(!first.contains("sort=name"), "a part of a list is in the list's order");
    let few = operator.page("/dashboard/partners?search=p1&sort=-code");
    assert!(few.find(">p19<").unwrap() < few.find(">p10<").unwrap() && few.contains("aria-sort=\"descending\""));
    let export = operator.get("/dashboard/export/partners?search=p");
    assert_eq!(export.header("content-type"), Some("text/csv; charset=utf-8"));
    let csv = export.text();
    // The example's partner has a p in the address.
    assert_eq!(csv.lines().count(), 62, "{csv}");
    assert!(csv.contains("p07,'=HYPERLINK(1)"), "{csv}");
}

#[test]
fn a_tracking_page_is_designed_shown_and_given_files() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let page = operator.get("/dashboard/design/spring");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let png = b"\x89PNG\r\n\x1a\nrest";
    let script = operator.upload("/dashboard/design/spring/files", &[], ("logo.png", b"<svg onload=alert(1)>"));
    assert!(script.status == 422 && script.text().contains("image/png"), "{}", script.text());
    assert_eq!(operator.upload("/dashboard/design/spring/files", &[], ("", b"")).status, 422);
    let put = operator.upload("/dashboard/design/spring/files", &[], ("My Logo.PNG", png));
    assert_eq!(put.header("location"), Some("/dashboard/design/spring?done=file"), "{}", put.text());
    let page = operator.page("/dashboard/design/spring");
    let address = page.split("href=\"").find(|part| part.starts_with("/r/spring/files/my-logo.png")).unwrap();
    let file = operator.get(address.split('"').next().unwrap());
    assert_eq!((file.status, file.body.as_slice(), file.header("content-type")), (200, &png[..], Some("image/png")));

    let wrong = "{\"logo\": \"nothing.png\", \"colours\": {\"accent\": \"red\"}}";
    let answer = operator.submit("/dashboard/design/spring", &[("design", wrong)]);
    assert!(answer.status == 422 && answer.text().contains(&escaped(wrong)), "{}", answer.text());
    assert!(answer.text().contains("colours.accent"), "{}", answer.text());
    let answer = operator.submit("/dashboard/design/spring", &[("design", "{\"colour\": 1}")]);
    assert!(answer.status == 422 && answer.text().contains("colour"), "{}", answer.text());
    let design = "{\"logo\": \"my-logo.png\", \"texts\": {\"en\": {\"button\": \"Look <here>\"}}}";
    assert_eq!(operator.submit("/dashboard/design/spring", &[("design", design)]).status, 303);
    let preview = operator.get("/dashboard/design/spring/preview/email");
    let policy = preview.header("content-security-policy").unwrap().to_owned();
    assert!(policy.ends_with("frame-ancestors 'self'; sandbox allow-scripts"), "{policy}");
    let text = preview.text();
    assert!(text.contains("Look &#60;here&#62;") && text.contains("my-logo.png"), "{text}");
    for step in ["code", "stats"] {
        operator.page(&format!("/dashboard/design/spring/preview/{step}"));
    }
    assert_eq!(operator.get("/dashboard/design/spring/preview/other").status, 404);
    let shown = operator.submit("/dashboard/design/spring/remove", &[("name", "my-logo.png")]);
    assert!(shown.status == 422 && shown.text().contains("take it out there first"), "{}", shown.text());
    assert_eq!(operator.submit("/dashboard/design/spring/reset", &[]).status, 303);
    assert_eq!(operator.submit("/dashboard/design/spring/remove", &[("name", "my-logo.png")]).status, 303);
    assert!(!operator.page("/dashboard/design/spring").contains("my-logo.png"));
}

#[test]
fn a_file_of_facts_is_worked_off_and_says_what_it_refused() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let file = "program,email,partner\nspring,ann@home.example,abc123\nspring,=cmd|' /C calc'!A0,abc123\n";
    let wrong = operator.upload("/dashboard/add/uploads", &[("kind", "leads")], ("leads.csv", b"nothing,else\n"));
    assert!(wrong.status == 422 && wrong.text().contains("line 1"), "{}", wrong.text());
    let binary = operator.upload("/dashboard/add/uploads", &[("kind", "leads")], ("leads.csv", b"\xff\xfe\x00"));
    assert_eq!(binary.status, 422);
    let taken = operator.upload("/dashboard/add/uploads", &[("kind", "leads")], ("leads.csv", file.as_bytes()));
    let address = taken.header("location").unwrap_or_else(|| panic!("{}", taken.text())).to_owned();
    let page = eventually("a file that is worked off", || {
        let page = operator.page(&address);
        page.contains(">done<").then_some(page)
    });
    assert!(
        page.contains("<progress max=\"100\" value=\"100\"") && page.contains("ref") && !page.contains("data-refresh=")
    );
    assert!(operator.page(&format!("{address}/progress")).contains("data-refreshed"));
    let csv = operator.page(&format!("{address}/refused"));
    assert!(csv.starts_with("program,email,partner,reason\n") && csv.contains("'=cmd|"), "{csv}");
    assert_eq!(operator.submit(&address, &[]).header("location"), Some("/dashboard/uploads?done=deleted"));
    assert_eq!(operator.get(&address).status, 404);
}

#[test]
fn an_endpoint_is_made_tested_and_sent_everything_again() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    business.sold("ann@home.example");
    let fields = [("address", "https://hooks.invalid/in"), ("kinds", "reward.*; lead.created"), ("programs", "spring")];
    let made = operator.submit("/dashboard/add/webhooks", &fields);
    assert!(made.status == 200 && made.text().contains("whsec_"), "{}", made.text());
    let webhook = &business.ok("GET", "/v1/webhooks", &Value::Null)["items"][0];
    assert_eq!(webhook["kinds"], json!(["reward.*", "lead.created"]));
    let address = format!("/dashboard/webhooks/{}", webhook["id"].as_str().unwrap());
    assert!(!operator.page(&address).contains("whsec_"), "a secret is shown once");
    let tested = operator.submit(&format!("{address}/test"), &[]);
    assert!(tested.status == 200 && tested.text().contains("The test was failed"), "{}", tested.text());
    assert!(operator.page(&address).contains("webhook.test"), "the log has it");
    let wrong = operator.submit(&format!("{address}/replay"), &[("replay_from", "soon")]);
    assert!(wrong.status == 422 && wrong.text().contains("value=\"soon\""), "{}", wrong.text());
    assert_eq!(operator.submit(&format!("{address}/replay"), &[("replay_from", "2020-01-01")]).status, 303);
    assert!(operator.submit(&format!("{address}/rotate"), &[]).text().contains("whsec_"));
    let fields = [("address", "https://hooks.invalid/in"), ("state", "disabled"), ("description", "Old")];
    assert_eq!(operator.submit(&address, &fields).status, 303);
    let webhook = &business.ok("GET", "/v1/webhooks", &Value::Null)["items"][0];
    assert_eq!((&webhook["state"], &webhook["kinds"]), (&json!("disabled"), &json!([])));
    assert_eq!(operator.submit(&format!("{address}/delete"), &[]).status, 303);
    assert_eq!(operator.get(&address).status, 404);
}
