//! SIGHUP takes certificates and geo files again; a broken one keeps what worked, and is counted.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "support/mmdb.rs"]
mod mmdb;
mod support;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use mmdb::Value;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use support::{Client, Options, Server, client::BROWSER, eventually, metric, rows};

/// Takes every certificate and remembers it: the test asks which one is served, not whether it may be believed.
#[derive(Debug)]
struct Remember(Mutex<Vec<u8>>);

impl ServerCertVerifier for Remember {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a fresh connection is shown, in DER, and the answer to a click over it.
fn over_tls(address: SocketAddr) -> (Vec<u8>, String) {
    use std::io::{BufRead, BufReader, Write};
    let seen = Arc::new(Remember(Mutex::new(Vec::new())));
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("r.example").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
    write!(stream.get_mut(), "HEAD /demo HTTP/1.1\r\nHost: r.example\r\nUser-Agent: {BROWSER}\r\n\r\n").unwrap();
    let mut status = String::new();
    stream.read_line(&mut status).unwrap();
    let certificate = seen.0.lock().unwrap().clone();
    (certificate, status)
}

/// Writes a new certificate and its key over the files; the certificate in DER.
fn renew(chain: &Path, key: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
    fs::write(chain, made.cert.pem()).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().to_vec()
}

fn reloads(server: &Server, what: &str, result: &str) -> Option<f64> {
    let series = |labels: &str| metric(server.ops, &format!("fingerpost_reloads_total{{{labels}}}"));
    series(&format!("what=\"{what}\",result=\"{result}\"")).or(series(&format!("result=\"{result}\",what=\"{what}\"")))
}

/// SIGHUP, and until it is counted so.
fn hang_up(server: &Server, what: &str, result: &str) {
    let before = reloads(server, what, result).unwrap_or_default();
    server.signal("HUP");
    eventually(&format!("{what} to be {result}"), || {
        (reloads(server, what, result).unwrap_or_default() > before).then_some(())
    });
}

#[test]
fn a_new_certificate_is_served_and_a_broken_one_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let first = renew(&chain, &key);
    let config = folder.path().join("fingerpost.toml");
    let listen = format!(
        "[edge.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{{ chain = \"{}\", key = \"{}\" }}]\n",
        chain.display(),
        key.display()
    );
    fs::write(&config, listen).unwrap();
    let mut options = Options::default().demo();
    options.arguments.extend(["--config".to_owned(), config.display().to_string()]);
    let server = Server::start(&folder.path().join("data"), &options).unwrap();
    let tls = server.edge_tls.unwrap();
    let answers = |certificate: &[u8]| {
        let (seen, status) = over_tls(tls);
        assert!(seen == certificate, "another certificate is served");
        assert_eq!(status, "HTTP/1.1 302 Found\r\n");
    };
    answers(&first);

    let second = renew(&chain, &key);
    answers(&first);
    hang_up(&server, "certificates", "taken");
    answers(&second);

    fs::write(&chain, "no certificate").unwrap();
    hang_up(&server, "certificates", "kept");
    answers(&second);
    let said = server.wait_for_log(&["not reloaded", "certificates"]);
    assert!(said.contains("chain.pem") && said.contains("ERROR"), "{said}");
    assert_eq!(reloads(&server, "keys", "taken"), Some(2.0), "what is not broken is taken all the same");

    let third = renew(&chain, &key);
    hang_up(&server, "certificates", "taken");
    answers(&third);
    assert!(server.stop().success());
}

fn country(code: &'static str) -> Vec<u8> {
    let record = Value::Map(vec![("country", Value::Map(vec![("iso_code", Value::Text(code))]))]);
    mmdb::write("Test-Country", &[("192.0.2.0", 24, record)])
}

/// As an operator has to: a file that is mapped into memory is never written over.
fn replace(path: &Path, bytes: &[u8]) {
    let beside: PathBuf = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[test]
fn a_new_geo_file_is_used_and_a_broken_one_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    replace(&path, &country("CH"));
    let options = Options::default()
        .demo()
        .set("geo.country", path.display().to_string())
        .set("edge.trusted_proxies", "127.0.0.0/8");
    let server = Server::start(&folder.path().join("data"), &options).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let mut click = || {
        let headers = [("User-Agent", BROWSER), ("X-Forwarded-For", "192.0.2.7")];
        assert_eq!(client.send("GET", "/demo", &headers, b"").unwrap().status, 302);
    };
    click();
    replace(&path, &country("AT"));
    hang_up(&server, "geo", "taken");
    click();
    replace(&path, b"no database");
    hang_up(&server, "geo", "kept");
    click();
    let said = server.wait_for_log(&["not reloaded", "geo"]);
    assert!(said.contains("country.mmdb") && said.contains("download it again"), "{said}");
    let rows = rows(&server.data, 3);
    let countries: Vec<_> = rows.iter().map(|row| row["country"].as_str().unwrap()).collect();
    assert_eq!(countries, ["CH", "AT", "AT"]);
    assert!(rows.iter().all(|row| row["address"] == "192.0.2.0/24"));
}
