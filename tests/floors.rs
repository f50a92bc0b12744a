//! Guards the shape of the house: a room imports only from floors below its own, no file outgrows a reader's patience,
//! and each one opens by saying why it is there. Tests obey too.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rooms by floor: DESIGN §6 and the table in `src/lib.rs`.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["core", "testing"]),
    (1, &["links", "enrich", "io", "telemetry", "config"]),
    (2, &["catalog", "journal", "store"]),
    (3, &["referral", "outbox", "report"]),
    (4, &["edge", "pump", "api", "pages"]),
    (5, &["app"]),
    // The command line starts the app, and `main` the command line.
    (6, &["cli"]),
    (7, &["main"]),
];

/// Lines of one file.
const FILE_MAX_LINES: usize = 500;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

// === What a source says ===

/// A word, `::`, or one other character that matters, and the line it stands on.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The tokens of a source, without comments, texts and characters.
fn tokens(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let start = at;
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += block_comment(rest);
        } else if let Some(len) = raw_text(rest) {
            at += len;
        } else if bytes[at] == b'"' {
            at += text(rest);
        } else if bytes[at] == b'\'' {
            at += character_or_lifetime(rest);
        } else if bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(Token { text: rest[..len].to_owned(), line });
            at += len;
        } else if rest.starts_with("::") {
            found.push(Token { text: "::".to_owned(), line });
            at += 2;
        } else {
            let character = rest.chars().next().unwrap();
            if matches!(character, '{' | '}' | ',' | ';' | '*') {
                found.push(Token { text: character.to_string(), line });
            }
            at += character.len_utf8();
        }
        line += source[start..at].matches('\n').count();
    }
    found
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 || at >= rest.len() {
            return at.min(rest.len());
        }
    }
}

/// `r"…"`, `r#"…"#`, `br"…"`: its length.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest.len() - body.len() + body.find(&end)? + end.len())
}

fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| 3 + end + 1),
        Some((_, _)) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Each room that a source names by `crate::…` or by `super::…` out of its own, and the line.
fn rooms_named(module: &[String], source: &str) -> Vec<(String, usize)> {
    let tokens = tokens(source);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut named = Vec::new();
    // Inline modules that are open, each with the depth of its brace.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "mod" if word(at + 2) == "{" => {
                depth += 1;
                inline.push((word(at + 1).to_owned(), depth));
                at += 2;
            }
            "{" => depth += 1,
            "}" => {
                if inline.last().is_some_and(|(_, opened)| *opened == depth) {
                    inline.pop();
                }
                depth -= 1;
            }
            "crate" if word(at + 1) == "::" => heads(&tokens, at + 2, &mut named),
            "super" if word(at.wrapping_sub(1)) != "::" => {
                let mut up = 1;
                while word(at + 1) == "::" && word(at + 2) == "super" {
                    up += 1;
                    at += 2;
                }
                if up >= module.len() + inline.len() && word(at + 1) == "::" {
                    heads(&tokens, at + 2, &mut named);
                }
            }
            _ => {}
        }
        at += 1;
    }
    named
}

/// The first words of a path, or of each path in a group: `a::b`, `{a::b, c}`.
fn heads(tokens: &[Token], at: usize, named: &mut Vec<(String, usize)>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        named.push((first.text.clone(), first.line));
        return;
    }
    let mut depth = 0;
    let mut is_head = false;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                is_head = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            "," => is_head = depth == 1,
            word => {
                if is_head {
                    named.push((word.to_owned(), token.line));
                }
                is_head = false;
            }
        }
    }
}

// === What is allowed ===

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// `edge/decode.rs` → `edge`, `decode`; a room's `mod.rs` is the room.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// What is wrong with the imports of one file, by its path below `src/`.
fn wrong_imports(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let room = &module[0];
    let Some(own) = floor(room) else {
        return vec![format!("src/{file}:1: the room `{room}` has no floor: add it to FLOORS and to src/lib.rs")];
    };
    rooms_named(&module, source)
        .into_iter()
        .filter(|(other, _)| other != room)
        .filter_map(|(other, line)| {
            let problem = match floor(&other) {
                None => format!("`{other}` is no room"),
                Some(floor) if floor >= own => {
                    format!("`{room}` (floor {own}) imports from `{other}` (floor {floor}): only from below")
                }
                Some(_) => return None,
            };
            Some(format!("src/{file}:{line}: {problem}"))
        })
        .collect()
}

