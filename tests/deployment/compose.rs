//! `config/compose.yaml`: its own schema, what its parts wait for, what is open to whom, and every setting in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
};

use regex::Regex;
use serde_yaml_ng::Value;

use crate::{accepts, entries, image, names, path, read, support, text, tool, yaml};

const FILE: &str = "config/compose.yaml";
const EXAMPLE: &str = "config/compose.env.example";

fn services() -> BTreeMap<String, Value> {
    let compose = yaml(FILE);
    entries(&compose["services"]).map(|(name, service)| (name, service.clone())).collect()
}

/// Services of our own image.
pub(crate) fn ours() -> BTreeMap<String, Value> {
    let all = services().into_iter();
    all.filter(|(_, service)| text(&service["image"]).expect("an image").starts_with("fingerpost:")).collect()
}

/// Every `${NAME…}` of the file: the name, and what follows it.
fn variables() -> Vec<(String, String)> {
    let variable = Regex::new(r"\$\{([A-Z_]+)([^}]*)\}").expect("an expression");
    let source = read(FILE);
    variable.captures_iter(&source).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

/// As `docker compose` does it: the default, and a password for what must be set.
pub(crate) fn filled(value: &str) -> String {
    let variable = Regex::new(r"\$\{([A-Z_]+)(:-([^}]*)|:\?[^}]*)\}").expect("an expression");
    variable
        .replace_all(value, |found: &regex::Captures<'_>| {
            found.get(3).map_or("3f9a0c", |default| default.as_str()).to_owned()
        })
        .into_owned()
}

#[test]
fn composes_own_schema_accepts_it() {
    accepts(tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec", FILE]));
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("compose.yaml");
    std::fs::write(&wrong, read(FILE).replace("stop_grace_period: 50s", "stop_grace: 50s")).unwrap();
    let output =
        tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(wrong).output().unwrap();
    assert!(!output.status.success(), "a slip in a key must be seen");
}

/// A service that does its work and is not started again.
fn ends(service: &Value) -> bool {
    text(&service["restart"]).expect("a policy").starts_with("on-failure:")
}

#[test]
fn who_waits_for_health_waits_for_somebody_who_can_tell() {
    let services = services();
    let image_has_one = read("Dockerfile").contains("\nHEALTHCHECK ");
    let has_check = |service: &Value| {
        let own = &service["healthcheck"];
        let is_ours = !service["build"].is_null();
        own["disable"] != true && (!own["test"].is_null() || (is_ours && image_has_one))
    };
    let mut waits = 0;
    for (name, service) in &services {
        for (other, how) in entries(&service["depends_on"]) {
            let found = services.get(&other).unwrap_or_else(|| panic!("{name} waits for {other}, which is not there"));
            match how["condition"].as_str().expect("a condition") {
                "service_healthy" => assert!(has_check(found), "{name} waits for {other}'s health: nobody checks it"),
                "service_completed_successfully" => {
                    assert!(ends(found), "{name} waits for the end of {other}, which is started again and again");
                }
                condition => panic!("{name} waits for {other}: {condition}"),
            }
            waits += 1;
        }
        if !ends(service) {
            assert_eq!(service["restart"], "unless-stopped", "{name}");
            assert!(has_check(service), "{name} runs for ever and cannot tell how it is");
        }
    }
    assert!(waits > 10);
    for name in ["edge-1", "edge-2", "loader"] {
        assert_eq!(services[name]["depends_on"]["migrate"]["condition"], "service_completed_successfully", "{name}");
    }
}

/// The images of both databases start a server for a while that sets things up, on the loopback (ClickHouse) or a socket (PostgreSQL).
#[test]
fn a_database_that_is_being_set_up_is_not_taken_for_a_healthy_one() {
    let services = services();
    let check = |name: &str| names(&services[name]["healthcheck"]["test"]).join(" ");
    assert!(check("clickhouse").ends_with(" http://clickhouse:8123/ping"), "{}", check("clickhouse"));
    assert!(check("postgres").contains(" -h 127.0.0.1 "), "{}", check("postgres"));
    let database = &services["clickhouse"]["environment"]["CLICKHOUSE_DB"];
    assert_eq!(*database, Value::Null, "`migrate` makes the database");
}

#[test]
fn nothing_stands_open_and_no_password_stands_here() {
    let mut public = Vec::new();
    for (name, service) in services() {
        for port in names(&service["ports"]) {
            if !port.starts_with("${INSIDE_ADDRESS:-127.0.0.1}:") {
                public.push((name.clone(), port));
            }
        }
        for (key, value) in entries(&service["environment"]) {
            let value = text(value).unwrap_or_default();
            if key.ends_with("PASSWORD") || value.contains("://fingerpost:") {
                assert!(value.contains(":?"), "{name}: {key} has a value of its own, or a default");
            }
        }
    }
    assert_eq!(public, [("balancer".to_owned(), "${FINGERPOST_PORT:-8080}:8080".to_owned())]);
    for (name, service) in ours() {
        assert_eq!((&service["read_only"], &service["privileged"]), (&true.into(), &Value::Null), "{name}");
        assert_eq!(names(&service["cap_drop"]), ["ALL"], "{name}");
    }
}

#[test]
fn variables_are_in_the_example_and_the_other_way_round() {
    let example = read(EXAMPLE);
    let assigned: BTreeMap<&str, (&str, bool)> = example
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim_start_matches('#'), (value, !name.starts_with('#'))))
        .collect();
    let mut used = BTreeSet::new();
    for (name, rest) in variables() {
        let (value, is_set) = *assigned.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in {EXAMPLE}"));
        match rest.strip_prefix(":-") {
            Some(default) => assert_eq!((value, is_set), (default, false), "{name}: the example tells the default"),
            None => {
                assert!(rest.starts_with(":?"), "{name} has neither a default nor words for when it is missing");
                assert_eq!((value, is_set), ("", true), "{name} is to be filled in");
            }
        }
        used.insert(name);
    }
    let unused: Vec<_> = assigned.keys().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "{unused:?} are not used in {FILE}");
}

