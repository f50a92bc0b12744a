//! TLS: several certificates chosen by server name, replaced without a restart.
//!
//! TLS 1.2 and 1.3, ALPN `h2` then `http/1.1`, session tickets, no early data (it can be replayed, and a click must count once). A reload that
//! fails changes nothing. It also makes new ticket keys: who replaces a stolen certificate wants no session of the old one to live on.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject};

use crate::{config::Certificate, core::time::Millis};

/// Why certificates cannot be used, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no certificate is configured: give edge.tls.certificates at least one chain and key")]
    None,
    #[error("{}: cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: holds no certificate: give a PEM file with BEGIN CERTIFICATE, the server's own first", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: holds no private key: give a PEM file with BEGIN PRIVATE KEY (not encrypted)", .0.display())]
    NoKey(PathBuf),
    #[error("{}: is not valid PEM: {problem}: copy the file again, whole", path.display())]
    Pem { path: PathBuf, problem: String },
    #[error("{}: the first certificate is not usable: {problem}: get it issued again for TLS servers", path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error("{}: the private key is not usable: {problem}: use ECDSA P-256 or P-384, Ed25519, or RSA from 2,048 bits", path.display())]
    Key { path: PathBuf, problem: String },
    #[error("{}: the key does not belong to the certificate in {}: give the pair that was issued together", key.display(), chain.display())]
    Mismatch { key: PathBuf, chain: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    /// Short and stable, for logs and metrics.
    pub fn tag(&self) -> &'static str {
        match self {
            TlsError::None => "none",
            TlsError::Read { .. } => "read",
            TlsError::NoCertificate(_) => "no_certificate",
            TlsError::NoKey(_) => "no_key",
            TlsError::Pem { .. } => "pem",
            TlsError::Certificate { .. } => "certificate",
            TlsError::Key { .. } => "key",
            TlsError::Mismatch { .. } => "mismatch",
            TlsError::Setup(_) => "setup",
        }
    }
}

/// The certificates in use. Cheap to clone; all clones see a reload, from the next handshake on.
#[derive(Clone)]
pub struct TlsHandle(Arc<ArcSwap<ServerConfig>>);

impl TlsHandle {
    pub fn new(config: Arc<ServerConfig>) -> TlsHandle {
        TlsHandle(Arc::new(ArcSwap::new(config)))
    }

    /// Takes the certificates from their files again; on an error the old ones stay.
    pub fn reload(&self, certificates: &[Certificate], now: Millis) -> Result<(), TlsError> {
        self.0.store(load(certificates, now)?);
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

impl fmt::Debug for TlsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsHandle")
    }
}

/// Reads and checks all certificates; the first one also answers clients that name no server, or one that we do not know. One
/// that has expired or is not valid yet is used all the same, with a warning: a visitor who clicks through arrives.
pub fn load(certificates: &[Certificate], now: Millis) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut names = Names::default();
    for files in certificates {
        names.add(files, &provider, now)?;
    }
    if names.default.is_none() {
        return Err(TlsError::None);
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(names));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Certificates by the names in them. Of two certificates with the same name the earlier one is used.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Names {
    fn add(&mut self, files: &Certificate, provider: &CryptoProvider, now: Millis) -> Result<(), TlsError> {
        let chain = read_chain(&files.chain)?;
        let key = read_key(&files.key)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::Key { path: files.key.clone(), problem: error.to_string() })?;
        let unusable = |problem: String| TlsError::Certificate { path: files.chain.clone(), problem };
        let (names, warning) = inspect(&chain[0], provider, now).map_err(|error| unusable(error.to_string()))?;
        if let Some(warning) = warning {
            tracing::warn!("{}: {warning}: renew it", files.chain.display());
        }
        let certified = Arc::new(CertifiedKey::new(chain, key));
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch { key: files.key.clone(), chain: files.chain.clone() });
            }
            Err(error) => return Err(unusable(error.to_string())),
        }
        self.default.get_or_insert_with(|| Arc::clone(&certified));
        for name in names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(suffix) => (&mut self.wildcard, suffix),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned()).or_insert_with(|| Arc::clone(&certified));
        }
        Ok(())
    }

    /// A wildcard stands for exactly one label (RFC 9525 §6.3).
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(by_wildcard)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate(path.to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(TlsError::Pem { path: path.to_owned(), problem: error.to_string() }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        // The error of a half line could quote it; the key's bytes belong in no log.
        _ => TlsError::Pem { path: path.to_owned(), problem: "a line is missing or damaged".to_owned() },
    })
}

