//! `fingerpost check`: everything that would stop a start, all at once.

use anyhow::bail;

use crate::{app, edge, enrich::Enrich, io::clock::Clock, telemetry::logs};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &super::Global, _args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let mut mistakes = Vec::new();
    let mut look = |result: anyhow::Result<()>| mistakes.extend(result.err().map(|error| format!("{error:#}")));
    look(app::prepare_data_folder(&config.data));
    look(logs::check(&config.log.level).map_err(Into::into));
    if config.keys.file.exists() {
        look(app::keys::load(&config.keys.file).map(drop).map_err(Into::into));
    }
    look(Enrich::load(app::geo_files(&config)).map(drop).map_err(Into::into));
    for certificate in &config.edge.tls.certificates {
        look(edge::tls::load(std::slice::from_ref(certificate), Clock::System.now()).map(drop).map_err(Into::into));
    }
    if mistakes.is_empty() {
        println!("The configuration is fine.");
        return Ok(());
    }
    bail!("{}", mistakes.join("\n  "))
}
