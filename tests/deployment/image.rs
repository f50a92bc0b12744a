//! `Dockerfile` and `.dockerignore`: what the build needs is in its context, and what comes out is what an orchestrator
//! expects.

use crate::{accepts, path, read, tool};

/// One instruction and its words, continued lines joined.
#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) name: String,
    pub(crate) words: String,
}

pub(crate) fn instructions() -> Vec<Instruction> {
    let lines: Vec<String> = read("Dockerfile").lines().filter(|line| !line.starts_with('#')).map(Into::into).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, words)| Instruction { name: name.to_owned(), words: words.trim().to_owned() })
        .collect()
}

/// The instructions of the stage that is shipped.
fn shipped() -> Vec<Instruction> {
    let all = instructions();
    let last = all.iter().rposition(|instruction| instruction.name == "FROM").expect("a stage");
    all.into_iter().skip(last).collect()
}

/// `NAME=value` pairs of the instructions of that name.
pub(crate) fn pairs(instructions: &[Instruction], name: &str) -> Vec<(String, String)> {
    let of_name = instructions.iter().filter(|instruction| instruction.name == name);
    let pair = regex::Regex::new(r#"([A-Za-z0-9_.]+)=("[^"]*"|\S+)"#).expect("an expression");
    of_name
        .flat_map(|instruction| pair.captures_iter(&instruction.words).collect::<Vec<_>>())
        .map(|found| (found[1].to_owned(), found[2].trim_matches('"').to_owned()))
        .collect()
}

/// The environment that the image gives its process.
pub(crate) fn environment() -> Vec<(String, String)> {
    pairs(&shipped(), "ENV")
}

/// Whether a file is sent to the build: the last line of `.dockerignore` that speaks of it decides.
fn is_in_context(file: &str) -> bool {
    let mut sent = true;
    for line in read(".dockerignore").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (pattern, verdict) = line.strip_prefix('!').map_or((line, false), |pattern| (pattern, true));
        let speaks = match pattern.strip_suffix('*') {
            Some(start) => file.starts_with(start),
            None => file == pattern || file.starts_with(&format!("{pattern}/")),
        };
        if speaks {
            sent = verdict;
        }
    }
    sent
}

#[test]
fn hadolint_finds_nothing() {
    accepts(tool("hadolint").arg("Dockerfile"));
}

#[test]
fn what_the_build_copies_and_includes_is_in_its_context() {
    let all = instructions();
    let word = regex::Regex::new(r"(?:^|\s)(LICENSE|config/[\w./*-]+)").expect("an expression");
    let runs = all.iter().filter(|instruction| instruction.name == "RUN");
    let copied: Vec<String> = runs
        .flat_map(|run| word.captures_iter(&run.words).map(|found| found[1].to_owned()).collect::<Vec<_>>())
        .collect();
    assert!(copied.len() >= 3, "{copied:?}");
    let included = std::process::Command::new("grep")
        .args(["-rhoE", r#"include_(str|bytes)!\("(\.\./)+[^"]+"#, "src"])
        .current_dir(path(""))
        .output()
        .expect("grep");
    let included = String::from_utf8(included.stdout).expect("text");
    let included: Vec<String> =
        included.lines().map(|line| line.rsplit("../").next().expect("a path").to_owned()).collect();
    assert!(included.contains(&"config/geo/country.mmdb".to_owned()), "{included:?}");
    for file in copied.iter().chain(&included).map(String::as_str).chain(["Cargo.toml", "Cargo.lock", "src/main.rs"]) {
        let folder = file.split_once('*').map_or(file, |(start, _)| start.rsplit_once('/').expect("a folder").0);
        assert!(path(folder).exists(), "{file} is not there");
        assert!(is_in_context(folder), "{file} is not sent to the build: .dockerignore leaves it out");
    }
    for secret in ["config/.env", "data/keys.toml", ".git/config", "target/release/fingerpost"] {
        assert!(!is_in_context(secret), "{secret} would be sent to the build");
    }
    // Benches without a path in Cargo.toml must be there for the manifest to be read at all.
    assert!(is_in_context("benches/geo.rs"));
}

#[test]
fn stages_copy_only_what_an_earlier_one_made() {
    let all = instructions();
    let made: String =
        all.iter().filter(|one| one.name == "RUN").map(|one| one.words.as_str()).collect::<Vec<_>>().join(" ");
    let copies: Vec<&Instruction> =
        all.iter().filter(|one| one.name == "COPY" && one.words.contains("--from=")).collect();
    assert!(copies.len() >= 2);
    for copy in copies {
        assert!(copy.words.contains("--from=build "), "{copy:?}");
        let from = copy.words.split_whitespace().rev().nth(1).expect("a source");
        assert!(made.contains(from), "nobody makes {from}: {copy:?}");
    }
}

#[test]
fn it_runs_as_nobody_and_can_be_asked_for_its_health() {
    let shipped = shipped();
    let one = |name: &str| -> &str {
        let found: Vec<_> = shipped.iter().filter(|instruction| instruction.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        &found[0].words
    };
    assert!(one("FROM").contains("distroless") && one("FROM").ends_with(":nonroot"), "{}", one("FROM"));
    assert_eq!(one("USER"), "65532:65532", "distroless' nonroot, by its number");
    assert_eq!(one("STOPSIGNAL"), "SIGTERM");
    let run: Vec<String> = serde_json::from_str(one("ENTRYPOINT")).expect("the exec form: there is no shell");
    assert_eq!(run, ["/usr/local/bin/fingerpost"]);
    let ask = one("HEALTHCHECK").split_once("CMD ").expect("a command").1;
    let ask: Vec<String> = serde_json::from_str(ask).expect("the exec form: there is no shell");
    assert_eq!(ask, ["/usr/local/bin/fingerpost", "health"]);
    let labels = pairs(&shipped, "LABEL");
    for label in ["title", "description", "licenses", "source", "documentation", "version", "revision", "base.name"] {
        let value = labels.iter().find(|(name, _)| *name == format!("org.opencontainers.image.{label}"));
        let (_, value) = value.unwrap_or_else(|| panic!("there is no label {label}"));
        if let Some(argument) = value.strip_prefix('$') {
            let declared = shipped.iter().any(|one| one.name == "ARG" && one.words.starts_with(argument));
            assert!(declared, "{label} is ${argument}, which is no ARG of this stage");
        }
    }
    assert_eq!(labels.iter().find(|(name, _)| name.ends_with(".base.name")).expect("a label").1, one("FROM"));
    let version = shipped.iter().find(|one| one.words.starts_with("VERSION=")).expect("a default");
    assert_eq!(version.words, format!("VERSION={}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn it_is_built_with_what_the_manifest_knows() {
    let all = instructions();
    let build = all.iter().find(|one| one.words.contains("cargo build")).expect("a build");
    for word in ["--release", "--locked", "--features kafka-ssl-vendored", "--bin fingerpost"] {
        assert!(build.words.contains(word), "{word}: {}", build.words);
    }
    assert!(read("Cargo.toml").lines().any(|line| line.starts_with("kafka-ssl-vendored = ")));
    let from = &all.iter().find(|one| one.name == "FROM").expect("a stage").words;
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(from.starts_with(&format!("rust:{rust}")), "{from} is not Rust {rust}");
}
