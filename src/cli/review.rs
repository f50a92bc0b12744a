//! `fingerpost review dry-run`: what changed terms would do to a program's history, beside a running server or without.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};

use super::Global;
use crate::{
    catalog::Catalog,
    io::clock::Clock,
    referral::dry_run::{Moved, Prediction, Sum, Trial, dry_run},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say what terms would do to a program's history; write nothing
    DryRun(DryRun),
}

#[derive(Debug, clap::Args)]
struct DryRun {
    /// The terms, as `POST /v1/review/dry-run` takes them: {"program": "spring", "review": {…}}; `-` reads standard input
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

pub(crate) fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let What::DryRun(DryRun { file, format }) = args.what;
    let trial = read(&file)?;
    let config = global.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let prediction = runtime.block_on(async {
        let catalog = Catalog::open(config.catalog.url.expose(), false, Clock::System).await?;
        let prediction = dry_run(&catalog, &Clock::System, &trial).await?;
        catalog.close().await;
        anyhow::Ok(prediction)
    })?;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&prediction)? + "\n",
        Format::Text => in_words(&prediction),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn read(file: &PathBuf) -> anyhow::Result<Trial> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    }
    let object = match serde_json::from_str(&text) {
        Ok(serde_json::Value::Object(object)) => object,
        Ok(_) => bail!("{}: give one object, {{\"program\": …}}", file.display()),
        Err(error) => bail!("{}: {error}", file.display()),
    };
    Trial::read(object).map_err(|mistakes| {
        let all: Vec<String> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.field, mistake.problem)).collect();
        anyhow::anyhow!("{}: {}", file.display(), all.join("; "))
    })
}

fn in_words(said: &Prediction) -> String {
    let mut lines = vec![format!("{}: {} referrals, {} would change", said.program, said.referrals, said.changed)];
    for (count, what) in [
        (said.held, "would be held"),
        (said.freed, "would be freed"),
        (said.qualified, "would be qualified"),
        (said.rejected, "would be rejected"),
        (said.reopened, "would be pending again"),
        (said.credited_otherwise, "would be credited to another partner"),
    ] {
        if count > 0 {
            lines.push(format!("  {count} {what}"));
        }
    }
    lines.extend(said.by_rule.iter().chain(&said.by_currency).map(line));
    lines.join("\n") + "\n"
}

/// `welcome EUR: 3 arise (+15.00), …`
fn line(moved: &Moved) -> String {
    let rule = moved.rule.as_ref().map_or("all rules", |rule| rule.as_str());
    let currency = moved.currency.as_deref().unwrap_or("gifts");
    let part = |what: &str, sum: Sum| (sum.count > 0).then(|| format!("{} {what} ({:+})", sum.count, sum.amount));
    let parts = [("arise", moved.arise), ("change", moved.change), ("wait", moved.wait), ("go", moved.go)];
    let parts: Vec<String> = parts.into_iter().filter_map(|(what, sum)| part(what, sum)).collect();
    format!("  {rule}, {currency} in minor units: {}", parts.join(", "))
}
