//! States as files: exported, put back, backed up.

use serde_json::Value;

use crate::support::{Router, Server, said};

/// Runs a command that has to end like this; returns what it printed.
#[track_caller]
fn told(router: &Router, arguments: &[&str], code: i32) -> String {
    let output = router.cli(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    said(&output)
}

async fn two_arms(settings: &str) -> (Server, Server, Router) {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], settings).await;
    (one, two, router)
}

#[tokio::test]
async fn what_was_exported_is_put_back_downwards_at_once_and_upwards_on_purpose() {
    let (_one, _two, router) = two_arms("").await;
    told(&router, &["set-traffic-split", "secondary:30"], 0);
    told(&router, &["export-state", "--output=state.json"], 0);
    told(&router, &["set-traffic-split", "secondary:60"], 0);
    let down = told(&router, &["restore-state", "state.json"], 0);
    assert!(down.starts_with("primary:70 secondary:30"), "{down}");
    told(&router, &["set-traffic-split", "secondary:0"], 0);
    let refused = told(&router, &["restore-state", "state.json"], 1);
    assert!(refused.contains("--allow-raise"), "{refused}");
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 0);
    told(&router, &["restore-state", "state.json", "--allow-raise"], 0);
    told(
        &router,
        &["alert", "raise", "--severity", "critical", "--source", "x", "--reason", "y"],
        0,
    );
    let latched = told(&router, &["restore-state", "state.json", "--allow-raise"], 1);
    assert!(latched.contains("alert clear"), "{latched}");
}

#[tokio::test]
async fn an_alert_and_a_drain_come_back_with_it_and_a_rollout_does_not() {
    let (_one, _two, router) = two_arms("").await;
    told(&router, &["rollout", "start"], 0);
    told(&router, &["export-state", "--output", "running.json"], 0);
    let busy = told(&router, &["restore-state", "running.json"], 1);
    assert!(busy.contains("abort it first"), "{busy}");
    told(&router, &["rollout", "abort"], 0);
    let ended = told(&router, &["restore-state", "running.json"], 0);
    assert!(ended.contains("is not resumed"), "{ended}");
    assert!(told(&router, &["rollout", "status"], 1).contains("aborted"));
    told(&router, &["drain", "secondary"], 0);
    told(
        &router,
        &["alert", "raise", "--severity", "critical", "--source", "x", "--reason", "y"],
        0,
    );
    told(&router, &["export-state", "--output", "shut.json"], 0);
    told(&router, &["alert", "clear", "1", "--reason", "fixed"], 0);
    told(&router, &["undrain"], 0);
    told(&router, &["restore-state", "shut.json"], 0);
    let status = router.status().await.unwrap();
    assert_eq!(status["alerts"][0]["reason"], "y", "{status}");
    assert!(told(&router, &["set-traffic-split", "secondary:1"], 1).contains("undrain"));
}

#[tokio::test]
async fn what_is_cut_edited_foreign_or_of_other_servers_is_refused() {
    let (one, _two, router) = two_arms("").await;
    told(&router, &["export-state", "--output", "state.json"], 0);
    let file = |name: &str| router.dir.path().join(name);
    let good = std::fs::read_to_string(file("state.json")).unwrap();
    for (bad, code, words) in [
        (good[..good.len() / 2].to_owned(), 64, "not all of it"),
        (good.replace("\"secondary\": 0", "\"secondary\": 90").replace("100", "10"), 1, "edited"),
        (good.replace("\"version\": 1\n", "\"version\": 9\n"), 1, "version 9"),
        ("{}".to_owned(), 1, "no exported state"),
    ] {
        std::fs::write(file("bad.json"), &bad).unwrap();
        let refused = told(&router, &["restore-state", "bad.json"], code);
        assert!(refused.contains(words), "{words}: {refused}");
    }
    told(&router, &["restore-state", "none.json"], 64);
    router.edit(&one.address.to_string(), "127.0.0.1:9");
    told(&router, &["reload"], 0);
    let moved = told(&router, &["restore-state", "state.json"], 1);
    assert!(moved.contains("other endpoints"), "{moved}");
}

#[tokio::test]
async fn every_rollout_begins_with_a_backup_that_can_be_put_back() {
    let (_one, _two, router) = two_arms("[split]\nsecondary = 20").await;
    assert!(told(&router, &["backups"], 0).contains("no backup yet"));
    told(&router, &["rollout", "start"], 0);
    told(&router, &["rollout", "start"], 1);
    let all: Value = serde_json::from_str(&told(&router, &["backups", "--json"], 0)).unwrap();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["id"]), (1, &Value::from("b1")), "{all}");
    assert!(told(&router, &["backups", "b1"], 0).contains("weights primary:80 secondary:20"));
    told(&router, &["rollout", "abort"], 0);
    router.edit("secondary = 20", "secondary = 0");
    told(&router, &["reload"], 0);
    let back =
        told(&router, &["restore-state", "--backup", "b1", "--with-config", "--allow-raise"], 0);
    assert!(back.contains("primary:80 secondary:20 for new sessions"), "{back}");
    let config = std::fs::read_to_string(router.dir.path().join("tidegate.toml")).unwrap();
    assert!(config.contains("secondary = 20"), "{config}");
    told(&router, &["restore-state", "--backup", "b7"], 1);
}

#[tokio::test]
async fn a_configuration_that_is_put_back_raises_nothing_unasked() {
    let (_one, _two, router) = two_arms("[split]\nsecondary = 20").await;
    told(&router, &["rollout", "start"], 0);
    told(&router, &["rollout", "abort"], 0);
    router.edit("secondary = 20", "secondary = 0");
    told(&router, &["reload"], 0);
    let refused = told(&router, &["restore-state", "--backup", "b1", "--with-config"], 1);
    assert!(refused.contains("say --allow-raise"), "{refused}");
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 0);
    let config = std::fs::read_to_string(router.dir.path().join("tidegate.toml")).unwrap();
    assert!(config.contains("secondary = 0"), "{config}");
}

#[tokio::test]
async fn a_drained_arm_does_not_become_the_stable_one() {
    let (_one, _two, router) = two_arms("").await;
    told(&router, &["set-traffic-split", "secondary:100"], 0);
    told(&router, &["rollout", "confirm", "--force"], 0);
    told(&router, &["export-state", "--output", "state.json"], 0);
    told(&router, &["set-traffic-split", "primary:100"], 0);
    told(&router, &["rollout", "confirm", "--force"], 0);
    told(&router, &["drain", "secondary"], 0);
    let refused = told(&router, &["restore-state", "state.json", "--allow-raise"], 1);
    assert!(refused.contains("tidegate undrain secondary"), "{refused}");
    let status = router.status().await.unwrap();
    assert_eq!((&status["stable"], &status["split"]["secondary"]), (&"primary".into(), &0.into()));
}

#[tokio::test]
async fn a_rollout_without_a_backup_says_so() {
    let (_one, _two, router) = two_arms("").await;
    let states = router.dir.path().join("state");
    assert!(states.is_dir(), "{}", states.display());
    std::fs::write(states.join("backups"), "in the way").unwrap();
    let started = told(&router, &["rollout", "start"], 0);
    assert!(started.contains("NO backup"), "{started}");
}

#[tokio::test]
async fn what_is_no_file_is_written_to_and_stays() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let (_one, _two, router) = two_arms("").await;
    let file = |name: &str| router.dir.path().join(name);
    symlink("/dev/null", file("nowhere")).unwrap();
    told(&router, &["export-state", "--output", "nowhere"], 0);
    assert!(std::fs::metadata(file("nowhere")).unwrap().file_type().is_char_device());
}
