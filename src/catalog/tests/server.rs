//! The PostgreSQL server of these tests: the stack that FINGERPOST_STACK names, or one that `load-tests/stack` starts for
//! this process and takes down behind it. Where there is none the tests fail.

use std::{
    ops::Deref,
    path::Path,
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use url::Url;

/// The server's URL, with a database in which nothing is kept.
fn url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let stack = match std::env::var_os("FINGERPOST_STACK") {
            Some(folder) => {
                let file = Path::new(&folder).join("stack.json");
                std::fs::read_to_string(&file)
                    .unwrap_or_else(|error| panic!("FINGERPOST_STACK: {}: {error}", file.display()))
            }
            None => start(),
        };
        let stack: Value = serde_json::from_str(&stack).unwrap_or_else(|error| panic!("{error} in {stack}"));
        let url = stack["postgres"]["url"].as_str();
        url.unwrap_or_else(|| panic!("the stack has no PostgreSQL: run `load-tests/stack up postgres`; it has {stack}"))
            .to_owned()
    })
}

fn start() -> String {
    let folder = std::env::temp_dir().join(format!("fingerpost-catalog-tests-{}", std::process::id()));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("load-tests/stack");
    let mut command = Command::new(&program);
    command.args(["up", "postgres", "--for", &std::process::id().to_string(), "--dir"]).arg(folder);
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let (said, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "these tests need PostgreSQL, and {command:?} cannot start it: {problem}");
    said.trim_end().lines().last().unwrap_or_default().to_owned()
}

/// Databases of tests that are over: each takes 8 MB, so the next one that is made takes them away.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A catalog's URL; behind it, its database goes.
#[derive(Debug)]
pub(super) struct Place(pub(super) String);

impl Deref for Place {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.starts_with("postgres") {
            DONE.lock().unwrap().push(name_of(&self.0));
        }
    }
}

pub(super) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("the tests' PostgreSQL at {url}: {error}"))
}

/// A fresh database, empty or as the one at `template`; its URL. It sorts as people do, so that a query which relies on the
/// order of bytes has to say so.
pub(super) async fn database(template: Option<&str>) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("catalog_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let made_from = match template {
        Some(url) => format!("TEMPLATE {}", name_of(url)),
        None => "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'".to_owned(),
    };
    let mut connection = connect(url()).await;
    if name.ends_with("_0") {
        sweep(&mut connection).await;
    }
    let done = std::mem::take(&mut *DONE.lock().unwrap());
    for name in done {
        connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    }
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} {made_from}"))).execute(&mut connection).await.unwrap();
    let mut url = Url::parse(url()).unwrap();
    url.set_path(&name);
    url.to_string()
}

/// Takes away what processes that are gone have left on a server that lives longer than they did.
async fn sweep(connection: &mut PgConnection) {
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'catalog\\_%'";
    for row in connection.fetch_all(sql).await.unwrap() {
        let name: String = row.get(0);
        let process = name.split('_').nth(1).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            // Another process may have been first.
            let _ = connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await;
        }
    }
}

fn name_of(url: &str) -> String {
    Url::parse(url).unwrap().path().trim_start_matches('/').to_owned()
}
