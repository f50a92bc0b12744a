//! The operator's browser: logs in to the dashboard and keeps its cookie.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use super::{
    Server,
    client::{BROWSER, Client, Response},
};

#[derive(Debug)]
pub struct Operator<'a> {
    pub server: &'a Server,
    /// `NAME=VALUE`; empty: nobody is logged in.
    pub cookie: String,
    /// The token of the session's forms.
    pub token: String,
}

/// A form as browsers send it.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl<'a> Operator<'a> {
    /// A browser that is not logged in.
    pub fn nobody(server: &'a Server) -> Operator<'a> {
        Operator { server, cookie: String::new(), token: String::new() }
    }

    /// A browser that has shown the admin token.
    pub fn new(server: &'a Server) -> Operator<'a> {
        let mut operator = Operator::nobody(server);
        let answer = operator.post("/dashboard/login", &[("admin_token", &server.token())]);
        assert_eq!(answer.status, 303, "{}", answer.text());
        operator.cookie = answer.cookie().expect("a session").to_owned();
        let page = operator.page("/dashboard/programs");
        operator.token = hidden(&page, "token").expect("a form's token");
        operator
    }

    /// Any request, with what a browser says by itself.
    pub fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Response {
        let host = format!("localhost:{}", self.server.control.port());
        let mut headers = vec![("Host", host.as_str()), ("User-Agent", BROWSER), ("Cookie", self.cookie.as_str())];
        if !more.iter().any(|(name, _)| *name == "Sec-Fetch-Site") {
            headers.push(("Sec-Fetch-Site", "same-origin"));
        }
        headers.extend(more);
        Client::connect(self.server.control)
            .and_then(|mut client| client.send(method, path, &headers, body))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// A page that must be there.
    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.text()
    }

    /// A form, as it stands.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &kind, encoded(fields).as_bytes())
    }

    /// A form with the session's token.
    pub fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let token = [("token", self.token.as_str())];
        self.post(path, &[&token[..], fields].concat())
    }

    /// A form with a file.
    pub fn upload(&self, path: &str, fields: &[(&str, &str)], file: (&str, &[u8])) -> Response {
        let mut body = Vec::new();
        for (name, value) in [&[("token", self.token.as_str())][..], fields].concat() {
            let part = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            file.0
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file.1);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        self.send("POST", path, &[("Content-Type", "multipart/form-data; boundary=edge")], &body)
    }
}

/// The value of a hidden field.
pub fn hidden(page: &str, name: &str) -> Option<String> {
    let (_, behind) = page.split_once(&format!("type=\"hidden\" name=\"{name}\" value=\""))?;
    Some(behind.split('"').next()?.to_owned())
}

/// What is typed into a page, as it stands there.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;").replace('\'', "&#39;")
}
