//! What is shipped besides the program: units for systemd, as they stand in the repository.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use crate::support::router::PROGRAM;
use crate::support::said;

/// One router, and one of several.
const SERVICES: [&str; 2] = ["tidegate.service", "tidegate@.service"];

fn lines(service: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(format!("systemd/{service}")).unwrap();
    text.lines().filter(|it| !it.is_empty() && !it.starts_with('#')).map(str::to_owned).collect()
}

fn analyze(words: &[&str]) -> Output {
    Command::new("systemd-analyze").args(words).output().unwrap()
}

#[test]
fn an_instance_differs_in_nothing_but_places() {
    let [one, several] = SERVICES.map(lines);
    let keys = |lines: &BTreeSet<String>, others: &BTreeSet<String>| -> Vec<String> {
        let own = lines.difference(others);
        own.map(|it| it.split_once('=').unwrap().0.to_owned()).collect()
    };
    let places = [
        "Description",
        "ExecReload",
        "ExecStart",
        "RuntimeDirectory",
        "RuntimeDirectoryPreserve",
        "StateDirectory",
    ];
    assert_eq!(keys(&one, &several), places);
    assert_eq!(keys(&several, &one), places);
}

#[test]
#[ignore = "needs tests/run: systemd-analyze"]
fn services_are_locked_up() {
    for service in SERVICES {
        let file = format!("systemd/{service}");
        // Tenths: 1.2 of 10.
        let judged = analyze(&["security", "--offline=true", "--threshold=12", &file]);
        assert!(judged.status.success(), "{}", said(&judged));
    }
}

#[test]
#[ignore = "needs tests/run: systemd-analyze"]
fn units_say_what_systemd_understands() {
    let folders = [("systemd", "tidegate"), ("config/examples/systemd", "mcp")];
    let copies = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for (folder, prefix) in folders {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let unit = name.starts_with(prefix)
                && [".service", ".socket"].iter().any(|it| name.ends_with(it));
            if unit {
                // Here the programs are somewhere else.
                let text = fs::read_to_string(entry.path()).unwrap();
                let text = text.replace("/usr/bin/tidegate", PROGRAM);
                let text = text.replace("/opt/mcp/%i/bin/server", PROGRAM);
                let copy = copies.path().join(&name);
                fs::write(&copy, text).unwrap();
                units.push(copy.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(units.len() >= 4, "{units:?}");
    let mut words = vec!["verify", "--man=no", "--recursive-errors=no"];
    words.extend(units.iter().map(String::as_str));
    let verified = analyze(&words);
    // It ends well in spite of warnings.
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", said(&verified));
}

#[test]
fn the_example_is_a_configuration() {
    let text = fs::read_to_string("config/examples/systemd/tidegate.toml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    for text in [text, fs::read_to_string("systemd/tidegate.toml").unwrap()] {
        // The package makes the group.
        fs::write(&file, text.replace("[\"tidegate\"]", "[\"root\"]")).unwrap();
        let checked = Command::new(PROGRAM)
            .args(["validate-config", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
    }
}
