//! A mail server: takes mails as RFC 5321 has it, in clear, over TLS or after STARTTLS, and refuses when it is told to.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Instant,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::support::PATIENCE;

/// A mail that was taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: String,
    /// What AUTH PLAIN said, in base64.
    pub(crate) auth: String,
    pub(crate) text: String,
}

/// When TLS begins.
#[derive(Clone)]
pub(crate) enum Security {
    None,
    Tls(TlsAcceptor),
    StartTls(TlsAcceptor),
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// Answers to the next recipients, in place of 250.
    refusals: VecDeque<String>,
    asked: usize,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    state: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl MailServer {
    pub(crate) fn start(security: Security) -> MailServer {
        let state = Shared::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (security, state) = (security.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // A client that goes away in the middle is no matter.
                    let _ = match security {
                        Security::None => talk(stream, None, &state, true).await.map(drop),
                        Security::Tls(tls) => match tls.accept(stream).await {
                            Ok(stream) => talk(stream, None, &state, true).await.map(drop),
                            Err(error) => Err(error),
                        },
                        Security::StartTls(tls) => upgraded(stream, &tls, &state).await,
                    };
                });
            }
        });
        MailServer { address, state, _runtime: runtime }
    }

    /// The next recipients are answered so, one by one.
    pub(crate) fn refuse(&self, answers: &[&str]) {
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refusals.extend(answers.iter().map(|answer| (*answer).to_owned()));
    }

    pub(crate) fn wait_for(&self, count: usize) -> Vec<Taken> {
        self.wait(&format!("{count} mails"), |state| state.taken.len() >= count)
    }

    /// Waits until recipients were named so often.
    pub(crate) fn wait_for_recipients(&self, count: usize) {
        self.wait(&format!("{count} recipients"), |state| state.asked >= count);
    }

    fn wait(&self, what: &str, enough: impl Fn(&State) -> bool) -> Vec<Taken> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !enough(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}: {:#?}", state.taken);
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.taken.clone()
    }
}

async fn upgraded(stream: tokio::net::TcpStream, tls: &TlsAcceptor, state: &Shared) -> io::Result<()> {
    if let Some(stream) = talk(stream, Some(()), state, true).await? {
        talk(tls.accept(stream).await?, None, state, false).await?;
    }
    Ok(())
}

/// One session. With `upgrade` the only thing that is taken is STARTTLS, and the stream comes back.
async fn talk<S>(stream: S, upgrade: Option<()>, state: &Shared, greet: bool) -> io::Result<Option<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let (mut mail, mut line) = (Taken::default(), String::new());
    if greet {
        stream.write_all(b"220 test\r\n").await?;
    }
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let command = line.trim_end();
        let answer = if command.starts_with("EHLO") && upgrade.is_some() {
            "250-test\r\n250 STARTTLS".to_owned()
        } else if command.starts_with("EHLO") {
            "250-test\r\n250 AUTH PLAIN".to_owned()
        } else if command == "STARTTLS" {
            stream.write_all(b"220 go\r\n").await?;
            return Ok(Some(stream.into_inner()));
        } else if command == "QUIT" || upgrade.is_some() {
            stream.write_all(b"221 bye\r\n").await?;
            return Ok(None);
        } else if let Some(auth) = command.strip_prefix("AUTH PLAIN ") {
            mail.auth = auth.to_owned();
            "235 welcome".to_owned()
        } else if let Some(from) = command.strip_prefix("MAIL FROM:") {
            mail.from = from.to_owned();
            "250 ok".to_owned()
        } else if let Some(to) = command.strip_prefix("RCPT TO:") {
            mail.to = to.to_owned();
            let mut state = state.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked += 1;
            state.refusals.pop_front().unwrap_or_else(|| "250 ok".to_owned())
        } else if command == "DATA" {
            stream.write_all(b"354 go\r\n").await?;
            mail.text = data(&mut stream).await?;
            state.0.lock().unwrap_or_else(PoisonError::into_inner).taken.push(mail.clone());
            "250 taken".to_owned()
        } else {
            "250 ok".to_owned()
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        state.1.notify_all();
    }
}

/// Up to the line that is one dot.
async fn data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let at = text.len();
        if stream.read_line(&mut text).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &text[at..] == ".\r\n" {
            text.truncate(at);
            return Ok(text);
        }
    }
}
