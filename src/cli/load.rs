//! `fingerpost load`: events from Kafka to ClickHouse.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{app, pump::load::Progress};

/// How often the bar is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// End when everything that is in Kafka now is loaded
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let loaded = app::load::load(&config, args.once, |progress| {
        if args.once && std::io::stderr().is_terminal() {
            std::thread::spawn(move || draw(&progress));
        }
    })?;
    if args.once && loaded.partitions == 0 {
        println!("nothing to load here: other loaders of this group have all partitions");
    } else if args.once {
        println!("{} events loaded in {} ranges, {} set aside", loaded.events, loaded.ranges, loaded.set_aside);
    }
    Ok(())
}

/// Draws until the process ends.
fn draw(progress: &Progress) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    while let Some((done, left)) = progress.after(DRAW_INTERVAL) {
        bar.set_length(done + left);
        bar.set_position(done);
    }
    bar.finish_and_clear();
}
