//! What the program does for whoever has just met it: files that it makes itself, colour, help.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::router::PROGRAM;
use crate::support::said;

fn run(dir: &TempDir, words: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words.split(' ')).current_dir(dir.path()).env_clear().output().unwrap()
}

#[test]
fn a_first_configuration_is_valid_and_overwrites_nothing() {
    let dir = TempDir::new().unwrap();
    let first = run(&dir, "init");
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    assert!(said(&first).contains("tidegate validate-config --config tidegate.toml"));
    let export = format!("export TIDEGATE_CONFIG={}", dir.path().join("tidegate.toml").display());
    assert!(said(&first).contains(&export), "{}", said(&first));
    let check = run(&dir, "validate-config --config tidegate.toml");
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    let file = dir.path().join("tidegate.toml");
    std::fs::write(&file, "mine").unwrap();
    let second = run(&dir, "init");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("or replace it with --force"), "{}", said(&second));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let json = run(&dir, "init --force --json");
    let told: Value = serde_json::from_str(&said(&json)).unwrap();
    assert_eq!(told["written"][0], "tidegate.toml");
    let shipped = std::fs::read_to_string("config/tidegate.toml").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), shipped);
    assert_eq!(said(&run(&dir, "init --output -")), shipped);
    let nowhere = run(&dir, "init --output no/such/folder.toml");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said(&nowhere).contains("choose another with --output"), "{}", said(&nowhere));
}

#[test]
fn a_full_disk_is_no_success_and_a_closed_pipe_no_failure() {
    let dir = TempDir::new().unwrap();
    for words in ["init --output -", "man", "completions bash"] {
        for (to, code) in [("> /dev/full", 2), ("| head -c 1 > head; exit ${PIPESTATUS[0]}", 0)] {
            let line = format!("{PROGRAM} {words} {to}");
            let mut command = Command::new("bash");
            let output = command.args(["-c", &line]).current_dir(dir.path()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        }
    }
}

#[test]
fn what_is_not_there_is_said_with_the_way_to_it() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("bare.toml"), "").unwrap();
    std::fs::write(dir.path().join("half.json"), "{").unwrap();
    for (words, code, advice) in [
        ("validate-config --profile=production", 64, "with --config or TIDEGATE_CONFIG"),
        ("run --profile=production-secondary", 64, "with --config or TIDEGATE_CONFIG"),
        ("validate-config --config bare.toml --profile p", 64, "add a section [profiles.p]"),
        ("backups --socket none.sock", 2, "or with --config and its --profile"),
        ("restore-state none.json --socket none.sock", 64, "tidegate export-state --output"),
        ("restore-state half.json --socket none.sock", 64, "tidegate export-state --output"),
    ] {
        let output = run(&dir, words);
        assert_eq!(output.status.code(), Some(code), "{words}: {}", said(&output));
        assert!(said(&output).contains(advice), "{words}: {}", said(&output));
    }
}

#[test]
fn pages_and_completions_are_made() {
    let dir = TempDir::new().unwrap();
    let page = said(&run(&dir, "man"));
    assert!(page.contains(".TH tidegate 1") && page.contains("rollout"), "{page}");
    let made = run(&dir, "man --output man/man1");
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    let start = dir.path().join("man/man1/tidegate-rollout-start.1");
    assert!(std::fs::read_to_string(start).unwrap().contains("Example: tidegate rollout start"));
    std::fs::write(dir.path().join("file"), "").unwrap();
    let refused = run(&dir, "man --output file");
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("choose another folder with --output"));
    for (shell, words) in [
        ("bash", "complete -F _tidegate"),
        ("zsh", "#compdef tidegate"),
        ("fish", "complete -c tidegate"),
    ] {
        let script = run(&dir, &format!("completions {shell}"));
        assert_eq!(script.status.code(), Some(0));
        assert!(said(&script).contains(words), "{shell}");
    }
    assert_eq!(run(&dir, "completions tcsh").status.code(), Some(64));
}

#[test]
fn colour_is_for_terminals_only() {
    let dir = TempDir::new().unwrap();
    for words in ["--help", "rollout --help", "rollout strat", "validate-config --config nowhere"] {
        let said = said(&run(&dir, words));
        assert!(!said.is_empty() && !said.contains('\u{1b}'), "{words}: {said}");
    }
    // A terminal of its own, and somebody who wants no colour in it.
    for (setting, is_coloured) in [("TERM=xterm", true), ("TERM=xterm NO_COLOR=1", false)] {
        let line = format!("env -i {setting} {PROGRAM} rollout strat");
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).output();
        let Ok(output) = output else {
            eprintln!("not tested: there is no program `script`");
            return;
        };
        let said = said(&output);
        assert!(said.contains("strat"), "{said}");
        assert_eq!(said.contains("\u{1b}["), is_coloured, "{setting}: {said}");
    }
}
