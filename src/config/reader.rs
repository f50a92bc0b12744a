//! Takes settings out of the merged tree by key, collects every mistake, and at the end refuses what nobody asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Value, ValueKind};

use super::{Certificate, ConfigError, Mistake, secret::Secret};
use crate::core::duration;

const PREFIX: &str = "FINGERPOST";
/// Variables that are ours and no settings: of the command line, of the build, of the tests.
const OTHER_VARIABLES: [&str; 4] = ["FINGERPOST_CONFIG", "FINGERPOST_DATA_DIR", "FINGERPOST_COMMIT", "FINGERPOST_BIN"];

/// A list of tables (certificates) is taken whole; everything else is a leaf.
pub(super) struct Reader {
    leaves: BTreeMap<String, Value>,
    file: Option<String>,
    environment: BTreeSet<String>,
    known: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Reader, ConfigError> {
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with("FINGERPOST_"));
        let (environment, others): (config::Map<String, String>, config::Map<String, String>) =
            ours.partition(|(name, _)| name.starts_with("FINGERPOST__"));
        let mistakes = others
            .into_keys()
            .filter(|name| !OTHER_VARIABLES.contains(&name.as_str()))
            .map(|name| Mistake {
                place: name,
                problem: "is not known: settings are FINGERPOST__SECTION__KEY, with two underscores".to_owned(),
            })
            .collect();
        let names = environment.keys().map(|name| key_of(name)).collect();
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let source =
            config::Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(environment));
        let merged = builder.add_source(source).build().map_err(|error| {
            let place = file.map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
            ConfigError(vec![Mistake { place, problem: format!("cannot be read: {error}") }])
        })?;
        let mut leaves = BTreeMap::new();
        flatten("", merged.cache, &mut leaves);
        let file = file.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Ok(Reader { leaves, file, environment: names, known: BTreeSet::new(), mistakes })
    }

    fn place(&self, key: &str) -> String {
        if self.environment.contains(key) {
            format!("{key} ({PREFIX}__{})", key.to_uppercase().replace('.', "__"))
        } else {
            match &self.file {
                Some(file) if self.known_or_set(key) => format!("{key} ({file})"),
                _ => key.to_owned(),
            }
        }
    }

    fn known_or_set(&self, key: &str) -> bool {
        self.leaves.contains_key(key) || self.known.contains(key)
    }

    pub(super) fn mistake(&mut self, key: &str, problem: &str) {
        self.mistakes.push(Mistake { place: self.place(key), problem: problem.to_owned() });
    }

    /// The value of a key through `parse`, or the default; a mistake is noted.
    fn take<T>(&mut self, key: &str, parse: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        self.known.insert(key.to_owned());
        let value = self.leaves.get(key)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.mistake(key, &problem);
                None
            }
        }
    }

    pub(super) fn optional<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.take(key, |value| {
            let text = text(value)?;
            if text.is_empty() { Ok(None) } else { parse(&text).map(Some) }
        })
        .flatten()
    }

    pub(super) fn text(&mut self, key: &str, default: &str) -> String {
        self.optional(key, |text| Ok(text.to_owned())).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn secret(&mut self, key: &str) -> Secret {
        Secret::new(self.text(key, ""))
    }

    /// Everything under `key`: names that are not ours to know, with values that may be secret.
    pub(super) fn table(&mut self, key: &str) -> BTreeMap<String, Secret> {
        let prefix = format!("{key}.");
        let keys: Vec<String> = self.leaves.keys().filter(|leaf| leaf.starts_with(&prefix)).cloned().collect();
        keys.iter().map(|leaf| (leaf[prefix.len()..].to_owned(), self.secret(leaf))).collect()
    }

    pub(super) fn path(&mut self, key: &str, default: &str) -> PathBuf {
        self.optional(key, |text| Ok(PathBuf::from(text))).unwrap_or_else(|| PathBuf::from(default))
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        self.take(key, |value| match text(value)?.as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            other => Err(format!("`{other}` is neither true nor false")),
        })
        .unwrap_or(default)
    }

    pub(super) fn integer(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.take(key, |value| {
            let text = text(value)?;
            let number = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
            in_range(number, &range)
        })
        .unwrap_or(default)
    }

    /// A number of bytes, or with a unit: `64KiB`, `16MiB`, `2GiB`.
    pub(super) fn bytes(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.take(key, |value| {
            let text = text(value)?;
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let shift = match &text[digits.len()..] {
                "" | "B" => Some(0),
                "KiB" => Some(10),
                "MiB" => Some(20),
                "GiB" => Some(30),
                "TiB" => Some(40),
                _ => None,
            };
            let number = digits.trim().parse::<u64>().ok().zip(shift).and_then(|(n, shift)| n.checked_mul(1 << shift));
            let number =
                number.ok_or_else(|| format!("`{text}` is not a size: use bytes or a unit, for example 16MiB"))?;
            in_range(number, &range)
        })
        .unwrap_or(default)
    }

    pub(super) fn duration(&mut self, key: &str, default: Duration) -> Duration {
        self.take(key, |value| duration::parse(&text(value)?).map_err(|e| e.to_string())).unwrap_or(default)
    }

    /// How long something is kept: a duration, or `never` for zero, which means that it never goes. Asked twice, a mistake is
    /// told once.
    pub(super) fn kept(&mut self, key: &str, default: Duration) -> Duration {
        let before = self.mistakes.len();
        let kept = self
            .take(key, |value| match text(value)?.as_str() {
                "never" | "0" => Ok(Duration::ZERO),
                other => duration::parse(other).map_err(|error| format!("{error}, or \"never\"")),
            })
            .unwrap_or(default);
        if self.mistakes.len() > before
            && let Some(mistake) = self.mistakes.pop()
            && !self.mistakes.contains(&mistake)
        {
            self.mistakes.push(mistake);
        }
        kept
    }

    pub(super) fn word<T: Copy>(&mut self, key: &str, default: T, words: &[(&str, T)]) -> T {
        self.take(key, |value| {
            let text = text(value)?;
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("`{text}` is not one of {}", known.join(", "))
            })
        })
        .unwrap_or(default)
    }

    pub(super) fn address(&mut self, key: &str, default: &str) -> SocketAddr {
        self.take(key, |value| socket_address(&text(value)?)).unwrap_or_else(|| fallback(default))
    }

    /// A list, or one text with commas.
    pub(super) fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        self.take(key, |value| texts(value)?.iter().map(|text| parse(text)).collect()).unwrap_or_default()
    }

    pub(super) fn addresses(&mut self, key: &str, default: &str) -> Vec<SocketAddr> {
        self.take(key, |value| texts(value)?.iter().map(|text| socket_address(text)).collect())
            .unwrap_or_else(|| if default.is_empty() { Vec::new() } else { vec![fallback(default)] })
    }

    pub(super) fn certificates(&mut self, key: &str) -> Vec<Certificate> {
        self.take(key, |value| {
            let form = "give a list of tables, for example [{ chain = \"tls/chain.pem\", key = \"tls/key.pem\" }]";
            let ValueKind::Array(items) = &value.kind else { return Err(form.to_owned()) };
            items
                .iter()
                .map(|item| {
                    let ValueKind::Table(table) = &item.kind else { return Err(form.to_owned()) };
                    if let Some(unknown) = table.keys().find(|name| !matches!(name.as_str(), "chain" | "key")) {
                        return Err(format!("`{unknown}` is not known in a certificate: {form}"));
                    }
                    let path = |name| table.get(name).ok_or(form.to_owned()).and_then(text).map(PathBuf::from);
                    Ok(Certificate { chain: path("chain")?, key: path("key")? })
                })
                .collect()
        })
        .unwrap_or_default()
    }

    /// Every mistake, once all keys have been taken.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        let unknown: Vec<String> = self.leaves.keys().filter(|key| !self.known.contains(*key)).cloned().collect();
        for key in unknown {
            let nearest = self.known.iter().map(|known| (distance(known, &key), known)).min();
            let problem = match nearest {
                Some((distance, known)) if distance <= 3 => format!("there is no such key: did you mean `{known}`?"),
                _ => "there is no such key: config/fingerpost.toml lists them all".to_owned(),
            };
            self.mistake(&key, &problem);
        }
        self.mistakes
    }
}

/// `FINGERPOST__EDGE__LISTEN` → `edge.listen`.
fn key_of(name: &str) -> String {
    name.trim_start_matches("FINGERPOST__").to_lowercase().replace("__", ".")
}

fn flatten(prefix: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(&key, value, leaves);
            }
        }
        _ => {
            leaves.insert(prefix.to_owned(), value);
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.trim().to_owned()),
        ValueKind::Boolean(_) | ValueKind::I64(_) | ValueKind::U64(_) | ValueKind::Float(_) => Ok(value.to_string()),
        ValueKind::Nil => Ok(String::new()),
        _ => Err("one value is expected here, not a list or table".to_owned()),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    match &value.kind {
        ValueKind::Array(items) => items.iter().map(text).collect(),
        _ => Ok(text(value)?.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and port: use one like 0.0.0.0:8080 or [::]:8080"))
}

fn fallback(default: &str) -> SocketAddr {
    default.parse().unwrap_or_else(|_| unreachable!("built-in default {default} parses"))
}

fn in_range(number: u64, range: &RangeInclusive<u64>) -> Result<u64, String> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is out of range: {} to {} is allowed", range.start(), range.end()))
    }
}

/// Levenshtein distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
