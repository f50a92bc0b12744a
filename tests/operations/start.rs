//! What can be wrong is said before anybody is let in: by `fingerpost check` all at once, by `fingerpost serve` with exit
//! code 1, each time with the place and the mend.

use std::{fs, net::TcpListener, path::Path};

use crate::{output, refused_start, support};

/// A file in the folder, and its path as text.
fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn check(data: &Path, config: &str) -> (bool, String) {
    let output = output(data, &["check", "--config", config], &[]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[test]
fn check_reports_every_mistake_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let certificate = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let chain = file(folder, "chain.pem", certificate.cert.pem());
    let key = file(folder, "other.key", other.signing_key.serialize_pem());
    let city = file(folder, "city.mmdb", "no database");
    let keys =
        file(folder, "keys.toml", "[[key]]\nid = 1\nsecret = \"deadbeef\"\ncreated = \"2026-03-01T12:00:00Z\"\n");
    let text = format!(
        "[edge]\nworkers = \"many\"\nlistne = \"0.0.0.0:80\"\n\
         [edge.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{{ chain = \"{chain}\", key = \"{key}\" }}]\n\
         [geo]\ncity = \"{city}\"\nasn = \"/no/such/file.mmdb\"\n\
         [keys]\nfile = \"{keys}\"\n[log]\nlevel = \"fingerpost=loud\"\n"
    );
    let config = file(folder, "wrong.toml", text);
    let below_a_file = folder.join("city.mmdb/data");
    let (ok, said) = check(&below_a_file, &config);
    assert!(!ok, "{said}");
    let expected = [
        "edge.workers (wrong.toml): `many` is not a whole number",
        "edge.listne (wrong.toml): there is no such key: did you mean `edge.listen`?",
        "log.level: `fingerpost=loud` is no filter",
        "geo.asn (wrong.toml): there is no file /no/such/file.mmdb",
        "city.mmdb is damaged or no MaxMind DB file",
        "the key does not belong to the certificate",
        "the secret of key 1 is not 64 lower-case hexadecimal digits",
        "city.mmdb/data cannot be written: make it writable, or name another with --data",
    ];
    for part in expected {
        assert_eq!(said.matches(part).count(), 1, "{part} in:\n{said}");
    }
    assert!(said.starts_with("fingerpost: 8 mistakes"), "{said}");
    assert!(!said.contains("deadbeef"), "a secret is quoted: {said}");
}

#[test]
fn check_passes_what_we_ship_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("not/there/yet");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/fingerpost.toml");
    let (ok, said) = check(&data, shipped);
    assert!(ok && said.contains("fine"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a check changes nothing");
    // What the comments show is what is known: with every `#` before a key taken away it is still a configuration.
    let text = fs::read_to_string(shipped).unwrap();
    let open: Vec<_> =
        text.lines().map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')).unwrap_or(line)).collect();
    assert!(open.iter().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() > 25);
    let (ok, said) = check(&data, &file(folder.path(), "open.toml", open.join("\n")));
    assert!(ok, "{said}");
}

#[test]
fn a_file_that_is_no_toml_and_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), "broken.toml", "[edge\nworkers = 1\n");
    let (ok, said) = check(folder.path(), &config);
    assert!(!ok && said.contains("broken.toml"), "{said}");
    let (ok, said) = check(folder.path(), "/no/such/fingerpost.toml");
    assert!(!ok && said.contains("/no/such/fingerpost.toml"), "{said}");
}

#[test]
fn what_is_broken_stops_the_start_with_its_place_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    let no_database = file(folder, "country.mmdb", "no database");
    let certificate = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let chain = file(folder, "chain.pem", certificate.cert.pem());
    let no_key = file(folder, "no.key", "-----BEGIN NOTHING-----\n");
    let config = file(
        folder,
        "tls.toml",
        format!(
            "[edge.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{{ chain = \"{chain}\", key = \"{no_key}\" }}]\n"
        ),
    );
    let keys = file(folder, "keys.toml", "[[key]]\nid = 1\n");
    let catalog = format!("sqlite:{no_database}/catalog.db");
    for (settings, place, mend) in [
        (("edge.workers", "none"), "edge.workers (FINGERPOST__EDGE__WORKERS)", "whole number"),
        (("log.level", "fingerpost=loud"), "log.level", "use error, warn, info"),
        (("geo.country", no_database.as_str()), "geo.country: ", "download it again"),
        (("keys.file", keys.as_str()), keys.as_str(), "needs `id` (1 to 255), `secret` and `created`"),
        (("catalog.url", catalog.as_str()), "country.mmdb/catalog.db", ""),
    ] {
        let said = refused_start(&data, &[settings]);
        assert!(said.contains(place) && said.contains(mend), "{said}");
    }
    let output = output(&data, &["serve", "--config", &config], &crate::FREE);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no.key: is not valid PEM") && said.contains("copy the file again"), "{said}");
    assert!(!data.join("addresses.json").exists(), "nobody was let in");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_said_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let a_file = file(folder.path(), "file", "");
    // Nobody can make a folder there, not even root.
    for data in [Path::new(&a_file).join("data"), Path::new("/proc/fingerpost").to_owned()] {
        let said = refused_start(&data, &[]);
        let expected = format!("the data folder {} cannot be written: make it writable", data.display());
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for key in ["edge.listen", "control.listen", "ops.listen"] {
        let said = refused_start(folder.path(), &[(key, &taken)]);
        assert!(said.contains(key) && said.contains(&taken), "{key}: {said}");
    }
}

#[test]
fn what_scripts_need_is_in_the_data_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = support::Server::start(&data, &support::Options::default()).unwrap();
    let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("admin-token"), mode("keys.toml")), (0o700, 0o600, 0o600));
    let addresses: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(data.join("addresses.json")).unwrap()).unwrap();
    assert_eq!(addresses["pid"], server.pid());
    for listener in [&addresses["edge"][0], &addresses["control"], &addresses["ops"]] {
        assert!(!listener.as_str().unwrap().ends_with(":0"), "bound ports, not asked ones: {addresses}");
    }
    assert!(server.token().len() >= 32);
    let ours = support::api(server.control, &server.token(), "GET", "/v1/links", &serde_json::Value::Null);
    let wrong = support::api(server.control, "guess", "GET", "/v1/links", &serde_json::Value::Null);
    assert_eq!((ours.status, wrong.status), (200, 401));
}