/// The DNS names of a certificate, lower case, and what is wrong with its dates.
fn inspect(
    certificate: &CertificateDer<'_>,
    provider: &CryptoProvider,
    now: Millis,
) -> Result<(Vec<String>, Option<String>), webpki::Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate)?;
    let names = certificate.valid_dns_names().map(str::to_ascii_lowercase).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.0.try_into().unwrap_or(0)));
    // With no trust anchor this fails in any case; dates and purpose are looked at before the issuer.
    let checked = certificate.verify_for_usage(
        provider.signature_verification_algorithms.all,
        &[],
        &[],
        time,
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    let date = |time: UnixTime| Millis(i64::try_from(time.as_secs() * 1_000).unwrap_or(i64::MAX));
    let warning = match checked.err() {
        Some(webpki::Error::CertExpired { not_after, .. }) => {
            Some(format!("the certificate has expired at {}", date(not_after)))
        }
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
            Some(format!("the certificate is not valid before {}", date(not_before)))
        }
        _ => None,
    };
    Ok((names, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_772_368_200_000);

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn certificate(&self, name: &str, names: &[&str]) -> Certificate {
            let made =
                rcgen::generate_simple_self_signed(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
                    .unwrap();
            Certificate {
                chain: self.write(&format!("{name}.pem"), &made.cert.pem()),
                key: self.write(&format!("{name}.key"), &made.signing_key.serialize_pem()),
            }
        }
    }

    fn names(certificates: &[Certificate]) -> Names {
        let provider = aws_lc_rs::default_provider();
        let mut names = Names::default();
        certificates.iter().for_each(|files| names.add(files, &provider, NOW).unwrap());
        names
    }

    #[test]
    fn names_choose_the_certificate() {
        let folder = Folder::new();
        let first = folder.certificate("first", &["one.example", "*.two.example"]);
        let second = folder.certificate("second", &["go.two.example", "One.Example"]);
        let names = names(&[first, second]);
        let default = names.default.as_ref().unwrap();
        let is_first = |name: &str| names.find(name).map(|found| Arc::ptr_eq(found, default));
        assert_eq!(is_first("one.example"), Some(true), "the earlier of two");
        assert_eq!(is_first("ONE.example"), Some(true));
        assert_eq!(is_first("x.two.example"), Some(true), "by wildcard");
        assert_eq!(is_first("go.two.example"), Some(false), "exact before wildcard");
        for unknown in ["two.example", "a.b.two.example", "example", ""] {
            assert_eq!(is_first(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_broken_is_named_with_its_file_and_mend() {
        let folder = Folder::new();
        let good = folder.certificate("good", &["one.example"]);
        let other = folder.certificate("other", &["one.example"]);
        let pem = fs::read_to_string(&good.chain).unwrap();
        let empty = folder.write("empty", "");
        let cut = folder.write("cut", &pem[..pem.len() / 2]);
        let noise = folder.write("noise", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let noise_key = folder.write("noise.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let missing = folder.0.path().join("missing");
        let cases = [
            ("read", &missing, Certificate { chain: missing.clone(), key: good.key.clone() }),
            ("read", &missing, Certificate { chain: good.chain.clone(), key: missing.clone() }),
            ("no_certificate", &empty, Certificate { chain: empty.clone(), key: good.key.clone() }),
            ("no_certificate", &good.key, Certificate { chain: good.key.clone(), key: good.key.clone() }),
            ("no_key", &good.chain, Certificate { chain: good.chain.clone(), key: good.chain.clone() }),
            ("pem", &cut, Certificate { chain: cut.clone(), key: good.key.clone() }),
            ("certificate", &noise, Certificate { chain: noise.clone(), key: good.key.clone() }),
            ("key", &noise_key, Certificate { chain: good.chain.clone(), key: noise_key.clone() }),
            ("mismatch", &other.key, Certificate { chain: good.chain.clone(), key: other.key.clone() }),
        ];
        for (tag, path, files) in cases {
            let error = load(std::slice::from_ref(&files), NOW).unwrap_err();
            assert_eq!(error.tag(), tag, "{error}");
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
        assert_eq!(load(&[], NOW).unwrap_err().tag(), "none");
        load(&[good, other], NOW).unwrap();
    }

    #[test]
    fn dates_are_a_warning_only() {
        let mut parameters = rcgen::CertificateParams::new(vec!["one.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let provider = aws_lc_rs::default_provider();
        let warning = |time: &str| inspect(certificate.der(), &provider, time.parse().unwrap()).unwrap().1;
        assert_eq!(warning("2020-06-01"), None);
        assert!(warning("2022-01-01").unwrap().contains("expired at 2021-01-01T00:00:00"));
        assert!(warning("2019-01-01").unwrap().contains("not valid before 2020-01-01T00:00:00"));
        let folder = Folder::new();
        let chain = folder.write("old.pem", &certificate.pem());
        load(&[Certificate { chain, key: folder.write("old.key", &key.serialize_pem()) }], NOW).unwrap();
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let folder = Folder::new();
        let files = folder.certificate("one", &["one.example"]);
        let handle = TlsHandle::new(load(std::slice::from_ref(&files), NOW).unwrap());
        let before = handle.current();
        fs::write(&files.key, "half a key").unwrap();
        assert!(handle.reload(std::slice::from_ref(&files), NOW).is_err());
        assert!(Arc::ptr_eq(&before, &handle.current()));
        let files = folder.certificate("one", &["one.example"]);
        handle.clone().reload(&[files], NOW).unwrap();
        assert!(!Arc::ptr_eq(&before, &handle.current()), "all clones see it");
    }
}