/// Every source below `src/`: its path there, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn a_room_imports_only_from_floors_below() {
    let sources = sources();
    assert!(sources.len() > 30, "the sources are not where they should be");
    let wrong: Vec<String> = sources
        .iter()
        .filter(|(file, _)| file != "lib.rs")
        .flat_map(|(file, source)| wrong_imports(file, source))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(file, source)| (file, source.lines().count()))
        .filter(|(file, lines)| *lines > FILE_MAX_LINES && !LONG_FILES.iter().any(|(long, _)| long == file))
        .map(|(file, lines)| {
            format!("src/{file}: {lines} lines, at most {FILE_MAX_LINES}: it has more than one purpose")
        })
        .collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn each_file_says_why_it_is_there() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|(_, source)| !source.starts_with("//! ") || source.lines().next().is_some_and(|line| line.len() < 12))
        .map(|(file, _)| format!("src/{file}:1: the first line is no `//!` comment that says why the file is there"))
        .collect();
    assert!(silent.is_empty(), "\n{}\n", silent.join("\n"));
}

// === The guard itself ===

#[test]
fn wrong_imports_are_found_with_their_line() {
    let source = r##"//! A made-up source.
// use crate::edge::Comment;
/* use crate::edge::Block; /* nested */ use crate::pump::Block; */
use crate::{core::code::Code, links::{Index, api}, config};
use super::super::pump::Pump;
const TEXT: &str = "crate::edge::Text \" crate::edge::Text";
const RAW: &str = r#"crate::edge::Raw" crate::edge::Raw"#;
const QUOTE: (char, char) = ('"', '\'');
fn call<'a>(it: &'a str) { crate::io::clock::now(it); crate::
    journal::append(); }
mod tests {
    use super::*;
    use super::super::telemetry::names;
    use super::super::super::app::run;
    use crate::attic::Box;
}
use super::sibling;
"##;
    assert_eq!(
        wrong_imports("enrich/geo.rs", source),
        [
            "src/enrich/geo.rs:4: `enrich` (floor 1) imports from `links` (floor 1): only from below",
            "src/enrich/geo.rs:4: `enrich` (floor 1) imports from `config` (floor 1): only from below",
            "src/enrich/geo.rs:5: `enrich` (floor 1) imports from `pump` (floor 4): only from below",
            "src/enrich/geo.rs:9: `enrich` (floor 1) imports from `io` (floor 1): only from below",
            "src/enrich/geo.rs:10: `enrich` (floor 1) imports from `journal` (floor 2): only from below",
            "src/enrich/geo.rs:14: `enrich` (floor 1) imports from `app` (floor 5): only from below",
            "src/enrich/geo.rs:15: `attic` is no room",
        ]
    );
}

#[test]
fn right_imports_pass() {
    let source = "use crate::{core::{code, id}, io::clock, catalog};\nuse super::lane::*;\nmod tests { use super::*; }";
    assert_eq!(wrong_imports("edge/record.rs", source), [""; 0]);
    assert_eq!(wrong_imports("edge/mod.rs", "use crate::edge::decode;\npub(in crate::edge) fn a() {}"), [""; 0]);
    assert_eq!(wrong_imports("cli/serve.rs", "use crate::edge;\nuse super::Global;"), [""; 0]);
    assert_eq!(wrong_imports("attic/mod.rs", "").len(), 1, "a room without a floor");
    assert_eq!(wrong_imports("core/id.rs", "use super::super::io;").len(), 1, "out of the room by super");
    assert_eq!(wrong_imports("core/mod.rs", "use super::io;").len(), 1, "out of the room by super");
}
