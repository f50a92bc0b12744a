//! `fingerpost snippet`: the line that puts `fp.js` on a page, with the version and the hash of this program's script.

use anyhow::Context;

use crate::core::script::Script;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The address under which visitors reach Fingerpost [default: `edge.url` of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let url = match args.url {
        Some(url) => url,
        None => global
            .load()?
            .edge
            .url
            .context("the configuration does not say where visitors reach Fingerpost: give `edge.url` or --url https://go.example")?,
    };
    let parsed = url::Url::parse(&url).with_context(|| format!("`{url}` is not an address like https://go.example"))?;
    anyhow::ensure!(
        matches!(parsed.scheme(), "http" | "https"),
        "`{url}` is not an address like https://go.example: only http and https are"
    );
    println!("{}", Script::current().tag(&parsed.origin().ascii_serialization()));
    Ok(())
}
