//! The dashboard through the real binary: who gets in, what each form does, and what becomes of what people type.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod items;
mod money;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod text;

use serde_json::{Value, json};
use support::{Options, Response, Server, api};

/// A server with the example's items, and a program that owes something at once.
struct Business {
    /// Goes with the business.
    _folder: tempfile::TempDir,
    server: Server,
}

impl Business {
    fn open() -> Business {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        let business = Business { _folder: folder, server };
        business.ok(
            "PUT",
            "/v1/programs/spring",
            &json!({
                "name": "Spring",
                "qualification": {"on": "event", "event": "sale"},
                "rewards": [{"code": "share", "to": "partner", "on": "sale",
                    "value": {"fixed": {"amount": 500, "currency": "EUR"}}}],
                "review": {"hold_from": 50},
            }),
        );
        business.ok("PUT", "/v1/partners/abc123", &json!({"name": "Jane", "email": "jane@home.example"}));
        business
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        api(self.server.control, &self.server.token(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Somebody whom the partner brought and who bought something; the referral's id.
    fn sold(&self, email: &str) -> String {
        let lead = json!({"program": "spring", "email": email, "first_name": "Ann", "partner": "abc123"});
        let told = self.ok("POST", "/v1/leads", &lead);
        let invoice = format!("in_{email}");
        let sale = json!({"email": email, "event": "sale", "amount": 9_990, "currency": "EUR", "invoice_id": invoice});
        self.ok("POST", "/v1/conversions", &sale);
        told["referral"]["id"].as_str().unwrap_or_else(|| panic!("{told:#}")).to_owned()
    }

    fn rewards(&self, state: &str) -> Vec<Value> {
        self.ok("GET", &format!("/v1/rewards?state={state}"), &Value::Null)["items"].as_array().unwrap().clone()
    }
}
