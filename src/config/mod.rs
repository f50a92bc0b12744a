//! Configuration: read once, checked as a whole, every mistake reported with its place and the way to mend it.
//!
//! Order: built-in defaults, then the TOML file, then the environment (`FINGERPOST__SECTION__KEY`), then the command line.
//! Everything that rewrites a setting happens in [`load`]; whoever holds a [`Config`] may believe it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

mod catalog_url;
pub mod keys;
pub mod network;
pub mod outbox;
pub mod pages;
mod reader;
mod retention;
pub mod secret;
pub mod stores;

pub use catalog_url::CatalogUrl;
use network::Network;
use reader::Reader;
pub use retention::Retention;

use crate::core::{limits, template};

/// Where a log line goes and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// When a click counts as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the kernel: survives kill -9; a power cut loses at most `sync_interval`.
    Process,
    /// On the disk: survives a power cut.
    Disk,
}

/// What happens to visitors while the journal cannot take a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They go on; the click is counted as missing.
    Redirect,
    /// 503 with Retry-After.
    Refuse,
}

/// `Secure` on our cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureCookie {
    /// When the request came over https, or through a trusted proxy that says so.
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    pub edge: Edge,
    pub journal: Journal,
    pub sink: stores::Sink,
    pub kafka: stores::Kafka,
    pub clickhouse: stores::ClickHouse,
    pub load: stores::Load,
    pub reports: stores::ReportsFrom,
    pub catalog: Catalog,
    pub retention: Retention,
    pub control: Control,
    pub ops: Ops,
    pub pages: pages::Pages,
    pub webhooks: outbox::Webhooks,
    pub mail: outbox::Mail,
    pub geo: Geo,
    pub keys: Keys,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    pub listen: Vec<SocketAddr>,
    /// Threads that answer requests; one a core.
    pub workers: usize,
    /// Every connection must open with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whose X-Forwarded-For, X-Forwarded-Proto we believe.
    pub trusted_proxies: Vec<Network>,
    /// The address under which visitors reach us, without a slash at the end; `None` takes the Host header's.
    pub url: Option<String>,
    /// Where a visitor of an unknown link goes, instead of a 404.
    pub fallback: Option<String>,
    /// Treat `DNT: 1` as `Sec-GPC: 1`.
    pub honour_dnt: bool,
    /// A second click of the same visitor on the same link within that time is a repeat.
    pub repeat_window: Duration,
    pub secure_cookie: SecureCookie,
    /// Connections of one worker.
    pub max_connections: usize,
    /// How long connections may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    pub tls: Tls,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    pub listen: Vec<SocketAddr>,
    /// The first one also answers clients that send no server name.
    pub certificates: Vec<Certificate>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    pub durability: Durability,
    /// In `process` mode, how often the disk is synced.
    pub sync_interval: Duration,
    pub segment_bytes: u64,
    /// All lanes together; 0 means as much as the disk has.
    pub max_bytes: u64,
    pub when_full: WhenFull,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// By default `catalog.db` in the data folder.
    pub url: CatalogUrl,
    /// How often the edge asks for changes.
    pub poll_interval: Duration,
    /// How often the edge writes its snapshot when something has changed.
    pub snapshot_interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ops {
    pub listen: SocketAddr,
}

/// MaxMind DB files; `None` for the country means the one that ships inside the binary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Geo {
    pub country: Option<PathBuf>,
    pub city: Option<PathBuf>,
    pub asn: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// Signing keys of cookies and tokens; made on first start.
    pub file: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, for example `info` or `fingerpost::pump=debug,info`.
    pub level: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key and where it was set, for example `edge.workers (fingerpost.toml)`.
    pub place: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

/// All mistakes of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.lines())]
pub struct ConfigError(pub Vec<Mistake>);

impl ConfigError {
    fn lines(&self) -> String {
        let count = match self.0.len() {
            1 => "one mistake in the configuration:".to_owned(),
            n => format!("{n} mistakes in the configuration:"),
        };
        self.0.iter().fold(count, |text, Mistake { place, problem }| format!("{text}\n  {place}: {problem}"))
    }
}

/// Reads the file (if any), then `environment` (pairs of name and value), then the data folder from the command line.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    data: Option<&Path>,
) -> Result<Config, ConfigError> {
    let (config, mistakes) = read(file, environment, data)?;
    if mistakes.is_empty() { Ok(config) } else { Err(ConfigError(mistakes)) }
}

