//! What a restart, a reload and a full disk leave of a rollout.

use nix::sys::signal::{SIGTERM, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{
    decisions, done, intact, plan, records, refused, said, scene, session, start, until, verb,
};
use crate::support::{Router, within};

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Asked,
    Killed,
}

/// Restarts a router, and compares what is going on.
async fn restarted(mut router: Router, end: End) -> Router {
    let before = decisions(&router).await;
    if let End::Asked = end {
        kill(Pid::from_raw(router.pid()), SIGTERM).unwrap();
        assert_eq!(router.ended().await, 0);
    }
    let router = router.restart().await;
    let after = decisions(&router).await;
    let same = |told: &Value| {
        let rollout = &told["rollout"];
        let told: Vec<_> =
            ["stable", "closed", "split", "verbs"].map(|key| told[key].clone()).into();
        let own = ["id", "to", "state", "step", "steps", "why", "guard"];
        [told, own.map(|key| rollout[key].clone()).into()].concat()
    };
    let state = before["rollout"]["state"].as_str().unwrap().to_owned();
    assert_eq!(same(&after), same(&before), "{state}, {end:?}");
    let elapsed = |told: &Value| told["rollout"]["elapsed_ms"].as_u64().unwrap();
    // What was watched since the start counts, and a look may have been.
    let since = router.status().await.unwrap()["uptime_seconds"].as_u64().unwrap() * 1000 + 1000;
    assert!(elapsed(&after) <= elapsed(&before) + since, "{state}, {end:?}: {after}");
    assert!(!session(&router).await.1.is_empty());
    router
}

#[tokio::test]
async fn a_restart_in_any_state_goes_on_where_it_was() {
    for end in [End::Asked, End::Killed] {
        let (router, _servers) = scene(&plan(&[10, 50, 100], "1h"), "").await;
        start(&router).await;
        router.ages().await;
        let router = restarted(router, end).await;
        verb(&router, "promote", json!({})).await;
        let router = restarted(router, end).await;
        assert_eq!(decisions(&router).await["split"]["secondary"], 50);
        verb(&router, "pause", json!({})).await;
        let router = restarted(router, end).await;
        verb(&router, "resume", json!({})).await;
        verb(&router, "promote", json!({ "full": true })).await;
        let router = restarted(router, end).await;
        verb(&router, "promote", json!({})).await;
        let router = restarted(router, end).await;
        assert_eq!(decisions(&router).await["rollout"]["state"], "promoted");
        verb(&router, "undo", json!({ "reason": "test" })).await;
        let router = restarted(router, end).await;
        assert_eq!(session(&router).await.1, "one");
        start(&router).await;
        verb(&router, "abort", json!({ "reason": "test" })).await;
        let router = restarted(router, end).await;
        let wait = "gate = 'evidence'\nsteps = [{ weight = 50, hold = '1ms' }, { weight = 100, hold = '1h' }]";
        verb(&router, "start", json!({ "plan": wait })).await;
        until(&router, "holding").await;
        let router = restarted(router, end).await;
        let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
        router.admin("POST", "/v1/alerts", alert).await.unwrap();
        let router = restarted(router, end).await;
        assert_eq!(decisions(&router).await["rollout"]["state"], "reverted");
        intact(&router);
    }
}

#[tokio::test]
async fn the_time_of_a_step_is_not_counted_while_nobody_watches() {
    let (router, _servers) = scene(&plan(&[10, 100], "4s"), "").await;
    start(&router).await;
    router.ages().await;
    let router = router.restart().await;
    let told = decisions(&router).await;
    assert_eq!(told["rollout"]["state"], "progressing");
    assert!(told["rollout"]["elapsed_ms"].as_u64().unwrap() < 4000, "{told}");
    until(&router, "baking").await;
}

