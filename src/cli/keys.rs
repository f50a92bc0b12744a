//! `fingerpost keys`: the keys that sign cookies and click tokens.

use crate::{app, io::clock::Clock};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum Command {
    /// Add a key: it signs as soon as the servers reload (SIGHUP), and the older ones still verify
    Rotate,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    match args.command {
        Command::Rotate => {
            let id = app::keys::rotate(&config.keys.file, Clock::System.now())?;
            println!(
                "Key {id} was added to {}. Copy the file to every machine, then send SIGHUP to each server.",
                config.keys.file.display()
            );
            Ok(())
        }
    }
}
