//! The command line: one file a command. Errors go to standard error in one line that says what to do next.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config};

mod audit;
mod catalog;
mod check;
mod export;
mod export_events;
mod health;
mod import;
mod journal;
mod keys;
mod load;
mod migrate;
mod names;
mod report;
mod review;
mod serve;
mod snippet;

/// A redirect and click-ingest edge for referral programs.
#[derive(Debug, Parser)]
#[command(name = "fingerpost", version, about, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The data folder [default: `data`, or what the configuration says]
    #[arg(long, global = true, value_name = "DIR", env = "FINGERPOST_DATA_DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file (TOML); `config/fingerpost.toml` lists every key
    #[arg(long, global = true, value_name = "FILE", env = "FINGERPOST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl Global {
    /// The configuration that all commands share.
    pub(crate) fn load(&self) -> Result<Config, config::ConfigError> {
        config::load(self.config.as_deref(), std::env::vars(), self.data.as_deref())
    }

    /// The same with its mistakes, for `check`.
    fn read(&self) -> Result<(Config, Vec<config::Mistake>), config::ConfigError> {
        config::read(self.config.as_deref(), std::env::vars(), self.data.as_deref())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer tracking links, record clicks, serve the API
    Serve(serve::Args),
    /// Bring events from Kafka to ClickHouse
    Load(load::Args),
    /// Read programs, links, partners, ads or share links from a CSV file
    Import(import::Args),
    /// Write programs, links, partners, ads, share links or events
    Export(export::Args),
    /// Show reach, or the statistics of links
    Report(report::Args),
    /// Show who changed what
    Audit(audit::Args),
    /// Try changed terms of a program on its history
    Review(review::Args),
    /// Copy the catalog from one database to another
    Catalog(catalog::Args),
    /// Print the line that puts the script for landing pages on a page
    Snippet(snippet::Args),
    /// Check a configuration and report every mistake at once
    Check(check::Args),
    /// Ask a running server whether it is ready (for containers, which have no shell)
    Health(health::Args),
    /// Make or update Kafka's topics, ClickHouse's tables and the catalog in PostgreSQL
    Migrate(migrate::Args),
    /// Copy the catalog's names to ClickHouse, for analysts
    Names(names::Args),
    /// Look into a journal
    Journal(journal::Args),
    /// Manage the keys that sign cookies and click tokens
    Keys(keys::Args),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    // Catalog, events and keys hold what concerns people: whatever we make is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let Cli { global, command } = Cli::parse();
    let result = match command {
        Command::Serve(args) => serve::run(&global, args),
        Command::Load(args) => load::run(&global, args),
        Command::Import(args) => import::run(&global, args),
        Command::Export(args) => export::run(&global, args),
        Command::Report(args) => report::run(&global, args),
        Command::Audit(args) => audit::run(&global, args),
        Command::Review(args) => review::run(&global, args),
        Command::Catalog(args) => catalog::run(&global, args),
        Command::Snippet(args) => snippet::run(&global, args),
        Command::Check(args) => check::run(&global, args),
        Command::Health(args) => health::run(&global, args),
        Command::Migrate(args) => migrate::run(&global, args),
        Command::Names(args) => names::run(&global, args),
        Command::Journal(args) => journal::run(&global, args),
        Command::Keys(args) => keys::run(&global, args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "fingerpost", &mut std::io::stdout());
            Ok(())
        }
        Command::Man => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fingerpost: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes; a cause that was quoted already is not said twice.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("keys.toml: {source}: mend it")]
    struct Quoting {
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_said_once() {
        let quoting = Quoting { source: std::io::Error::other("no such secret") };
        let error = anyhow::Error::new(quoting).context("cannot start");
        assert_eq!(in_one_line(&error), "cannot start: keys.toml: no such secret: mend it");
        let plain = anyhow::Error::msg("the disk is full").context("cannot write");
        assert_eq!(in_one_line(&plain), "cannot write: the disk is full");
    }
}
