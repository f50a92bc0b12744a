//! TLS: the certificate by name, both protocols and versions, reload.

use std::{fs, io, path::PathBuf, sync::Arc};

use fingerpost::{
    config::Certificate,
    core::time::Millis,
    edge::{
        counters::CloseReason,
        listener::Kind,
        tls::{TlsHandle, load},
    },
};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Options, Server,
    http_client::{Http2, Raw, patiently},
    in_worker,
};

const NOW: Millis = Millis(1_772_368_200_000);

/// Certificates in a folder, and clients that trust all of them.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new self-signed certificate for these names, in the files `file`.pem and `file`.key.
    fn certificate(&self, file: &str, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let files = Certificate { chain: self.path(&format!("{file}.pem")), key: self.path(&format!("{file}.key")) };
        fs::write(&files.chain, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    /// One certificate for these names, ready to serve.
    pub(crate) fn handle(&self, names: &[&str]) -> TlsHandle {
        TlsHandle::new(load(&[self.certificate(names[0], names)], NOW).unwrap())
    }

    fn client(&self, alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                roots.add(CertificateDer::from_pem_file(&path).unwrap()).unwrap();
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn handshake(
        &self,
        tcp: TcpStream,
        name: &str,
        alpn: &[&str],
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        patiently("TLS handshake", self.client(alpn, rustls::ALL_VERSIONS).connect(name, tcp)).await
    }

    pub(crate) async fn connect(&self, server: &Server, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.handshake(server.raw().await.io, name, alpn).await.unwrap()
    }
}

fn start(handle: TlsHandle) -> Server {
    Server::start(Options { kind: Kind::Tls(handle), ..Options::default() })
}

#[test]
fn both_protocols_in_both_versions() {
    in_worker(async {
        let folder = Folder::new();
        let server = start(folder.handle(&["one.example"]));
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            for (offered, chosen) in
                [(vec![], None), (vec!["http/1.1"], Some("http/1.1")), (vec!["h2", "http/1.1"], Some("h2"))]
            {
                let name = ServerName::try_from("one.example").unwrap();
                let connecting = folder.client(&offered, versions).connect(name, server.raw().await.io);
                let tls = patiently("TLS handshake", connecting).await.unwrap();
                assert_eq!(tls.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
                if chosen == Some("h2") {
                    let (status, body) = Http2::over(tls).await.get("/").await.unwrap();
                    assert!(status == 200 && body.ends_with(b" true 0"));
                } else {
                    let mut client = Raw::over(tls);
                    assert!(client.get("/").await.text().ends_with(" true 0"));
                    client.send("GET / HTTP/1.1\r\n\r\n").await;
                    assert_eq!(client.answer().await.unwrap().status, 400);
                    assert_eq!(client.closed().await, b"", "closed as TLS wants it, with nothing behind");
                }
            }
        }
    });
}

#[test]
fn sessions_are_resumed_by_ticket() {
    in_worker(async {
        let folder = Folder::new();
        let server = start(folder.handle(&["one.example"]));
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            let client = folder.client(&[], versions);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let name = ServerName::try_from("one.example").unwrap();
                let tls = patiently("TLS", client.connect(name, server.raw().await.io)).await.unwrap();
                let mut client = Raw::over(tls);
                client.get("/").await;
                kinds.push(client.io.get_ref().1.handshake_kind().unwrap());
            }
            assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{kinds:?}");
        }
    });
}

#[test]
fn the_name_chooses_the_certificate() {
    in_worker(async {
        let folder = Folder::new();
        let first = folder.certificate("first", &["first.example"]);
        let second = folder.certificate("second", &["second.example", "*.second.example"]);
        let server = start(TlsHandle::new(load(&[first, second], NOW).unwrap()));
        for name in ["first.example", "second.example", "go.second.example"] {
            let mut client = Raw::over(folder.connect(&server, name, &[]).await);
            assert_eq!(client.get("/").await.status, 200, "{name}");
        }
        // An unknown name gets the first certificate, which the client then refuses.
        let refused = folder.handshake(server.raw().await.io, "third.example", &[]).await.unwrap_err();
        assert!(refused.to_string().contains("first.example"), "{refused}");
    });
}

#[test]
fn a_reload_changes_new_handshakes_only_and_a_bad_one_nothing() {
    in_worker(async {
        let folder = Folder::new();
        let files = folder.certificate("one", &["one.example"]);
        let handle = TlsHandle::new(load(std::slice::from_ref(&files), NOW).unwrap());
        let server = start(handle.clone());
        let mut old = Raw::over(folder.connect(&server, "one.example", &[]).await);
        let key = fs::read(&files.key).unwrap();
        fs::write(&files.key, &key[..key.len() / 2]).unwrap();
        let error = handle.reload(std::slice::from_ref(&files), NOW).unwrap_err().to_string();
        assert!(error.contains("one.key"), "{error}");
        folder.connect(&server, "one.example", &[]).await;
        let files = folder.certificate("one", &["two.example"]);
        handle.reload(&[files], NOW).unwrap();
        folder.connect(&server, "two.example", &[]).await;
        assert_eq!(old.get("/").await.status, 200);
    });
}

#[test]
fn who_speaks_no_tls_is_closed() {
    in_worker(async {
        let folder = Folder::new();
        let server = start(folder.handle(&["one.example"]));
        let mut client = server.raw().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        client.closed().await;
        assert_eq!(server.closed(CloseReason::HandshakeFailed), 1);
    });
}
