//! The command line: one file a command. Errors go to standard error in one line that says what to do next.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config};

mod check;
mod export;
mod export_events;
mod import;
mod journal;
mod keys;
mod report;
mod serve;

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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer tracking links, record clicks, serve the API
    Serve(serve::Args),
    /// Read programs, links, partners, ads or share links from a CSV file
    Import(import::Args),
    /// Write programs, links, partners, ads, share links or events
    Export(export::Args),
    /// Show reach, or the statistics of links
    Report(report::Args),
    /// Check a configuration and report every mistake at once
    Check(check::Args),
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
    let Cli { global, command } = Cli::parse();
    let result = match command {
        Command::Serve(args) => serve::run(&global, args),
        Command::Import(args) => import::run(&global, args),
        Command::Export(args) => export::run(&global, args),
        Command::Report(args) => report::run(&global, args),
        Command::Check(args) => check::run(&global, args),
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
            eprintln!("fingerpost: {error:#}");
            ExitCode::FAILURE
        }
    }
}