#[tokio::test]
async fn what_was_changed_meanwhile_ends_the_rollout() {
    for (from, to, words) in [
        ("[rollout]", "[split]\nprimary = 60\nsecondary = 40\n[rollout]", "asks for another split"),
        (
            "[secondary]\nendpoints = [",
            "[secondary]\nendpoints = [\"http://127.0.0.1:1/mcp\", ",
            "other addresses",
        ),
    ] {
        let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
        start(&router).await;
        router.edit(from, to);
        refused(&router, "reload", "abort it first");
        assert_eq!(decisions(&router).await["rollout"]["state"], "progressing");
        let router = router.restart().await;
        let told = decisions(&router).await;
        assert_eq!(told["rollout"]["state"], "aborted", "{told}");
        assert!(told["rollout"]["why"].as_str().unwrap().contains(words), "{told}");
        assert_eq!(told["split"], json!({ "primary": 100, "secondary": 0 }));
        intact(&router);
    }
}

#[tokio::test]
async fn a_reload_changes_the_rules_but_not_the_plan() {
    let (router, _servers) = scene(&plan(&[50, 100], "1h"), "").await;
    start(&router).await;
    let before = decisions(&router).await;
    router.edit("weight = 50", "weight = 70");
    router.edit("[rollout]", "[guards]\nsequential = 'off'\n[rollout]");
    done(&router, "reload");
    let after = decisions(&router).await;
    assert_eq!(after["rollout"]["steps"], before["rollout"]["steps"]);
    assert_eq!(after["split"], before["split"]);
    within(5, "the guard is off", async || {
        let guards = decisions(&router).await["guards"].clone();
        let off = |it: &&Value| it["guard"] == "sequential" && it["state"] == "off";
        guards.as_array().unwrap().iter().find(off).map(drop)
    })
    .await;
    verb(&router, "abort", json!({})).await;
    start(&router).await;
    assert_eq!(decisions(&router).await["split"]["secondary"], 70);
}

#[tokio::test]
async fn a_second_router_cannot_take_a_rollout_over() {
    let (router, _servers) = scene(&plan(&[50, 100], "2s"), "").await;
    start(&router).await;
    refused(&router, "run --config tidegate.toml --socket second.sock", "uses the state directory");
    until(&router, "baking").await;
}

#[tokio::test]
async fn on_a_full_disk_the_gate_shuts_and_never_opens() {
    let settings = format!("\n[rollout]\n{}", plan(&[50, 100], "1h"));
    let Some((router, state)) = Router::on_a_small_disk("256k", &settings).await else { return };
    let id = start(&router).await;
    let filler = state.join("filler");
    std::fs::write(&filler, vec![1; 1024 * 1024]).unwrap_err();
    let mut paused = 0;
    while router.scrape().await.count("tidegate_journal_pending", &[]) == 0 {
        verb(&router, "pause", json!({})).await;
        verb(&router, "resume", json!({})).await;
        paused += 1;
        assert!(paused < 1000, "the disk is not full");
    }
    refused(&router, "rollout promote", "could not be recorded");
    let told = decisions(&router).await;
    assert_eq!(told["doubt"], "the disk does not take the journal");
    assert_eq!(told["split"]["secondary"], 50);
    // What takes work away is done anyway, and shouted about.
    let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
    router.admin("POST", "/v1/alerts", alert).await.unwrap();
    let told = decisions(&router).await;
    assert_eq!(
        (&told["rollout"]["state"], &told["split"]["secondary"]),
        (&json!("reverted"), &json!(0))
    );
    assert!(router.scrape().await.count("tidegate_journal_failures_total", &[]) > 0);
    assert!(router.log().contains("a change is not in the journal yet"));
    std::fs::remove_file(&filler).unwrap();
    within(10, "all is on record", async || {
        (router.scrape().await.count("tidegate_journal_pending", &[]) == 0).then_some(())
    })
    .await;
    assert_eq!(records(&router, &id).await.pop().unwrap()["event"], "revert");
    let verified = std::process::Command::new(crate::support::router::PROGRAM)
        .args(["records", "verify", "--state-dir", "."])
        .current_dir(&state)
        .output()
        .unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}
