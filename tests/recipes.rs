//! The recipes of docs/integrators.md, run as they stand there: a block behind `<!-- recipe: NAME [FILE] -->` is run by the shell, sent
//! as a body, or kept as a file, and then what it promises is there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "support/stripe.rs"]
mod stripe;
mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use support::{Client, Options, Response, Server, api, eventually, server::binary};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[derive(Debug)]
struct Block {
    recipe: String,
    /// Name of the file that it is kept as.
    file: Option<String>,
    language: String,
    text: String,
}

/// The marked blocks of the page.
fn blocks(recipe: &str) -> Vec<Block> {
    let page = std::fs::read_to_string(root().join("docs/integrators.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("<!-- recipe: ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let mut words = mark.split(' ').map(str::to_owned);
        let (recipe, file) = (words.next().unwrap(), words.next());
        let language =
            lines.next().and_then(|line| line.strip_prefix("```")).expect("a block behind its mark").to_owned();
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { recipe, file, language, text: text.join("\n") + "\n" });
    }
    blocks.retain(|block| block.recipe == recipe);
    assert!(!blocks.is_empty(), "the recipe `{recipe}` is gone");
    blocks
}

struct Kitchen {
    folder: tempfile::TempDir,
    server: Server,
}

impl Kitchen {
    fn open() -> Kitchen {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("DATA"), &Options::default().demo()).unwrap();
        let kitchen = Kitchen { folder, server };
        kitchen.ok(
            "PUT",
            "/v1/programs/spring",
            &json!({"qualification": {"on": "event", "event": "sale"}, "rewards": [
            {"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}}]}),
        );
        kitchen
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        api(self.server.control, &self.server.token(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    fn lead(&self, body: &Value) {
        self.ok("POST", "/v1/leads", body);
    }

    /// Runs a block as somebody would who follows the page.
    fn shell(&self, block: &Block) -> String {
        assert_eq!(block.language, "sh", "{block:?}");
        // An answer that is no success ends it.
        let script = format!("curl() {{ command curl -fsS \"$@\" || exit 1; echo; }}\n{}", block.text);
        let mut path = vec![binary().parent().map(PathBuf::from).unwrap()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let config = self.folder.path().join("config");
        if !config.exists() {
            std::os::unix::fs::symlink(root().join("config"), config).unwrap();
        }
        let output = Command::new("sh")
            .args(["-eu", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("API", format!("http://{}", self.server.control))
            .env("GO", format!("http://{}", self.server.edge))
            .env("AUTH", format!("Authorization: Bearer {}", self.server.token()))
            .env("JSON", "Content-Type: application/json")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{out}{err}", block.text);
        out.into_owned()
    }

    fn rewards(&self) -> Vec<String> {
        let items = self.ok("GET", "/v1/rewards?limit=100", &Value::Null)["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|reward| format!("{} {}", reward["owed"]["money"]["amount"], reward["state"].as_str().unwrap()))
            .collect()
    }

    fn referrals(&self) -> usize {
        self.ok("GET", "/v1/referrals", &Value::Null)["items"].as_array().unwrap().len()
    }
}

#[test]
fn a_form() {
    let kitchen = Kitchen::open();
    for block in blocks("form") {
        kitchen.shell(&block);
    }
    assert_eq!(kitchen.referrals(), 1);
    // The form on the page has the fields that the script looks for.
    let page = std::fs::read_to_string(root().join("docs/integrators.md")).unwrap();
    let script = std::fs::read_to_string(root().join("src/core/script/fp.js")).unwrap();
    for (on_page, in_script) in [
        ("data-fingerpost-lead=\"spring\"", "dataset.fingerpostLead"),
        ("data-fingerpost-trap", "[data-fingerpost-trap]"),
        ("name=\"fpc\"", "\"fpc\""),
        ("name=\"first_name\"", "\"first_name\""),
    ] {
        assert!(page.contains(on_page) && script.contains(in_script), "{on_page}");
    }
}

#[test]
fn stripe() {
    let kitchen = Kitchen::open();
    let blocks = blocks("stripe");
    kitchen.lead(&json!({"program": "spring", "external_id": "c-4711", "partner": "abc123"}));
    kitchen.shell(&blocks[0]);
    let body = blocks[1].text.as_bytes();
    let signature = stripe::signature("whsec_0123456789abcdef", body);
    let mut client = Client::connect(kitchen.server.edge).unwrap();
    let answer = client.send("POST", "/v1/inbound/stripe", &[("Stripe-Signature", &signature)], body).unwrap();
    assert_eq!(answer.json()["events"][0]["result"], "applied", "{}", answer.text());
    assert_eq!(kitchen.rewards(), ["999 due"]);
}

#[test]
fn a_crm() {
    let kitchen = Kitchen::open();
    let blocks = blocks("crm");
    kitchen.lead(&json!({"program": "spring", "email": "ann@home.example", "partner": "abc123"}));
    kitchen.shell(&blocks[0]);
    let tried = kitchen.ok("POST", "/v1/inbound/crm/try", &serde_json::from_str(&blocks[1].text).unwrap());
    assert_eq!(tried[0]["facts"][0]["money"], json!({"amount": 199_990, "currency": "EUR"}));
    let headers = [("X-Fingerpost-Key", "0123456789abcdef0123")];
    let mut client = Client::connect(kitchen.server.edge).unwrap();
    let answer = client.send("POST", "/v1/inbound/crm", &headers, blocks[1].text.as_bytes()).unwrap();
    assert_eq!(answer.json()["events"][0]["result"], "applied", "{}", answer.text());
    assert_eq!(kitchen.rewards(), ["19999 due"]);
}

/// Each mapping that comes with us is taken, and understands its sample.
#[test]
fn ready_mappings() {
    let kitchen = Kitchen::open();
    kitchen.shell(&blocks("preset")[0]);
    let mut tried = Vec::new();
    for entry in std::fs::read_dir(root().join("config/inbound")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".json").filter(|name| !name.ends_with(".sample")) else { continue };
        let door = std::fs::read_to_string(&path).unwrap();
        assert!(
            kitchen.call("PUT", &format!("/v1/inbound/{name}-raw"), &serde_json::from_str(&door).unwrap()).status
                == 422,
            "a secret is needed"
        );
        let door = door.replace("SECRET", "0123456789abcdef0123").replace("PROGRAM", "spring");
        kitchen.ok("PUT", &format!("/v1/inbound/{name}"), &serde_json::from_str(&door).unwrap());
        let sample = std::fs::read_to_string(path.with_file_name(format!("{name}.sample.json"))).unwrap();
        let facts = kitchen.ok("POST", &format!("/v1/inbound/{name}/try"), &serde_json::from_str(&sample).unwrap());
        assert!(!facts[0]["facts"].as_array().unwrap().is_empty(), "{name}: {facts:#}");
        tried.push(name.to_owned());
    }
    tried.sort();
    assert_eq!(tried, ["hubspot", "intercom", "make", "n8n", "salesforce", "zapier"]);
}

#[test]
fn files() {
    let kitchen = Kitchen::open();
    for block in blocks("csv") {
        match &block.file {
            Some(file) => std::fs::write(kitchen.folder.path().join(file), &block.text).unwrap(),
            None => {
                kitchen.shell(&block);
            }
        }
    }
    let uploads = || kitchen.ok("GET", "/v1/uploads", &Value::Null)["items"][0].clone();
    let done = eventually("the upload", || Some(uploads()).filter(|upload| upload["state"] == "done"));
    assert_eq!((&done["known"], &done["taken"]), (&json!(2), &json!(0)), "the same file again changes nothing");
    assert_eq!((kitchen.referrals(), kitchen.rewards()), (2, vec!["999 due".to_owned()]));
}
