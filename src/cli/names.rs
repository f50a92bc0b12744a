//! `fingerpost names`: copies the names of the catalog to ClickHouse, so that analysts can show them beside codes.
//!
//! A command and not a part of the server: names of partners are people's names, and whether they belong into the analysts'
//! database is the operator's decision.

use crate::{
    catalog::{Ad, Catalog, Entity, Link, ListQuery, Partner, Program},
    core::limits::PAGE_MAX_ROWS,
    io::clock::Clock,
    store::clickhouse::{NameRow, Named, Store},
};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of partners too: they are people's names
    #[arg(long)]
    partners: bool,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let config = global.load()?;
    let store = Store::new(&config.clickhouse)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        store.check_schema().await?;
        let catalog = Catalog::open(config.catalog.url.expose(), false, Clock::System).await?;
        let row = |kind, partner: &str, code: &str, name: &str| NameRow {
            kind,
            partner: partner.to_owned(),
            code: code.to_owned(),
            name: name.to_owned(),
        };
        let mut copied = vec![
            copy::<Program>(&catalog, &store, |it| row(Named::Program, "", it.code.as_str(), &it.name)).await?,
            copy::<Link>(&catalog, &store, |it| row(Named::Link, "", it.code.as_str(), &it.name)).await?,
            copy::<Ad>(&catalog, &store, |it| row(Named::Ad, it.partner.as_str(), it.code.as_str(), &it.name)).await?,
        ];
        if args.partners {
            copied.push(
                copy::<Partner>(&catalog, &store, |it| row(Named::Partner, "", it.code.as_str(), &it.name)).await?,
            );
        }
        catalog.close().await;
        for (count, what) in copied.iter().zip(["programs", "links", "ads", "partners"]) {
            println!("{count} names of {what}");
        }
        Ok(())
    })
}

/// Page by page; how many.
async fn copy<T: Entity>(catalog: &Catalog, store: &Store, row: impl Fn(&T) -> NameRow) -> anyhow::Result<usize> {
    let mut query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
    let mut count = 0;
    loop {
        let page = catalog.list::<T>(&query).await?;
        let rows: Vec<NameRow> = page.items.iter().map(&row).collect();
        count += rows.len();
        store.put_names(&rows, Clock::System.now()).await?;
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(count);
        }
    }
}
