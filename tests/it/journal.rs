//! The journal in the state directory: what a restart goes by, what an edit leaves behind, one
//! router on a directory, a full disk.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::router::PROGRAM;
use crate::support::{Router, eventually, nobody, said};

fn journal(router: &Router) -> PathBuf {
    router.dir.path().join("state/audit.jsonl")
}

fn records(router: &Router) -> Vec<Value> {
    let text = std::fs::read_to_string(journal(router)).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Changes the text of a journal that a router has left.
fn edit(dir: &std::path::Path, edit: impl FnOnce(&mut Vec<String>)) {
    let file = dir.join("state/audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    edit(&mut lines);
    std::fs::write(file, lines.join("\n") + "\n").unwrap();
}

fn verify(dir: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["records", "verify"])
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .output()
        .unwrap()
}

/// A router at primary:70 secondary:30 after three changes.
async fn changed() -> Router {
    let nobody = nobody().await;
    let router = Router::start(&[nobody], &[nobody], "").await;
    for secondary in [10, 20, 30] {
        router.split(100 - secondary, secondary).await;
    }
    router
}

async fn share(router: &Router) -> Value {
    router.status().await.unwrap()["split"]["secondary"].clone()
}

/// Waits for a text in the log, which is written in its own time.
async fn logged(router: &Router, text: &str) {
    eventually(text, async || router.log().contains(text).then_some(())).await;
}

#[tokio::test]
async fn every_line_has_the_state_after_it_and_a_restart_goes_by_the_last() {
    let router = changed().await;
    let lines = records(&router);
    let shares = lines.iter().map(|line| &line["state"]["split"]["secondary"]);
    assert_eq!(shares.collect::<Vec<_>>(), [0, 10, 20, 30]);
    let revisions = lines.iter().map(|line| &line["state"]["revision"]);
    assert_eq!(revisions.collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(!router.dir.path().join("state/state.json").exists());
    let router = router.restart().await;
    assert_eq!(share(&router).await, 30);
    assert_eq!(router.status().await.unwrap()["revision"], 4);
    let verified = router.cli(&["records", "verify", "--state-dir", "state"]);
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert!(
        said(&verified).starts_with("5 lines in 1 file\nfirst  seq 1  "),
        "{}",
        said(&verified)
    );
    assert!(said(&verified).ends_with("\nintact\n"));
}

#[tokio::test]
async fn an_edit_is_found_and_named() {
    type Edit = fn(&mut Vec<String>);
    let cases: [(Edit, &str); 3] = [
        (
            |lines| lines[1] = lines[1].replace("\"secondary\":10", "\"secondary\":11"),
            "audit.jsonl:2: seq 2 is not as it was when seq 3 was written behind it",
        ),
        (|lines| drop(lines.remove(2)), "audit.jsonl:3: seq 3 is missing before it"),
        (|lines| lines.swap(1, 2), "audit.jsonl:3: seq 2 stands behind seq 3"),
    ];
    let mut router = changed().await;
    router.stop().await;
    let dir = router.into_dir();
    let whole = std::fs::read(dir.path().join("state/audit.jsonl")).unwrap();
    for (change, expected) in cases {
        std::fs::write(dir.path().join("state/audit.jsonl"), &whole).unwrap();
        edit(dir.path(), change);
        let found = verify(dir.path(), &["--config", "tidegate.toml"]);
        assert_eq!(found.status.code(), Some(1), "{}", said(&found));
        assert!(said(&found).contains(expected), "{}", said(&found));
        let json = verify(dir.path(), &["--config", "tidegate.toml", "--json"]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&json["intact"], &json["files"]), (&json!(false), &json!(1)));
    }
    // The last line is whole, and whoever edits one may edit another: everything is stable.
    let router = Router::spawn(dir).await;
    assert_eq!(share(&router).await, 0);
    logged(&router, "the journal is damaged or was edited").await;
    assert!(records(&router).last().unwrap()["detail"]["damaged"].is_string());
    // What is on record as damaged is no news at the next start.
    router.split(70, 30).await;
    let router = router.restart().await;
    assert_eq!(share(&router).await, 30);
}

#[tokio::test]
async fn a_torn_end_is_survived_and_no_problem() {
    let dir = changed().await.into_dir();
    let file = dir.path().join("state/audit.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    let torn = verify(dir.path(), &["--state-dir", "state"]);
    assert_eq!(torn.status.code(), Some(0), "{}", said(&torn));
    assert!(said(&torn).contains("note: audit.jsonl:4: cut by a crash"), "{}", said(&torn));
    let router = Router::spawn(dir).await;
    assert_eq!(share(&router).await, 20);
    let mended = router.cli(&["records", "verify", "--state-dir", "state"]);
    assert_eq!(mended.status.code(), Some(0), "{}", said(&mended));
    assert_eq!(records(&router).last().unwrap()["detail"]["torn"], true);
}

#[tokio::test]
async fn in_doubt_everything_is_on_the_primary() {
    let dir = changed().await.into_dir();
    edit(dir.path(), |lines| *lines.last_mut().unwrap() = "nonsense".to_owned());
    let router = Router::spawn(dir).await;
    assert_eq!(share(&router).await, 0);
    logged(&router, "set the split anew").await;
    let lines = records(&router);
    assert_eq!(lines[lines.len() - 2]["event"], "state");
    // Nobody can have seen the new revision; and it is kept.
    let revision = router.status().await.unwrap()["revision"].clone();
    assert!(revision.as_u64().unwrap() > 1_000_000);
    let router = router.restart().await;
    assert_eq!(router.status().await.unwrap()["revision"], revision);
}

#[tokio::test]
async fn the_files_of_version_1_are_taken_over() {
    let router = changed().await;
    let state = records(&router).pop().unwrap()["state"].to_string();
    let dir = router.into_dir();
    let state_dir = dir.path().join("state");
    let old = r#"{"version":1,"at":"2025-01-01T00:00:00.000Z","event":"split","actor":{"kind":"start"},"detail":{}}"#;
    std::fs::write(state_dir.join("audit.jsonl"), format!("{old}\n")).unwrap();
    std::fs::write(state_dir.join("state.json"), state).unwrap();
    assert_eq!(verify(dir.path(), &["--state-dir", "state"]).status.code(), Some(0));
    let router = Router::spawn(dir).await;
    assert_eq!(share(&router).await, 30);
    assert!(!state_dir.join("state.json").exists());
    let router = router.restart().await;
    assert_eq!(share(&router).await, 30);
    let verified = router.cli(&["records", "verify", "--state-dir", "state"]);
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert!(said(&verified).starts_with("3 lines in 1 file\nfirst  seq 0  2025"));
}

#[tokio::test]
async fn no_journal_is_not_an_intact_one() {
    let dir = tempfile::tempdir().unwrap();
    for state_dir in [".", "none"] {
        let none = verify(dir.path(), &["--state-dir", state_dir]);
        assert_eq!(none.status.code(), Some(2), "{}", said(&none));
        assert!(said(&none).contains("cannot read the journal in"), "{}", said(&none));
    }
}

#[tokio::test]
async fn a_second_router_on_the_same_state_does_not_start() {
    let router = changed().await;
    let second = router.cli(&["run", "--config", "tidegate.toml", "--socket", "second.sock"]);
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("another tidegate (pid {}) uses the state directory", router.pid());
    assert!(said(&second).contains(&expected), "{}", said(&second));
    router.split(60, 40).await;
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_nothing_else() {
    let Some((router, state)) = Router::on_a_small_disk("256k", "").await else { return };
    let reserve = state.join("audit.reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 64 * 1024);
    let filler = state.join("filler");
    let full = std::fs::write(&filler, vec![1; 1024 * 1024]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let set = |share: u32| {
        let share = format!("secondary:{}", share % 100);
        router.cli(&["set-traffic-split", &share])
    };
    let mut good = 0;
    let refused = loop {
        let output = set(good + 1);
        if output.status.code() != Some(0) {
            break output;
        }
        good += 1;
        assert!(good < 1000, "the disk is not full");
    };
    assert!(good > 50, "{good}: the space kept for that was not used");
    assert!(!reserve.exists());
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("could not be recorded"), "{}", said(&refused));
    assert_eq!(share(&router).await, json!(good % 100));
    logged(&router, "the disk is full").await;

    // What is done anyway is done, and is written when there is space again.
    let long = format!("[metrics]\nnonsense_{} = 1", "x".repeat(500));
    router.edit("[metrics]", &long);
    assert!(said(&router.cli(&["reload"])).contains("metrics.nonsense"));
    logged(&router, "a change is not in the journal yet").await;
    std::fs::remove_file(&filler).unwrap();
    let lines = async || {
        let text = std::fs::read_to_string(state.join("audit.jsonl")).unwrap();
        text.contains("metrics.nonsense").then_some(text)
    };
    eventually("the refused reload is recorded", lines).await;
    assert_eq!(set(77).status.code(), Some(0));
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 64 * 1024);
    let verified = verify(&state, &["--state-dir", "."]);
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

#[tokio::test]
async fn a_reload_that_cannot_be_recorded_changes_nothing() {
    let settings = "[limits]\nin_flight = 5";
    let Some((router, state)) = Router::on_a_small_disk("256k", settings).await else { return };
    std::fs::write(state.join("filler"), vec![1; 1024 * 1024]).unwrap_err();
    let full = |share: &u32| {
        let share = format!("secondary:{}", share % 100);
        !router.cli(&["set-traffic-split", &share]).status.success()
    };
    assert!((1..1000).any(|share| full(&share)), "the disk is not full");
    router.edit("in_flight = 5", "in_flight = 3");
    let refused = router.cli(&["reload"]);
    assert!(said(&refused).contains("could not be recorded"), "{}", said(&refused));
    let status = router.status().await.unwrap();
    assert_eq!(status["arms"]["primary"]["endpoints"][0]["room"]["limit"], 5);
}
