//! `fingerpost import` and `fingerpost export` with the real binary.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{fs, path::PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

struct Shell {
    folder: TempDir,
}

struct Ran {
    ok: bool,
    out: String,
    err: String,
}

impl Shell {
    fn new() -> Shell {
        Shell { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn run_with(&self, input: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::cargo_bin("fingerpost").unwrap();
        let output = command
            .args(arguments)
            .arg("--data")
            .arg(self.path("data"))
            .env_remove("FINGERPOST_CONFIG")
            .write_stdin(input)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with("", arguments)
    }

    fn import(&self, kind: &str, text: &str) {
        let ran = self.run_with(text, &["import", kind, "-"]);
        assert!(ran.ok, "{}", ran.err);
    }

    fn export(&self, kind: &str) -> String {
        let ran = self.run(&["export", kind]);
        assert!(ran.ok, "{}", ran.err);
        ran.out
    }
}

#[test]
fn columns_may_come_in_any_order_and_optional_ones_may_be_missing() {
    let shell = Shell::new();
    shell.import("links", "\u{feff}address,code\nhttps://a.example,One\n\nhttps://b.example,two\n");
    assert_eq!(
        shell.export("links"),
        "code,name,address,partner,programs,rules,fallback,expires_at,max_clicks,to_hosts,click_parameter,partner_parameter,ad_parameter,preview\n\
         one,,https://a.example/,,,,,,,,,,,\n\
         two,,https://b.example/,,,,,,,,,,,\n"
    );
    // A second import replaces, like PUT.
    shell.import("links", "code,name,address\none,First,https://c.example\n");
    assert!(shell.export("links").contains("one,First,https://c.example/,"));
}

#[test]
fn an_unknown_or_missing_column_names_the_known_ones() {
    let shell = Shell::new();
    for (text, expected) in [
        ("code,adress\na,b\n", "there is no column `adress`: known are code, name, address"),
        ("name,address\na,b\n", "the column `code` is missing"),
        ("code,code\na,b\n", "twice"),
    ] {
        let ran = shell.run_with(text, &["import", "links", "-"]);
        assert!(!ran.ok && ran.err.contains(expected), "{}", ran.err);
    }
    let ran = shell.run(&["import", "links", "/no/such/file.csv"]);
    assert!(!ran.ok && ran.err.contains("/no/such/file.csv"), "{}", ran.err);
}

/// A header, 25 bad lines of several kinds, and good ones between them.
fn mixed() -> Vec<u8> {
    let mut text = b"code,name,address\n".to_vec();
    for n in 0..22 {
        text.extend_from_slice(format!("good-{n},x,https://a.example/{n}\nbad {n},x,https://a.example\n").as_bytes());
    }
    text.extend_from_slice(b"no-address,x,\nshort,x\nlatin,\xe4,https://a.example\ngood-0,again,https://a.example\n");
    text
}

#[test]
fn all_or_nothing_is_the_default() {
    let shell = Shell::new();
    shell.import("links", "code,address\nbefore,https://a.example\n");
    let file = shell.write("links.csv", mixed());
    let ran = shell.run(&["import", "links", &file]);
    assert!(!ran.ok);
    assert!(ran.err.contains("26 of 48 lines are bad, nothing was imported"), "{}", ran.err);
    assert!(ran.err.contains("line 3: code: has ' ' at position 4"), "{}", ran.err);
    assert_eq!(ran.err.matches("\n  line ").count(), 20, "{}", ran.err);
    assert!(ran.err.contains("and 6 more"), "{}", ran.err);
    assert_eq!(shell.export("links").lines().count(), 2, "only what was there before");
    assert!(!shell.path("links.csv.refused.csv").exists());
}

#[test]
fn skip_bad_imports_the_rest_and_the_mended_file_goes_in_as_it_is() {
    let shell = Shell::new();
    let file = shell.write("links.csv", mixed());
    let ran = shell.run(&["import", "links", &file, "--skip-bad"]);
    assert!(
        ran.ok && ran.out.contains("22 links imported") && ran.out.contains("26 lines refused"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert_eq!(shell.export("links").lines().count(), 23);
    let refused = fs::read(shell.path("links.csv.refused.csv")).unwrap();
    let refused = String::from_utf8_lossy(&refused);
    assert_eq!(refused.lines().count(), 27);
    for expected in [
        "code,name,address,reason\n",
        "line 46: address: is missing",
        "line 47: line: has 2 cells, the first line has 3",
        "line 48: line: is not UTF-8 in cell 2",
        "line 49: code: `good-0` stands in line 2 already",
    ] {
        assert!(refused.contains(expected), "{expected} is missing in\n{refused}");
    }
    let mended: String = refused.lines().take(3).map(|line| line.replace("bad ", "mended-") + "\n").collect();
    shell.import("links", &mended);
    assert_eq!(shell.export("links").lines().count(), 25);
}

#[test]
fn a_dry_run_changes_nothing() {
    let shell = Shell::new();
    let file = shell.write("links.csv", "code,address\na,https://a.example\n");
    let ran = shell.run(&["import", "links", &file, "--dry-run"]);
    assert!(ran.ok && ran.out.contains("1 links could be imported"), "{}{}", ran.out, ran.err);
    assert_eq!(shell.export("links").lines().count(), 1);
}

/// Everything that a catalog can hold, with cells that a spreadsheet would run.
#[test]
fn export_and_import_lose_nothing() {
    let from = Shell::new();
    from.import(
        "programs",
        "code,name,status,attribution,window_days,domain,origins,credit,qualification,rewards,parent_shares,review,notify,preview\n\
         spring,'=1+1,paused,first_touch,30,shop.example,https://shop.example;http://a.example:8080,latest,\"{\"\"on\"\":\"\"lead\"\"}\",\
         \"[{\"\"code\"\":\"\"r\"\",\"\"to\"\":\"\"both\"\",\"\"on\"\":\"\"lead\"\",\"\"value\"\":{\"\"gift\"\":\"\"a mug\"\"},\"\"hold_days\"\":3,\"\"auto_issue\"\":false}]\",\
         \"[1000,500]\",\"{\"\"hold_from\"\":50}\",\"{\"\"addresses\"\":[\"\"ops@shop.example\"\"],\"\"partner\"\":true,\"\"subject\"\":\"\"\"\",\"\"text\"\":\"\"{amount}\"\"}\",\
         \"{\"\"title\"\":\"\"=1+1, a \\\"\"quote\\\"\"\"\",\"\"image\"\":\"\"https://shop.example/a.jpg\"\"}\"\nvip,,,,,,,,,,,,,\n",
    );
    from.import(
        "partners",
        "code,name,first_name,email,parent,programs,status,allowed\n\
         p2,\"Lee, \"\"Ann\"\"\",@ann,ann@shop.example,p1,vip;spring,pending,hair;later\np1,-2,,,,,,\n",
    );
    from.import(
        "links",
        "code,name,address,partner,programs,rules,fallback,expires_at,max_clicks,to_hosts,click_parameter,partner_parameter,ad_parameter,preview\n\
         hair,'+49,https://shop.example/{partner},p1,spring,\"[{\"\"country\"\":[\"\"DE\"\"],\"\"address\"\":\"\"https://de.example/\"\"}]\",https://f.example,2027-01-01T00:00:00Z,9,a.example;b.example,cid,ref,ad,\"{\"\"site_name\"\":\"\"Shop\"\"}\"\n\
         plain,''=x,https://a.example,,,,,,,,,,,\n",
    );
    from.import(
        "ads",
        "partner,code,name,description,media_type,start_date\np1,site,Site,\"two\nlines\",banner,2026-03-01\n",
    );
    from.import("share-links", "slug,link,partner,ad\nshort,hair,p1,site\n,plain,p2,\n");

    let programs = from.export("programs");
    for cell in [
        "\nspring,'=1+1,paused,first_touch,30,shop.example,https://shop.example;http://a.example:8080,latest,",
        "\"\"a mug\"\"",
        "\"[1000,500]\"",
        "\"\"hold_from\"\":50",
        "\"\"title\"\":\"\"=1+1, a ",
    ] {
        assert!(programs.contains(cell), "{cell} in {programs}");
    }
    assert!(from.export("partners").contains("'-2") && from.export("partners").contains("'@ann"));
    assert!(from.export("links").contains("'+49") && from.export("links").contains("''=x"));
    let to = Shell::new();
    for kind in ["programs", "partners", "links", "ads", "share-links"] {
        let exported = from.export(kind);
        assert!(exported.lines().count() > 1, "{kind}");
        to.import(kind, &exported);
        assert_eq!(to.export(kind), exported, "{kind}");
    }
    let ndjson = from.run(&["export", "links", "--format", "ndjson"]).out;
    let link: serde_json::Value = serde_json::from_str(ndjson.lines().next().unwrap()).unwrap();
    assert_eq!((&link["name"], &link["max_clicks"]), (&serde_json::json!("+49"), &serde_json::json!(9)));
    let file = from.path("out.csv").display().to_string();
    assert!(from.run(&["export", "links", &file]).ok);
    assert_eq!(fs::read_to_string(&file).unwrap(), from.export("links"));
}

#[test]
fn what_a_line_mentions_must_exist() {
    let shell = Shell::new();
    let ran = shell.run_with("partner,code\nnobody,a\n", &["import", "ads", "-"]);
    assert!(!ran.ok && ran.err.contains("line 2: partner: there is no partner `nobody`"), "{}", ran.err);
}
