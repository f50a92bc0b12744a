//! Logs: one line an event on standard error, for people (with colours on a terminal) or as JSON for machines. No line
//! holds a full address, an e-mail address or a secret: whoever logs sees to that.

use std::{
    io::{self, IsTerminal},
    panic,
};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Coloured where somebody watches.
    Human,
    /// One JSON object a line.
    Json,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "log.level: `{0}` is no filter ({1}): use error, warn, info, debug or trace, or by room, for example \
         \"fingerpost::pump=debug,info\""
    )]
    Filter(String, tracing_subscriber::filter::ParseError),
    #[error("logs are set up already: this may happen once in a process")]
    Twice,
}

/// Whether a text is a filter; a configuration can be checked with it before anything starts.
pub fn check(filter: &str) -> Result<(), LogError> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| LogError::Filter(filter.to_owned(), error))
}

/// Sets logs up for the whole process. A panic becomes a log line too.
pub fn install(form: Form, filter: &str) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(form, filter, colours, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let problem = info.payload_as_str().unwrap_or("no message");
        tracing::error!(target: "fingerpost::panic", place, thread, problem, "a thread panicked: this is our mistake");
    }));
    Ok(())
}

fn subscriber<W>(
    form: Form,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError::Filter(filter.to_owned(), error))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match form {
        Form::Human => Box::new(lines.with_ansi(colours).compact().finish()),
        Form::Json => {
            Box::new(lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, filter: &str, colours: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(form, filter, colours, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "fingerpost::app", listen = "127.0.0.1:8080", "ready\nfor all");
            tracing::debug!(target: "fingerpost::pump", events = 3, "stored");
            tracing::debug!(target: "fingerpost::edge", "not asked for");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let text = logged(Form::Json, "fingerpost::pump=debug,info", false);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "ready\nfor all");
        assert_eq!(lines[0]["listen"], "127.0.0.1:8080");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["events"], 3);
        assert!(lines[1]["timestamp"].is_string());
    }

    #[test]
    fn people_get_colours_on_a_terminal_only() {
        assert!(logged(Form::Human, "info", true).contains("\u{1b}["));
        let plain = logged(Form::Human, "info", false);
        assert!(!plain.contains('\u{1b}') && plain.contains("INFO") && plain.contains("listen="), "{plain}");
    }

    #[test]
    fn a_wrong_filter_says_how_to_mend_it() {
        let message = check("fingerpost=loud").unwrap_err().to_string();
        assert!(message.contains("`fingerpost=loud` is no filter") && message.contains("use error, warn"), "{message}");
        assert!(check("info").is_ok());
    }
}
