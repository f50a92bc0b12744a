//! The queue of mails: each is tried until it is taken, refused for good, or has failed for too long.
//!
//! A mail is sent at least once: a crash between the server's word and its record sends it again, with the same Message-ID. In a
//! folder it is written once, because its file has the mail's id for a name. Nothing here logs an address, or what a server
//! says (which often quotes one): the catalog keeps that beside the mail.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use metrics::{counter, gauge};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    OutboxError,
    post::certificates,
    schedule::{self, Next, millis},
};
use crate::{
    catalog::{
        Catalog, CatalogError,
        mails::{MailOutcome, QueuedMail},
    },
    config::outbox::{Mail, MailTransport, Retries, Smtp, SmtpSecurity},
    core::limits::{CATALOG_BACKOFF_MAX, LEASE_MARGIN, MAIL_COMMANDS_MAX, MAILS_AT_ONCE, OUTBOX_STOP_GRACE},
    io::{clock::Clock, disk, random},
    telemetry::names,
};

/// Sends the catalog's mails.
#[derive(Debug)]
pub struct Mailer {
    sender: Arc<Sender>,
    poll_interval: Duration,
}

#[derive(Debug)]
struct Sender {
    catalog: Catalog,
    clock: Clock,
    retries: Retries,
    from: Mailbox,
    transport: Transport,
    /// Longest try.
    timeout: Duration,
    /// Names this process in leases.
    holder: String,
}

enum Transport {
    Folder(PathBuf),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Transport::Folder(folder) => write!(f, "Folder({})", folder.display()),
            Transport::Smtp(_) => f.write_str("Smtp"),
        }
    }
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the mail cannot be written: {0}")]
    Form(String),
    #[error("{0}")]
    Folder(std::io::Error),
    #[error("{0}")]
    Smtp(lettre::transport::smtp::Error),
    #[error("the mail server took longer than {0:?}")]
    Timeout(Duration),
}

impl SendError {
    /// Whether it would be the same the next time. Of a server's refusals only those of the mail itself (55x, RFC 5321
    /// §4.2.3): a wrong password, or a command that it does not know, is mended by somebody.
    fn is_final(&self) -> bool {
        match self {
            SendError::Form(_) => true,
            SendError::Smtp(error) => error.status().is_some_and(|code| (550..560).contains(&u16::from(code))),
            SendError::Folder(_) | SendError::Timeout(_) => false,
        }
    }

    /// For logs: without what the server says.
    fn tag(&self) -> String {
        match self {
            SendError::Form(_) => "form".to_owned(),
            SendError::Folder(error) => format!("folder: {}", error.kind()),
            SendError::Smtp(error) => match error.status() {
                Some(code) => format!("smtp {code}"),
                None if error.is_timeout() => "smtp time-out".to_owned(),
                None if error.is_tls() => "smtp tls".to_owned(),
                None => "smtp connection".to_owned(),
            },
            SendError::Timeout(_) => "time-out".to_owned(),
        }
    }
}

impl Mailer {
    pub fn new(settings: &Mail, catalog: Catalog, clock: Clock) -> Result<Mailer, OutboxError> {
        for result in RESULTS {
            counter!(names::MAILS, "result" => result).increment(0);
        }
        gauge!(names::MAIL_OLDEST_SECONDS).set(0.0);
        let (from, transport) = (sender(&settings.from)?, transport(&settings.transport)?);
        let command_timeout = match &settings.transport {
            MailTransport::Folder(_) => LEASE_MARGIN,
            MailTransport::Smtp(smtp) => smtp.timeout,
        };
        let sender = Sender {
            catalog,
            clock,
            retries: settings.retries,
            from,
            transport,
            timeout: command_timeout.saturating_mul(MAIL_COMMANDS_MAX),
            holder: data_encoding::HEXLOWER.encode(&random::bytes::<16>()?),
        };
        Ok(Mailer { sender: Arc::new(sender), poll_interval: settings.poll_interval })
    }

    /// Sends until `stop`; what is under way then may finish for a moment.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = self.poll_interval;
        while !stop.is_cancelled() {
            let round = self.round();
            let round = tokio::select! {
                round = round => round,
                () = async { stop.cancelled().await; tokio::time::sleep(OUTBOX_STOP_GRACE).await } => return,
            };
            pause = match round {
                // There may be more.
                Ok(sent) if sent == MAILS_AT_ONCE => continue,
                Ok(_) => self.poll_interval,
                Err(error) => {
                    tracing::debug!(%error, tag = error.tag(), "mails wait for the catalog");
                    (pause * 2).min(CATALOG_BACKOFF_MAX).max(self.poll_interval)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Takes some mails and sends them, all at the same time. Returns how many.
    async fn round(&self) -> Result<usize, CatalogError> {
        let sender = &self.sender;
        let now = sender.clock.now();
        let lease_until = now.plus(millis(sender.timeout + LEASE_MARGIN));
        let mails = sender.catalog.claim_mails(&sender.holder, now, lease_until, MAILS_AT_ONCE as u32).await?;
        let count = mails.len();
        let mut sending = JoinSet::new();
        for mail in mails {
            let sender = Arc::clone(sender);
            sending.spawn(async move { sender.send(mail).await });
        }
        while let Some(sent) = sending.join_next().await {
            match sent {
                Ok(recorded) => recorded?,
                Err(error) => tracing::error!(%error, "the sending of a mail has failed"),
            }
        }
        let oldest = sender.catalog.oldest_mail().await?;
        gauge!(names::MAIL_OLDEST_SECONDS).set(oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0)) as f64 / 1e3);
        Ok(count)
    }
}

const RESULTS: [&str; 3] = ["sent", "failed", "given_up"];

fn result(outcome: &MailOutcome) -> &'static str {
    match outcome {
        MailOutcome::Sent => "sent",
        MailOutcome::Later { .. } => "failed",
        MailOutcome::GivenUp { .. } => "given_up",
    }
}

