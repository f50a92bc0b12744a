//! Referrals, reviews and rewards: the story of each, and what is decided about it.

use serde_json::Value;

use crate::{
    Business,
    support::{Client, Operator, eventually},
};

#[test]
fn due_rewards_are_issued_in_bulk_under_one_reference() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    for n in 0..3 {
        business.sold(&format!("ann{n}@home.example"));
    }
    let page = operator.page("/dashboard/rewards");
    assert_eq!(page.matches("type=\"checkbox\"").count(), 3, "{page}");
    assert_eq!(page.matches(" checked").count(), 0);
    assert_eq!(operator.page("/dashboard/rewards?choose=all").matches(" checked").count(), 3);
    let ids: Vec<String> = business.rewards("due").iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    let nothing = operator.submit("/dashboard/rewards/confirm", &[]);
    assert!(nothing.status == 422 && nothing.text().contains("Choose at least one"), "{}", nothing.text());
    let two = [("reward", ids[0].as_str()), ("reward", ids[1].as_str())];
    let asked = operator.submit("/dashboard/rewards/confirm", &two);
    assert!(asked.status == 200 && asked.text().contains("2 rewards:"), "{}", asked.text());
    assert!(asked.text().contains("10.00"), "their sum is told: {}", asked.text());
    assert_eq!(business.rewards("due").len(), 3, "asking changes nothing");
    let unnamed = operator.submit("/dashboard/rewards/issue", &two);
    assert!(unnamed.status == 422 && unnamed.text().contains("id=\"reference-problem\""), "{}", unnamed.text());
    let issue = [&two[..], &[("reference", "transfer 7")]].concat();
    let issued = operator.submit("/dashboard/rewards/issue", &issue);
    assert_eq!(issued.header("location"), Some("/dashboard/rewards?done=issued"), "{}", issued.text());
    assert_eq!((business.rewards("due").len(), business.rewards("issued").len()), (1, 2));
    // All of them or none: one that is not due any more keeps the others.
    let all = [("reward", ids[0].as_str()), ("reward", ids[2].as_str()), ("reference", "transfer 8")];
    let refused = operator.submit("/dashboard/rewards/issue", &all);
    assert!(refused.status == 422 && refused.text().contains("only a due reward"), "{}", refused.text());
    assert!(refused.text().contains("transfer 8"), "what was typed stays");
    assert_eq!(business.rewards("due").len(), 1);
    assert!(operator.page("/dashboard/rewards?state=issued").contains("transfer 7"));
    let csv = operator.page("/dashboard/export/rewards?state=issued");
    assert!(csv.lines().count() == 3 && csv.contains(",500,EUR,"), "{csv}");
    let log = business.ok("GET", "/v1/audit?action=issue", &Value::Null);
    assert!(log["items"].as_array().unwrap().iter().all(|row| row["who"] == "dashboard:admin"), "{log:#}");
}

#[test]
fn the_story_of_a_referral_is_told_from_the_click_to_what_was_issued() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let answer = Client::connect(business.server.edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let token = location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned();
    let lead = serde_json::json!({"program": "spring", "email": "bo@home.example", "first_name": "Bo", "token": token});
    let told = business.ok("POST", "/v1/leads", &lead);
    let id = told["referral"]["id"].as_str().unwrap();
    let page = operator.page(&format!("/dashboard/referrals/{id}"));
    let order = |page: &str, steps: &[&str]| {
        let places: Vec<usize> =
            steps.iter().map(|step| page.find(step).unwrap_or_else(|| panic!("no {step} in {page}"))).collect();
        assert!(places.is_sorted(), "{steps:?} stand at {places:?} in {page}");
    };
    order(&page, &["Click on the link haircare of abc123", "Left their name"]);
    assert!(page.contains("abc123 is credited") && page.contains(">pending<"), "{page}");
    let sale = serde_json::json!({"email": "bo@home.example", "event": "sale", "amount": 9_990, "currency": "EUR", "invoice_id": "in_1"});
    business.ok("POST", "/v1/conversions", &sale);
    let due = business.rewards("due");
    let issue = [("reward", due[0]["id"].as_str().unwrap()), ("reference", "transfer 9")];
    assert_eq!(operator.submit("/dashboard/rewards/issue", &issue).status, 303);
    let page = operator.page(&format!("/dashboard/referrals/{id}"));
    order(
        &page,
        &[
            "Click on the link",
            "Left their name",
            "Payment: sale",
            "Qualified",
            "earned for",
            "due to",
            "under transfer 9",
        ],
    );
    assert!(operator.page("/dashboard/referrals?program=spring").contains(id));
    // The click is among the newest events, and in the pictures.
    eventually("a click in the overview", || {
        let page = operator.page("/dashboard?program=spring&since=7d");
        (page.contains("<td>Click</td>") && page.contains("Clicks over time: 1 clicks")).then_some(())
    });
    eventually("a lead among the newest events", || {
        operator.page("/dashboard/live?program=spring").contains("<td>Lead</td>").then_some(())
    });
    let funnel = operator.page("/dashboard/report/funnel?since=7d");
    assert!(funnel.starts_with("step,count,rate,note\n") && funnel.contains("clicks,1,"), "{funnel}");
    for name in ["reach", "countries", "top-partners", "top-channels"] {
        operator.page(&format!("/dashboard/report/{name}?since=all"));
    }
    assert_eq!(operator.get("/dashboard/report/nothing").status, 404);
    let payback = serde_json::json!({"invoice_id": "in_1", "reason": "returned"});
    business.ok("POST", "/v1/refunds", &payback);
    let page = operator.page(&format!("/dashboard/referrals/{id}"));
    assert!(page.contains("Paid back: returned") && page.contains("reversed"), "{page}");
}

#[test]
fn who_waits_for_review_is_approved_or_rejected_with_a_note() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    // The partner's own address.
    let own = business.sold("jane@home.example");
    let page = operator.page("/dashboard/review");
    assert!(page.contains(&own) && page.contains("EUR") && page.contains("100 points"), "{page}");
    assert!(operator.page("/dashboard/review?signal=burst").contains("Nobody waits"));
    assert!(operator.page("/dashboard?program=spring").contains("To be reviewed"));
    let name = format!("note-{own}");
    let long = "x".repeat(600);
    let fields = [("referral", own.as_str()), ("verdict", "approve"), (name.as_str(), long.as_str())];
    let answer = operator.submit("/dashboard/review", &fields);
    assert!(answer.status == 422 && answer.text().contains(&long), "{}", answer.text());
    let fields = [("referral", own.as_str()), ("verdict", "approve"), (name.as_str(), "a gift to herself")];
    assert_eq!(operator.submit("/dashboard/review", &fields).status, 303);
    assert_eq!(business.rewards("due").len(), 1);
    assert!(operator.page("/dashboard/review").contains("Nobody waits"));
    let rejected =
        operator.submit(&format!("/dashboard/referrals/{own}"), &[("verdict", "reject"), ("note", "after all")]);
    assert_eq!(rejected.status, 303, "{}", rejected.text());
    assert_eq!((business.rewards("due").len(), business.rewards("reversed").len()), (0, 1));
    assert_eq!(operator.submit(&format!("/dashboard/referrals/{own}"), &[("verdict", "praise")]).status, 404);
    assert_eq!(operator.get("/dashboard/referrals/nothing").status, 404);
}
