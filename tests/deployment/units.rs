//! `config/systemd`: the units start commands that there are, with settings that are known.

use crate::{path, read, support};

#[test]
fn units_start_commands_that_there_are() {
    let mut units = 0;
    for file in std::fs::read_dir(path("config/systemd")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let unit = read(&format!("config/systemd/{name}"));
        let values = |key: &str| -> Vec<String> {
            unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        for run in [values("ExecStartPre"), values("ExecStart")].concat() {
            let command = run.strip_prefix("/usr/local/bin/fingerpost ").unwrap_or_else(|| panic!("{name}: {run}"));
            let help = support::server::command(folder.path(), &[command, "--help"]).output().unwrap();
            assert!(help.status.success(), "{name}: there is no command `{command}`");
        }
        let mut check = support::server::command(folder.path(), &["check"]);
        for setting in values("Environment") {
            let (key, value) = setting.split_once('=').expect("KEY=VALUE");
            if key.starts_with("FINGERPOST__") {
                check.env(key, value);
            }
        }
        let output = check.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // The folder that systemd makes is the one that the program is told.
        let data = unit.lines().find_map(|line| line.strip_prefix("Environment=FINGERPOST_DATA_DIR="));
        assert_eq!(data.expect("a folder"), format!("/var/lib/{}", values("StateDirectory")[0]), "{name}");
        units += 1;
    }
    assert_eq!(units, 2);
}
