//! People's browsers on the tracking page and in the partner center: they keep cookies and read mailed codes.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use serde_json::Value;

use super::{
    Options, Server, api,
    client::{BROWSER, Client, Response},
    eventually,
};

#[derive(Debug)]
pub struct Site {
    pub server: Server,
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn start(options: Options) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &options.set("edge.workers", "1")).unwrap();
        Site { server, _folder: folder }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so a call reads like the request")]
    pub fn put(&self, path: &str, body: Value) -> Value {
        let answer = api(self.server.control, &self.server.token(), "PUT", path, &body);
        assert!(answer.status < 300, "PUT {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = api(self.server.control, &self.server.token(), "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    pub fn browser(&self) -> Browser {
        Browser { client: Client::connect(self.server.edge).unwrap(), cookies: Vec::new() }
    }

    /// The code of the newest mail to an address.
    pub fn code(&self, email: &str, after: usize) -> String {
        let folder = self.server.data.join("mails");
        eventually("a mailed code", || {
            let mut files: Vec<_> = std::fs::read_dir(&folder).ok()?.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
            let mine: Vec<String> = texts.filter(|text| text.contains(email)).collect();
            let text = mine.get(after)?;
            let body = text.split_once("\r\n\r\n")?.1;
            let digits = |word: &&str| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit());
            body.split(|c: char| !c.is_ascii_digit()).find(digits).map(str::to_owned)
        })
    }
}

/// Keeps cookies, as a browser does.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    pub cookies: Vec<(String, String)>,
}

impl Browser {
    pub fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Response {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("Host", "localhost"), ("User-Agent", BROWSER), ("Cookie", cookies.as_str())];
        if method == "POST" {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
            if !more.iter().any(|(name, _)| *name == "Sec-Fetch-Site") {
                headers.push(("Sec-Fetch-Site", "same-origin"));
            }
        }
        headers.extend_from_slice(more);
        let answer = self.client.send(method, path, &headers, body.as_bytes()).unwrap();
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.retain(|(known, _)| known != name);
                if !value.is_empty() {
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        answer
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.send("POST", path, &[], &body.join("&"))
    }

    /// The session's form token, from a page.
    pub fn token(&mut self, path: &str) -> String {
        let page = self.get(path).text();
        let behind = page.split("name=\"token\" value=\"").nth(1).unwrap_or_else(|| panic!("no token in {page}"));
        behind.split('"').next().unwrap().to_owned()
    }

    /// Logs in with the first code that is mailed to the address.
    pub fn log_in(&mut self, site: &Site, at: &str, email: &str) {
        let answer = self.post(at, &[("email", email)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some(format!("{at}/code").as_str())));
        let code = site.code(email, 0);
        let answer = self.post(&format!("{at}/code"), &[("code", &code)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some(at)), "{}", answer.text());
    }
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
