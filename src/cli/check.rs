//! `fingerpost check`: everything that would stop a start, all at once. It changes nothing.

use anyhow::bail;

use crate::{
    app,
    config::{Config, Mistake},
    edge,
    enrich::{Geo, GeoFiles},
    io::clock::Clock,
    outbox,
    telemetry::logs,
};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &super::Global, _args: Args) -> anyhow::Result<()> {
    let (config, mistakes) = global.read()?;
    let mut mistakes: Vec<String> =
        mistakes.iter().map(|Mistake { place, problem }| format!("{place}: {problem}")).collect();
    look_closer(&config, |result| mistakes.extend(result.err().map(|error| super::in_one_line(&error))));
    match &mistakes[..] {
        [] => {
            println!("The configuration is fine.");
            Ok(())
        }
        [one] => bail!("one mistake:\n  {one}"),
        all => bail!("{} mistakes:\n  {}", all.len(), all.join("\n  ")),
    }
}

/// What the configuration names: each by itself, so that one mistake does not hide the next.
fn look_closer(config: &Config, mut look: impl FnMut(anyhow::Result<()>)) {
    look(app::check_data_folder(&config.data));
    look(logs::check(&config.log.level).map_err(Into::into));
    if config.keys.file.exists() {
        look(app::keys::load(&config.keys.file).map(drop).map_err(Into::into));
    }
    // A file that is not there was said already.
    let GeoFiles { country, city, asn } = app::geo_files(config);
    for files in [
        GeoFiles { country, ..GeoFiles::default() },
        GeoFiles { city, ..GeoFiles::default() },
        GeoFiles { asn, ..GeoFiles::default() },
    ] {
        if [files.country, files.city, files.asn].into_iter().flatten().all(std::path::Path::is_file) {
            look(Geo::load(files).map(drop).map_err(Into::into));
        }
    }
    if config.webhooks.ca_file.as_deref().is_none_or(std::path::Path::is_file) {
        look(outbox::check_webhooks(&config.webhooks).map_err(Into::into));
    }
    if config.mail.transport.ca_file().is_none_or(std::path::Path::is_file) {
        look(outbox::check_mail(&config.mail).map_err(Into::into));
    }
    for certificate in &config.edge.tls.certificates {
        if certificate.chain.is_file() && certificate.key.is_file() {
            look(edge::tls::load(std::slice::from_ref(certificate), Clock::System.now()).map(drop).map_err(Into::into));
        }
    }
}
