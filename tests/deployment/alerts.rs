//! Prometheus: its own program accepts and tries the rules; each alert asks for what there is, fires in its history, and has
//! a runbook.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;

use crate::{accepts, metrics, names, path, read, text, tool, yaml};

pub(crate) const RULES: [&str; 2] = ["config/prometheus/fingerpost.rules.yml", "config/prometheus/many.rules.yml"];
const HISTORIES: [&str; 2] = ["config/prometheus/fingerpost.test.yml", "config/prometheus/many.test.yml"];
const RUNBOOKS: &str = "docs/operator.md";

fn rules() -> Vec<Value> {
    let groups = RULES.iter().flat_map(|file| yaml(file)["groups"].as_sequence().expect("groups").clone());
    groups.flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

/// Names of recording rules.
pub(crate) fn recorded() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| text(&rule["record"])).collect()
}

/// Anchors as GitHub makes them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let lower = heading.to_lowercase().replace(' ', "-");
            lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

#[test]
fn promtool_accepts_rules_and_scrape_configuration() {
    accepts(tool("promtool").args(["check", "rules"]).args(RULES));
    let said = accepts(tool("promtool").args(["check", "config", "config/prometheus/prometheus.yml"]));
    assert!(said.contains("2 rule files found"), "{said}");
}

#[test]
fn every_alert_fires_in_its_history_and_none_while_all_is_well() {
    accepts(tool("promtool").args(["test", "rules"]).args(HISTORIES));
    let histories: String = HISTORIES.iter().map(|file| read(file)).collect();
    for rule in rules() {
        if let Some(alert) = text(&rule["alert"]) {
            assert!(histories.contains(&format!("alertname=\"{alert}\"")), "{alert} has no history on which it fires");
        }
    }
}

#[test]
fn rules_ask_for_what_there_is() {
    let recorded = recorded();
    for rule in rules() {
        metrics::exists(&text(&rule["expr"]).expect("an expression"), &recorded);
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_where_its_runbook_is() {
    let page = read(RUNBOOKS);
    let anchors = anchors(&page);
    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let Some(alert) = text(&rule["alert"]) else { continue };
        let note = |name: &str| {
            let note = text(&rule["annotations"][name]).unwrap_or_default();
            assert!(!note.is_empty(), "{alert} has no {name}");
            note
        };
        assert!(note("summary").len() > 10 && note("description").len() > 20);
        let severity = text(&rule["labels"]["severity"]).unwrap_or_default();
        assert!(["page", "ticket"].contains(&severity.as_str()), "{alert}: {severity}");
        let runbook = note("runbook_url");
        let (address, anchor) = runbook.split_once('#').expect("an anchor");
        assert_eq!(address, format!("{}/blob/main/{RUNBOOKS}", env!("CARGO_PKG_REPOSITORY")), "{alert}");
        assert_eq!(anchor, alert.to_lowercase(), "{alert}");
        assert!(anchors.contains(anchor), "{alert}: there is no #{anchor} in {RUNBOOKS}");
        assert!(alerts.insert(alert.clone()), "{alert} stands there twice");
    }
    assert!(alerts.len() > 30);
    let headings = page.lines().filter_map(|line| line.strip_prefix("#### Fingerpost"));
    for heading in headings {
        assert!(alerts.contains(&format!("Fingerpost{heading}")), "there is no alert Fingerpost{heading}");
    }
}

#[test]
fn what_is_scraped_is_what_compose_starts() {
    let compose = yaml("config/compose.yaml");
    let services = names(&compose["services"]);
    let scrape = yaml("config/prometheus/prometheus.yml");
    let mut targets = Vec::new();
    for job in scrape["scrape_configs"].as_sequence().expect("jobs") {
        for group in job["static_configs"].as_sequence().into_iter().flatten() {
            targets.extend(names(&group["targets"]));
        }
        for group in job["dns_sd_configs"].as_sequence().into_iter().flatten() {
            let port = text(&group["port"]).expect("a port");
            targets.extend(names(&group["names"]).into_iter().map(|name| format!("{name}:{port}")));
        }
    }
    for target in &targets {
        let (host, _) = target.split_once(':').expect("host:port");
        assert!(host == "localhost" || services.iter().any(|service| service == host), "{target} is nobody");
    }
    for ours in ["edge-1:8082", "edge-2:8082", "loader:8082"] {
        assert!(targets.iter().any(|target| target == ours), "{ours} is not scraped");
    }
    for file in names(&scrape["rule_files"]) {
        assert!(path("config/prometheus").join(&file).exists(), "{file}");
    }
}