/// As [`load`], for who looks for further mistakes: the configuration with a default wherever there is one.
pub fn read(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    data: Option<&Path>,
) -> Result<(Config, Vec<Mistake>), ConfigError> {
    let mut reader = Reader::new(file, environment)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let data_folder = reader.path("data", "data");
    let data_folder = data.map_or(data_folder, Path::to_path_buf);
    let edge = Edge {
        listen: reader.addresses("edge.listen", "0.0.0.0:8080"),
        workers: match reader.integer("edge.workers", 0, 0..=1_024) {
            0 => cores,
            n => n as usize,
        },
        proxy_protocol: reader.boolean("edge.proxy_protocol", false),
        trusted_proxies: reader.list("edge.trusted_proxies", |text| text.parse::<Network>().map_err(|e| e.to_string())),
        url: reader.optional("edge.url", pages::base),
        fallback: reader.optional("edge.fallback", |text| {
            template::check(text).map_err(|e| e.to_string()).and_then(|checked| {
                if checked.contains('{') {
                    Err("has a placeholder, which a general fallback cannot fill".to_owned())
                } else {
                    Ok(checked)
                }
            })
        }),
        honour_dnt: reader.boolean("edge.honour_dnt", false),
        repeat_window: reader.duration("edge.repeat_window", Duration::from_secs(1_800)),
        secure_cookie: reader.word(
            "edge.secure_cookie",
            SecureCookie::Auto,
            &[("auto", SecureCookie::Auto), ("always", SecureCookie::Always), ("never", SecureCookie::Never)],
        ),
        max_connections: reader.integer(
            "edge.max_connections",
            limits::CONNECTIONS_PER_WORKER_MAX as u64,
            1..=1_000_000,
        ) as usize,
        drain_timeout: reader.duration("edge.drain_timeout", limits::DRAIN_TIMEOUT),
        tls: Tls {
            listen: reader.addresses("edge.tls.listen", ""),
            certificates: reader.certificates("edge.tls.certificates"),
        },
    };
    let journal = Journal {
        durability: reader.word(
            "journal.durability",
            Durability::Process,
            &[("process", Durability::Process), ("disk", Durability::Disk)],
        ),
        sync_interval: reader.duration("journal.sync_interval", Duration::from_millis(500)),
        segment_bytes: reader.bytes(
            "journal.segment_bytes",
            limits::SEGMENT_BYTES,
            limits::SEGMENT_MIN_BYTES..=1 << 32,
        ),
        max_bytes: reader.bytes("journal.max_bytes", 0, 0..=u64::MAX),
        when_full: reader.word(
            "journal.when_full",
            WhenFull::Redirect,
            &[("redirect", WhenFull::Redirect), ("refuse", WhenFull::Refuse)],
        ),
    };
    let stores::Stores { sink, kafka, clickhouse, load, reports } = stores::read(&mut reader);
    let catalog = Catalog {
        url: reader
            .optional("catalog.url", CatalogUrl::parse)
            .unwrap_or_else(|| CatalogUrl::file(&data_folder.join("catalog.db"))),
        poll_interval: reader.duration("catalog.poll_interval", Duration::from_millis(200)),
        snapshot_interval: reader.duration("catalog.snapshot_interval", Duration::from_secs(60)),
    };
    let retention = retention::read(&mut reader);
    let control = Control { listen: reader.address("control.listen", "127.0.0.1:8081") };
    let ops = Ops { listen: reader.address("ops.listen", "127.0.0.1:8082") };
    let pages = pages::read(&mut reader);
    let webhooks = outbox::read_webhooks(&mut reader);
    let mail = outbox::read_mail(&mut reader, &data_folder);
    let geo = Geo {
        country: reader.optional("geo.country", |text| Ok(PathBuf::from(text))),
        city: reader.optional("geo.city", |text| Ok(PathBuf::from(text))),
        asn: reader.optional("geo.asn", |text| Ok(PathBuf::from(text))),
    };
    let keys = Keys {
        file: reader
            .optional("keys.file", |text| Ok(PathBuf::from(text)))
            .unwrap_or_else(|| data_folder.join("keys.toml")),
    };
    let log = Log {
        format: reader.word("log.format", LogFormat::Human, &[("human", LogFormat::Human), ("json", LogFormat::Json)]),
        level: reader.optional("log.level", |text| Ok(text.to_owned())).unwrap_or_else(|| "info".to_owned()),
    };
    let config = Config {
        data: data_folder,
        edge,
        journal,
        sink,
        kafka,
        clickhouse,
        load,
        reports,
        catalog,
        retention,
        control,
        ops,
        pages,
        webhooks,
        mail,
        geo,
        keys,
        log,
    };
    check_together(&config, &mut reader);
    Ok((config, reader.finish()))
}