impl Sender {
    async fn send(&self, queued: QueuedMail) -> Result<(), CatalogError> {
        let id = queued.id.clone();
        let (attempts, created_at) = (queued.attempts + 1, queued.created_at);
        let sent = match timeout(self.timeout, self.hand_over(queued)).await {
            Ok(sent) => sent,
            Err(_) => Err(SendError::Timeout(self.timeout)),
        };
        let outcome = match &sent {
            Ok(()) => MailOutcome::Sent,
            Err(error) if error.is_final() => MailOutcome::GivenUp { error: error.to_string() },
            Err(error) => {
                let random = random::bytes().map(u64::from_le_bytes).unwrap_or_default();
                match schedule::next(&self.retries, attempts, created_at, self.clock.now(), None, random) {
                    Next::At(due_at) => MailOutcome::Later { due_at, error: error.to_string() },
                    Next::GiveUp => MailOutcome::GivenUp { error: error.to_string() },
                }
            }
        };
        if !self.catalog.record_mail(&id, &self.holder, &outcome).await? {
            tracing::debug!(mail = id, "somebody else has taken a mail over, or erased it");
            return Ok(());
        }
        counter!(names::MAILS, "result" => result(&outcome)).increment(1);
        if let Err(error) = &sent {
            let error = error.tag();
            match &outcome {
                MailOutcome::GivenUp { .. } => tracing::warn!(mail = id, attempts, error, "a mail is given up"),
                _ => tracing::info!(mail = id, attempts, error, "a mail was not taken; it is tried again"),
            }
        }
        Ok(())
    }

    async fn hand_over(&self, queued: QueuedMail) -> Result<(), SendError> {
        let message = self.message(&queued)?;
        match &self.transport {
            Transport::Smtp(smtp) => smtp.send(message).await.map(|_| ()).map_err(SendError::Smtp),
            Transport::Folder(folder) => {
                let (folder, bytes) = (folder.clone(), message.formatted());
                let written = tokio::task::spawn_blocking(move || write(&folder, &queued.id, &bytes)).await;
                written.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(SendError::Folder)
            }
        }
    }

    fn message(&self, queued: &QueuedMail) -> Result<Message, SendError> {
        let form = |error: &dyn std::fmt::Display| SendError::Form(error.to_string());
        let mail = &queued.mail;
        let recipient: Mailbox = mail.recipient.parse().map_err(|error| form(&error))?;
        let created = Duration::from_millis(u64::try_from(queued.created_at.0).unwrap_or(0));
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = Message::builder()
            .from(self.from.clone())
            .to(recipient)
            .subject(mail.subject.clone())
            .date(UNIX_EPOCH + created)
            // The same at each try.
            .message_id(Some(format!("<{}@{}>", queued.id, self.from.email.domain())))
            // RFC 3834: nobody's holiday notice answers it.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        let message = match &mail.html {
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(mail.text.clone(), html.clone())),
            None => builder.singlepart(SinglePart::plain(mail.text.clone())),
        };
        message.map_err(|error| form(&error))
    }
}

fn sender(text: &str) -> Result<Mailbox, OutboxError> {
    text.parse().map_err(|_| OutboxError::Setting {
        key: "mail.from",
        problem: "is not a sender: write it like Fingerpost <noreply@shop.example>".to_owned(),
    })
}

fn transport(settings: &MailTransport) -> Result<Transport, OutboxError> {
    match settings {
        MailTransport::Folder(folder) => Ok(Transport::Folder(folder.clone())),
        MailTransport::Smtp(smtp) => smtp_transport(smtp).map(Transport::Smtp),
    }
}

/// Whether a [`Mailer`] can be made from these settings.
pub fn check_mail(settings: &Mail) -> Result<(), OutboxError> {
    sender(&settings.from)?;
    transport(&settings.transport).map(drop)
}

/// A file that is there is whole.
fn write(folder: &Path, id: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700).recursive(true).create(folder)?;
    disk::replace_file(&folder.join(format!("{id}.eml")), 0o600, |out| std::io::Write::write_all(out, bytes))
}

fn smtp_transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, OutboxError> {
    let tls = |problem: lettre::transport::smtp::Error| OutboxError::Tls(problem.to_string());
    let parameters = || {
        let mut builder = TlsParameters::builder(smtp.host.clone());
        if let Some(file) = &smtp.ca_file {
            for certificate in certificates("mail.ca_file", file)? {
                builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(tls)?);
            }
        }
        builder.build_rustls().map_err(tls)
    };
    let security = match smtp.security {
        SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
        SmtpSecurity::StartTls => Tls::Required(parameters()?),
        SmtpSecurity::None => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.clone())
        .port(smtp.port)
        .tls(security)
        .timeout(Some(smtp.timeout));
    if !smtp.username.is_empty() {
        builder = builder.credentials(Credentials::new(smtp.username.clone(), smtp.password.expose().to_owned()));
    }
    Ok(builder.build())
}
