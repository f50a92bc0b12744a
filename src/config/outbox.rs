//! Settings of what leaves by itself: `[webhooks]` and `[mail]`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{network::Network, reader::Reader, secret::Secret};
use crate::core::limits::MAIL_TIMEOUT;

/// A place inside to which webhooks may go all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsideHost {
    /// This name, whatever it resolves to.
    Name(String),
    /// These addresses, whoever resolves to them.
    Network(Network),
}

/// How long what failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Before the second try; each further wait is twice as long.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// What has failed for that long is given up.
    pub give_up_after: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhooks {
    pub allow_hosts: Vec<InsideHost>,
    /// PEM file of further authorities whose certificates are believed.
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// From the look-up of the host to the end of the answer.
    pub timeout: Duration,
    pub retries: Retries,
    /// How often the outbox is looked at.
    pub poll_interval: Duration,
    /// How long the older secret signs as well.
    pub secret_overlap: Duration,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte.
    Tls,
    /// Begins in clear, and goes on only over TLS.
    StartTls,
    None,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    pub username: String,
    pub password: Secret,
    /// PEM file of further authorities whose certificates are believed.
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
}

/// Where mails go.
#[derive(Clone, Debug, PartialEq)]
pub enum MailTransport {
    /// A folder of .eml files.
    Folder(PathBuf),
    Smtp(Smtp),
}

impl MailTransport {
    pub fn ca_file(&self) -> Option<&Path> {
        match self {
            MailTransport::Folder(_) => None,
            MailTransport::Smtp(smtp) => smtp.ca_file.as_deref(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// `Name <address>`; checked where it is used.
    pub from: String,
    pub transport: MailTransport,
    pub retries: Retries,
    /// How often the queue is looked at.
    pub poll_interval: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn read_webhooks(reader: &mut Reader) -> Webhooks {
    let webhooks = Webhooks {
        allow_hosts: reader.list("webhooks.allow_hosts", inside_host),
        ca_file: reader.optional("webhooks.ca_file", |text| Ok(PathBuf::from(text))),
        connect_timeout: reader.duration("webhooks.connect_timeout", Duration::from_secs(5)),
        timeout: reader.duration("webhooks.timeout", Duration::from_secs(15)),
        retries: retries(reader, "webhooks", Duration::from_secs(5)),
        poll_interval: reader.duration("webhooks.poll_interval", Duration::from_millis(500)),
        secret_overlap: reader.duration("webhooks.secret_overlap", DAY),
    };
    for (key, value) in [
        ("webhooks.connect_timeout", webhooks.connect_timeout),
        ("webhooks.timeout", webhooks.timeout),
        ("webhooks.poll_interval", webhooks.poll_interval),
    ] {
        if value.is_zero() {
            reader.mistake(key, "is 0: give a time above it, for example 5s");
        }
    }
    check_file(reader, "webhooks.ca_file", webhooks.ca_file.as_ref());
    webhooks
}

fn retries(reader: &mut Reader, section: &str, first: Duration) -> Retries {
    let retries = Retries {
        first: reader.duration(&format!("{section}.retry_first"), first),
        longest: reader.duration(&format!("{section}.retry_longest"), Duration::from_secs(6 * 3_600)),
        give_up_after: reader.duration(&format!("{section}.give_up_after"), 3 * DAY),
    };
    if retries.first.is_zero() || retries.longest < retries.first {
        let key = format!("{section}.retry_first");
        reader.mistake(&key, "must be above 0, and at most retry_longest: without a wait every try follows at once");
    }
    retries
}

fn check_file(reader: &mut Reader, key: &str, file: Option<&PathBuf>) {
    if let Some(path) = file.filter(|path| !path.is_file()) {
        reader.mistake(key, &format!("there is no file {}: give the path of a PEM file", path.display()));
    }
}

/// A name, an address, or a range of addresses.
fn inside_host(text: &str) -> Result<InsideHost, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() || text.contains('/') {
        return bare.parse().map(InsideHost::Network).map_err(|error| format!("{error}, or a host name"));
    }
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) if !text.contains([':', '*']) => {
            Ok(InsideHost::Name(name.trim_end_matches('.').to_owned()))
        }
        _ => Err(format!("`{text}` is neither a host name nor an address: give one like hooks.internal or 10.0.0.0/8")),
    }
}

pub(super) fn read_mail(reader: &mut Reader, data: &Path) -> Mail {
    let folder = reader.optional("mail.folder", |text| Ok(PathBuf::from(text)));
    let host = reader.text("mail.smtp_host", "");
    let securities = [("tls", SmtpSecurity::Tls), ("starttls", SmtpSecurity::StartTls), ("none", SmtpSecurity::None)];
    let security = reader.word("mail.smtp_security", SmtpSecurity::StartTls, &securities);
    let usual_port = match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::None => 25,
    };
    let smtp = Smtp {
        port: match reader.integer("mail.smtp_port", 0, 0..=65_535) {
            0 => usual_port,
            port => u16::try_from(port).unwrap_or(usual_port),
        },
        security,
        username: reader.text("mail.smtp_username", ""),
        password: reader.secret("mail.smtp_password"),
        ca_file: reader.optional("mail.ca_file", |text| Ok(PathBuf::from(text))),
        timeout: reader.duration("mail.timeout", MAIL_TIMEOUT),
        host,
    };
    check_file(reader, "mail.ca_file", smtp.ca_file.as_ref());
    if !smtp.host.is_empty() && folder.is_some() {
        reader.mistake("mail.folder", "is set, and mail.smtp_host as well: mails go to one of them, remove the other");
    }
    if smtp.host.is_empty() && !smtp.username.is_empty() {
        reader.mistake("mail.smtp_host", "is empty, but mail.smtp_username is set: give the mail server's name");
    }
    if smtp.security == SmtpSecurity::None && !smtp.password.is_empty() {
        reader.mistake(
            "mail.smtp_security",
            "is none, but there is a password, which would go in clear: use tls or starttls",
        );
    }
    Mail {
        from: reader.text("mail.from", "Fingerpost <fingerpost@localhost>"),
        transport: if smtp.host.is_empty() {
            MailTransport::Folder(folder.unwrap_or_else(|| data.join("mails")))
        } else {
            MailTransport::Smtp(smtp)
        },
        retries: retries(reader, "mail", Duration::from_secs(30)),
        poll_interval: reader.duration("mail.poll_interval", Duration::from_secs(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inside_host_is_a_name_an_address_or_a_range() {
        let name = |text: &str| Ok(InsideHost::Name(text.to_owned()));
        assert_eq!(inside_host("Hooks.Internal."), name("hooks.internal"));
        assert_eq!(inside_host("localhost"), name("localhost"));
        for address in ["127.0.0.1", "10.0.0.0/8", "::1", "[::1]", "fd00::/8"] {
            assert!(matches!(inside_host(address), Ok(InsideHost::Network(_))), "{address}");
        }
        for wrong in ["*.internal", "http://x", "a b", "10.0.0.0/99", "host:80"] {
            assert!(inside_host(wrong).is_err(), "{wrong}");
        }
    }
}
