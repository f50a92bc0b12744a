//! `fingerpost serve`.

use crate::app::{self, Start};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Fill an empty catalog with a small example, and print addresses to try
    #[arg(long)]
    demo: bool,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    app::serve(global.load()?, &Start { demo: args.demo, ..Start::default() })
}
