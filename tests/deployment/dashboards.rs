//! Grafana: what it is provisioned with fits together, and every panel asks for what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{accepts, alerts, entries, metrics, path, read, text, tool, yaml};

const FOLDER: &str = "config/grafana/dashboards";
const SOURCES: &str = "config/grafana/provisioning/datasources/fingerpost.yml";

/// File and content of every dashboard.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(path(FOLDER)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let parsed = files.into_iter().map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        (name.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
    });
    parsed.collect()
}

pub(crate) fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("panels")
}

/// Panel title and target, of panels that ask this kind of source.
pub(crate) fn targets<'a>(dashboard: &'a Value, source: &str) -> Vec<(&'a str, &'a Value)> {
    let of_source = panels(dashboard).iter().filter(|panel| panel["datasource"]["type"] == source);
    of_source
        .flat_map(|panel| {
            let title = panel["title"].as_str().expect("a title");
            panel["targets"].as_array().expect("targets").iter().map(move |target| (title, target))
        })
        .collect()
}

#[test]
fn dashboards_have_their_own_uids_ids_and_places() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let uid = dashboard["uid"].as_str().unwrap_or_default().to_owned();
        assert!(!uid.is_empty() && uid.len() <= 40, "{file}: Grafana takes uids of up to 40 characters");
        assert!(uids.insert(uid), "{file}: another dashboard has its uid");
        assert!(dashboard["id"].is_null(), "{file}: an id is the installation's own");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && !dashboard["title"].as_str().unwrap().is_empty());
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty(), "{file}: {panel}");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}: {title} has an id twice");
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: {title} is wider than the page");
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{file}: {title} lies on another panel");
            }
            let refs = panel["targets"].as_array().into_iter().flatten().map(|target| target["refId"].as_str());
            let refs: Vec<_> = refs.collect();
            assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "{file}: {title}");
        }
        assert!(ids.len() > 10, "{file}");
    }
    assert_eq!(uids.len(), 2);
}

#[test]
fn they_ask_the_sources_that_are_provisioned() {
    let provisioned = yaml(SOURCES);
    let sources: BTreeSet<(String, String)> = provisioned["datasources"]
        .as_sequence()
        .expect("sources")
        .iter()
        .map(|source| (text(&source["type"]).expect("a type"), text(&source["uid"]).expect("a uid")))
        .collect();
    let mut asked = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
        let targets = panels(&dashboard).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        let of_panels = panels(&dashboard).iter().filter(|panel| panel["type"] != "row");
        for asking in variables.chain(targets).chain(of_panels) {
            let source = &asking["datasource"];
            let (kind, uid) = (source["type"].as_str().unwrap_or_default(), source["uid"].as_str().unwrap_or_default());
            let source = (kind.to_owned(), uid.to_owned());
            assert!(sources.contains(&source), "{file}: nobody provisions {source:?}: {asking}");
            asked.insert(source);
        }
    }
    assert_eq!(asked, sources, "a source that no dashboard asks");
}

#[test]
fn provisioning_fits_the_compose_file() {
    let compose = yaml("config/compose.yaml");
    let grafana = &compose["services"]["grafana"];
    let provider = yaml("config/grafana/provisioning/dashboards/fingerpost.yml");
    let folder = text(&provider["providers"][0]["options"]["path"]).expect("a path");
    let mounts = crate::names(&grafana["volumes"]);
    assert!(mounts.contains(&format!("./grafana/dashboards:{folder}:ro")), "{mounts:?}");
    assert!(mounts.iter().any(|mount| mount == "./grafana/provisioning:/etc/grafana/provisioning:ro"), "{mounts:?}");
    let environment: BTreeSet<String> = entries(&grafana["environment"]).map(|(name, _)| name).collect();
    let plugins = text(&grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]).expect("plugins");
    let services = crate::names(&compose["services"]);
    for source in yaml(SOURCES)["datasources"].as_sequence().expect("sources") {
        let kind = text(&source["type"]).expect("a type");
        assert!(kind == "prometheus" || plugins.starts_with(&format!("{kind}@")), "{kind} is installed by nobody");
        let host = text(&source["jsonData"]["host"]).or_else(|| {
            let url = url::Url::parse(&text(&source["url"])?).expect("an address");
            url.host_str().map(str::to_owned)
        });
        assert!(services.contains(&host.expect("a host")), "{source:?}");
        for (_, secret) in entries(&source["secureJsonData"]) {
            let variable = text(secret).expect("a text").trim_start_matches('$').to_owned();
            assert!(environment.contains(&variable), "Grafana does not get {variable}");
        }
    }
    // The user that Grafana is may only read, and has the password that ClickHouse is given.
    let users = read("config/clickhouse/users.xml");
    assert!(users.contains("<readonly>1</readonly>") && users.contains("from_env=\"CLICKHOUSE_READER_PASSWORD\""));
    assert!(
        entries(&compose["services"]["clickhouse"]["environment"])
            .any(|(name, _)| name == "CLICKHOUSE_READER_PASSWORD")
    );
    assert_eq!(yaml(SOURCES)["datasources"][1]["jsonData"]["username"], "reader");
    assert!(users.contains("<reader>"));
}

/// With Grafana's own variables filled in.
fn filled(expression: &str) -> String {
    expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
}

#[test]
fn promtool_accepts_every_expression_and_every_metric_exists() {
    let recorded = alerts::recorded();
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    let mut count = 0;
    for (_, dashboard) in dashboards() {
        for (title, target) in targets(&dashboard, "prometheus") {
            let expression = filled(target["expr"].as_str().expect("an expression"));
            assert!(!expression.contains('$'), "{title}: {expression}");
            // Prometheus' own, made of our rules.
            if !expression.contains("ALERTS") {
                metrics::exists(&expression, &recorded);
            }
            let quoted = expression.replace('\'', "''");
            rules.push_str(&format!("      - {{ record: 'panel:{count}', expr: '{quoted}' }}\n"));
            count += 1;
        }
    }
    assert!(count > 40);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("panels.yml");
    std::fs::write(&file, &rules).unwrap();
    accepts(tool("promtool").args(["check", "rules"]).arg(&file));
    std::fs::write(&file, rules.replacen("sum(", "sum((", 1)).unwrap();
    let wrong = tool("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    assert!(!wrong.status.success(), "a slip in an expression must be seen");
}

#[test]
fn every_metric_is_on_a_dashboard_or_in_an_alert() {
    let used: String = alerts::RULES.iter().map(|file| read(file)).collect::<String>()
        + &dashboards().iter().map(|(_, dashboard)| dashboard.to_string()).collect::<String>();
    let unused: Vec<_> =
        fingerpost::telemetry::names::ALL.iter().filter(|metric| !used.contains(metric.name)).collect();
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}
