//! What leaves by itself: webhooks and mails, made from the configuration before anything listens.

use std::sync::Arc;

use crate::{
    api,
    catalog::Catalog,
    config::Config,
    io::clock::Clock,
    outbox::{Guard, Mailer, Tester, Webhooks},
    telemetry::health::Health,
};

pub(super) struct Senders {
    pub(super) webhooks: Webhooks,
    pub(super) mailer: Mailer,
    /// What the API has of it.
    pub(super) api: api::Webhooks,
}

impl Senders {
    pub(super) fn new(config: &Config, catalog: &Catalog, health: &Health, clock: &Clock) -> anyhow::Result<Senders> {
        let settings = &config.webhooks;
        let guard = Arc::new(Guard::new(settings.allow_hosts.clone()));
        let tester = Tester::new(settings, Arc::clone(&guard), catalog.clone(), clock.clone())?;
        let webhooks = Webhooks::new(settings, Arc::clone(&guard), catalog.clone(), health.clone(), clock.clone())?;
        let mailer = Mailer::new(&config.mail, catalog.clone(), clock.clone())?;
        let api = api::Webhooks { guard, tester, secret_overlap: settings.secret_overlap };
        Ok(Senders { webhooks, mailer, api })
    }
}
