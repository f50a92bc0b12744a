#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_global: &super::Global, _args: Args) -> anyhow::Result<()> {
    anyhow::bail!("under construction")
}