#[test]
fn images_are_pinned_and_files_volumes_and_networks_are_there() {
    let compose = yaml(FILE);
    let declared = |what: &str| names(&compose[what]).into_iter().collect::<BTreeSet<_>>();
    let (volumes, networks) = (declared("volumes"), declared("networks"));
    let (mut used_volumes, mut used_networks) = (BTreeSet::new(), BTreeSet::new());
    let pinned = Regex::new(r":v?\d+\.\d+").expect("an expression");
    for (name, service) in services() {
        let image = filled(&text(&service["image"]).expect("an image"));
        assert!(pinned.is_match(&image), "{name}: {image} is not pinned to a version");
        for volume in names(&service["volumes"]) {
            let (from, _) = volume.split_once(':').expect("from:to");
            if from.starts_with('.') {
                assert!(path("config").join(from).exists(), "{name} mounts {from}, which is not there");
            } else {
                used_volumes.insert(from.to_owned());
            }
        }
        used_networks.extend(names(&service["networks"]));
        if !service["build"].is_null() {
            let context = path("config").join(text(&service["build"]["context"]).expect("a context"));
            assert!(context.join("Dockerfile").exists(), "{name}");
            for argument in names(&service["build"]["args"]) {
                assert!(read("Dockerfile").contains(&format!("\nARG {argument}=")), "{argument} is no ARG");
            }
        }
    }
    assert_eq!(used_volumes, volumes);
    assert_eq!(used_networks, networks);
    // Two processes must not share a data folder's journal across machines, nor a transactional id.
    let data = |name: &str| names(&services()[name]["volumes"]).into_iter().find(|volume| volume.ends_with(":/data"));
    assert_ne!(data("edge-1"), data("edge-2"));
}

/// Runs a command of our binary with a service's environment, that of the image below it.
fn under(service: &Value, more: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = support::server::command(folder.path(), arguments);
    let own = entries(&service["environment"]).map(|(key, value)| (key, filled(&text(value).unwrap_or_default())));
    for (key, value) in image::environment().into_iter().chain(own) {
        if key != "FINGERPOST__DATA" {
            command.env(key, value);
        }
    }
    command.envs(more.iter().copied());
    command.output().expect("a command that starts")
}

#[test]
fn every_setting_and_command_is_known() {
    let ours = ours();
    assert_eq!(ours.keys().collect::<Vec<_>>(), ["edge-1", "edge-2", "loader", "migrate"]);
    for (name, service) in &ours {
        let output = under(service, &[], &["check"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let command = names(&service["command"]);
        let help = under(service, &[], &[&command[0], "--help"]);
        assert!(help.status.success(), "{name}: there is no command {command:?}");
    }
    let slip = under(&ours["loader"], &[("FINGERPOST__KAFKA__BROKER", "kafka:9092")], &["check"]);
    let said = String::from_utf8_lossy(&slip.stderr);
    assert!(said.contains("did you mean `kafka.brokers`"), "{said}");
    let without = under(&ours["edge-1"], &[("FINGERPOST__KAFKA__BROKERS", "")], &["check"]);
    assert!(!without.status.success(), "a sink without its brokers must be seen");
}

#[test]
fn broker_and_database_have_the_versions_that_the_tests_run_against() {
    let tested = read("load-tests/stack.d/install.py");
    let services = services();
    let tag =
        |name: &str| text(&services[name]["image"]).expect("an image").split_once(':').expect("a tag").1.to_owned();
    assert!(tested.contains(&format!("KAFKA = \"{}\"", tag("kafka"))), "{}", tag("kafka"));
    let clickhouse = tag("clickhouse");
    let release = clickhouse.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    assert!(tested.contains(&format!("ClickHouse {release}")), "{clickhouse}");
}