/// What no single key can tell.
fn check_together(config: &Config, reader: &mut Reader) {
    if !config.edge.tls.listen.is_empty() && config.edge.tls.certificates.is_empty() {
        reader.mistake(
            "edge.tls.certificates",
            "none is given, but `edge.tls.listen` is: add one with `chain` and `key`",
        );
    }
    if config.edge.tls.listen.is_empty() && !config.edge.tls.certificates.is_empty() {
        reader
            .mistake("edge.tls.listen", "is not set, but there are certificates: set it, for example \"0.0.0.0:8443\"");
    }
    if config.edge.listen.is_empty() && config.edge.tls.listen.is_empty() {
        reader.mistake("edge.listen", "is empty: give at least one address, here or in edge.tls.listen");
    }
    if config.journal.max_bytes != 0
        && config.journal.max_bytes < 2 * config.journal.segment_bytes * config.edge.workers as u64
    {
        reader.mistake(
            "journal.max_bytes",
            &format!(
                "{} is less than two segments for each of {} workers: raise it, or lower journal.segment_bytes",
                config.journal.max_bytes, config.edge.workers
            ),
        );
    }
    let mut fixed: Vec<(&str, SocketAddr)> = config.edge.listen.iter().map(|a| ("edge.listen", *a)).collect();
    fixed.extend(config.edge.tls.listen.iter().map(|a| ("edge.tls.listen", *a)));
    fixed.push(("control.listen", config.control.listen));
    fixed.push(("ops.listen", config.ops.listen));
    for (at, (key, address)) in fixed.iter().enumerate() {
        if let Some((other, _)) = fixed[..at].iter().find(|(_, a)| a == address && a.port() != 0) {
            reader.mistake(key, &format!("{address} is also `{other}`: each listener needs an address of its own"));
        }
    }
    for (key, path) in
        [("geo.country", &config.geo.country), ("geo.city", &config.geo.city), ("geo.asn", &config.geo.asn)]
    {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            reader.mistake(key, &format!("there is no file {}: give the path of a MaxMind DB file", path.display()));
        }
    }
    for certificate in &config.edge.tls.certificates {
        for path in [&certificate.chain, &certificate.key] {
            if !path.is_file() {
                reader.mistake("edge.tls.certificates", &format!("there is no file {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fingerpost.toml");
        std::fs::write(&file, toml).unwrap();
        load(Some(&file), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())), None)
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let config = from(
            "[edge]\nworkers = 3\nlisten = [\"127.0.0.1:0\", \"[::1]:0\"]\n[journal]\nsegment_bytes = \"1MiB\"",
            &[
                ("FINGERPOST__EDGE__WORKERS", "5"),
                ("FINGERPOST__JOURNAL__DURABILITY", "disk"),
                ("FINGERPOST__EDGE__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
                ("HOME", "/"),
            ],
        )
        .unwrap();
        assert_eq!(config.edge.workers, 5);
        assert_eq!(config.edge.listen.len(), 2);
        assert_eq!(config.journal.segment_bytes, 1 << 20);
        assert_eq!(config.journal.durability, Durability::Disk);
        assert_eq!(config.edge.trusted_proxies.len(), 2);
        assert_eq!(config.control.listen.port(), 8081);
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_place() {
        let error = from(
            "[edge]\nworkers = \"many\"\nlistne = \"0.0.0.0:80\"\nfallback = \"javascript:x\"\n[journal]\ndurability = \"maybe\"\nsync_interval = \"soon\"\n[extra]\nx = 1\n",
            &[("FINGERPOST__OPS__LISTEN", "nowhere"), ("FINGERPOST_EDGE_LISTEN", "127.0.0.1:1")],
        )
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "edge.workers (fingerpost.toml)",
            "edge.listne (fingerpost.toml): there is no such key: did you mean `edge.listen`?",
            "edge.fallback",
            "journal.durability (fingerpost.toml): `maybe` is not one of process, disk",
            "journal.sync_interval",
            "extra.x",
            "ops.listen (FINGERPOST__OPS__LISTEN): `nowhere`",
            "FINGERPOST_EDGE_LISTEN: is not known",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert_eq!(error.0.len(), 8, "{text}");
    }

    #[test]
    fn what_the_promise_rests_on_is_not_an_option() {
        let toml = "[kafka.options]\n\"isolation.level\" = \"read_uncommitted\"\n\"socket.nagle.disable\" = true";
        let text = from(toml, &[]).unwrap_err().to_string();
        assert!(text.contains("kafka.options.isolation.level (fingerpost.toml): is not to be changed"), "{text}");
        assert!(!text.contains("nagle"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_toml_says_where() {
        let text = from("[edge\nworkers = 1", &[]).unwrap_err().to_string();
        assert!(text.contains("fingerpost.toml") && text.contains("line 1"), "{text}");
    }

    #[test]
    fn the_commented_default_is_the_default() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fingerpost.toml");
        assert_eq!(load(Some(&shipped), [], None).unwrap(), load(None, [], None).unwrap());
        let uncommented: String = std::fs::read_to_string(&shipped)
            .unwrap()
            .lines()
            .map(|line| {
                line.strip_prefix("#")
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
                    .unwrap_or(line)
                    .to_owned()
                    + "\n"
            })
            .collect();
        let all = from(&uncommented, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(all.edge.workers, load(None, [], None).unwrap().edge.workers);
    }
}
