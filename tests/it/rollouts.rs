//! Rollouts through the real program: the ladder, its verbs, its gates, and what is left on record.
//!
//! Steps are short and need no evidence unless a test says so, so that a ladder takes seconds.

mod guards;

mod kill;

mod monitor;

mod real;

mod restart;

use std::process::Output;

use serde_json::{Value, json};

use crate::support::health::{modern, on, result};
use crate::support::{INITIALIZE, Reply, Router, Server, WHOAMI, nobody, post, said, within};

/// Steps of these weights, of so much time each; evidence is not asked for.
fn plan(weights: &[u8], hold: &str) -> String {
    let steps = weights.iter().map(|weight| format!("{{ weight = {weight}, hold = '{hold}' }}"));
    format!("gate = 'time'\nsteps = [{}]\n", steps.collect::<Vec<_>>().join(", "))
}

/// A router with this plan, and these sections besides, in front of two servers, which say `one`
/// and `two`.
async fn scene(plan: &str, sections: &str) -> (Router, [Server; 2]) {
    let servers = [Server::mcp("one").await, Server::mcp("two").await];
    let settings = format!("\n[rollout]\n{plan}{sections}");
    let [one, two] = [&servers[0], &servers[1]].map(|server| [server.address]);
    (Router::start(&one, &two, &settings).await, servers)
}

/// What is going on.
async fn decisions(router: &Router) -> Value {
    router.admin("GET", "/v1/rollout", json!({})).await.unwrap()
}

/// A verb that has to be accepted; gives what is going on after it.
async fn verb(router: &Router, verb: &str, more: Value) -> Value {
    let path = format!("/v1/rollout/{verb}");
    router.admin("POST", &path, more).await.unwrap_or_else(|error| panic!("{verb}: {error}"))
}

/// Starts a rollout; gives its id.
async fn start(router: &Router) -> String {
    let told = verb(router, "start", json!({ "reason": "test" })).await;
    told["rollout"]["id"].as_str().unwrap().to_owned()
}

/// Waits for a state of the rollout.
async fn until(router: &Router, state: &str) -> Value {
    within(30, state, async || {
        Some(decisions(router).await).filter(|told| told["rollout"]["state"] == state)
    })
    .await
}

/// Every record of a rollout.
async fn records(router: &Router, id: &str) -> Vec<Value> {
    let path = format!("/v1/history/{id}");
    let shown = router.admin("GET", &path, json!({})).await.unwrap();
    shown["records"].as_array().unwrap().clone()
}

/// A new session: its id, and the server that it is on.
async fn session(router: &Router) -> (String, String) {
    let reply = post(router.address, &[], INITIALIZE).await;
    let server = reply.json()["result"]["serverInfo"]["name"].as_str().unwrap().to_owned();
    (reply.session(), server)
}

/// A call in a session.
async fn call(router: &Router, session: &str) -> Reply {
    post(router.address, &[("mcp-session-id", session)], WHOAMI).await
}

/// A session on this server.
async fn session_on(router: &Router, wanted: &str) -> String {
    within(10, wanted, async || {
        Some(session(router).await).filter(|(_, server)| server == wanted).map(|(id, _)| id)
    })
    .await
}

/// A command that is refused, for a reason with these words.
#[track_caller]
fn refused(router: &Router, command: &str, words: &str) {
    let output = router.cli(&command.split(' ').collect::<Vec<_>>());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{command}: {said}");
    assert!(said.contains(words), "{command}: {words}: {said}");
}

/// A command that is done; gives what it says.
#[track_caller]
fn done(router: &Router, command: &str) -> String {
    let output = router.cli(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{command}: {}", said(&output));
    said(&output)
}

fn intact(router: &Router) {
    assert!(done(router, "records verify --state-dir state").ends_with("\nintact\n"));
}

#[tokio::test]
async fn a_good_version_goes_all_the_way_and_the_next_one_comes_back() {
    let (router, [one, two]) = scene(&plan(&[10, 50, 100], "1s"), "").await;
    let (before, _) = session(&router).await;
    let first = start(&router).await;
    assert_eq!(decisions(&router).await["split"], json!({ "primary": 90, "secondary": 10 }));
    let told = until(&router, "promoted").await;
    assert_eq!((&told["stable"], &told["closed"]), (&json!("secondary"), &json!(null)));
    assert_eq!(told["split"], json!({ "primary": 0, "secondary": 100 }));
    assert_eq!(told["verbs"], json!(["undo", "start"]));
    assert_eq!(session(&router).await.1, "two");
    assert_eq!(call(&router, &before).await.server(), "one");

    let second = start(&router).await;
    assert_eq!(decisions(&router).await["rollout"]["to"], "primary");
    assert_eq!(decisions(&router).await["split"], json!({ "primary": 10, "secondary": 90 }));
    assert_eq!(until(&router, "promoted").await["stable"], "primary");
    assert_eq!(session(&router).await.1, "one");
    let told = verb(&router, "undo", json!({ "reason": "not so good" })).await;
    assert_eq!((&told["stable"], &told["closed"]), (&json!("secondary"), &json!("primary")));
    assert_eq!(session(&router).await.1, "two");

    // What is on record of it.
    let told = router.admin("GET", "/v1/history", json!({})).await.unwrap();
    let past = |at: usize, key: &str| told[at][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((past(0, "id"), past(1, "id")), (second.clone(), first.clone()));
    assert_eq!((past(0, "state"), past(1, "state")), ("undone".into(), "promoted".into()));
    assert_eq!((past(0, "to"), past(1, "to")), ("primary".into(), "secondary".into()));
    assert_eq!((past(0, "why"), past(0, "reason")), ("not so good".into(), "test".into()));
    let events = async |id: &str| {
        let all = records(&router, id).await;
        let told = |it: &Value| {
            let event = it["event"].as_str().unwrap().to_owned();
            (event, it["detail"]["after"]["secondary"].as_u64().unwrap())
        };
        all.iter().map(told).collect::<Vec<_>>()
    };
    let wanted = [("rollout-start", 10), ("step", 50), ("step", 100), ("promoted", 100)];
    assert_eq!(events(&first).await, wanted.map(|(event, share)| (event.to_owned(), share)));
    let wanted = [("rollout-start", 90), ("step", 50), ("step", 0), ("promoted", 0), ("undo", 100)];
    assert_eq!(events(&second).await, wanted.map(|(event, share)| (event.to_owned(), share)));
    let said = done(&router, "rollout history");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(done(&router, &format!("rollout show {first}")).contains("90:10 -> 50:50"));
    intact(&router);
    assert!(!one.seen().is_empty() && !two.seen().is_empty());
}

#[tokio::test]
async fn evidence_opens_the_gate() {
    let steps = "steps = [{ weight = 50, hold = '1s' }, { weight = 100, hold = '1s' }]\n";
    let (router, _servers) = scene(steps, "").await;
    let router = &router;
    start(router).await;
    let told = until(router, "holding").await;
    let why = told["rollout"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("inconclusive; calls needed: 73"), "{why}");
    assert_eq!(told["evidence"]["more_calls"], 73);
    within(60, "promoted", async || {
        for _ in 0..10 {
            let (id, _) = session(router).await;
            call(router, &id).await;
        }
        (decisions(router).await["rollout"]["state"] == "promoted").then_some(())
    })
    .await;
    let all = records(router, told["rollout"]["id"].as_str().unwrap()).await;
    let promoted = all.last().unwrap();
    let sequential = promoted["detail"]["verdicts"].as_array().unwrap();
    let sequential = sequential.iter().find(|it| it["guard"] == "sequential").unwrap();
    assert!(sequential["evidence"]["calls"]["secondary"].as_u64().unwrap() >= 73, "{promoted}");
}

#[tokio::test]
async fn a_step_without_evidence_ends_as_it_is_configured() {
    let steps =
        "max_hold = '1s'\nsteps = [{ weight = 50, hold = '1s' }, { weight = 100, hold = '1s' }]\n";
    let (router, _servers) = scene(steps, "").await;
    start(&router).await;
    let told = until(&router, "aborted").await;
    assert!(told["rollout"]["why"].as_str().unwrap().contains("still inconclusive 1s after"));
    assert_eq!(told["closed"], "secondary");
    let proceed = json!({ "plan": "on_inconclusive = 'proceed'" });
    verb(&router, "start", proceed).await;
    until(&router, "promoted").await;
}

#[tokio::test]
async fn a_verb_that_does_not_fit_says_what_does() {
    let (router, _servers) = scene(&plan(&[10, 100], "1h"), "").await;
    let all = ["pause", "resume", "promote", "promote --full", "abort", "undo"];
    // All others than these are refused with them; `start` is told apart, as it is refused otherwise.
    let only = |fits: &str| {
        for verb in all {
            if !fits.split(", ").any(|fit| fit == verb) {
                let words = format!("what can be done now: {fits}");
                refused(&router, &format!("rollout {verb}"), &words);
            }
        }
        let told = done(&router, "rollout status");
        assert!(told.contains(&format!("can do     {fits}")), "{fits}: {told}");
    };
    let status = || router.cli(&["rollout", "status"]).status.code();
    only("start");
    done(&router, "rollout start");
    let running = "moves the weights: abort it first";
    only("pause, promote, promote --full, abort");
    refused(&router, "rollout start", running);
    done(&router, "rollout pause");
    only("resume, promote, promote --full, abort");
    refused(&router, "rollout start", running);
    done(&router, "rollout promote --full");
    only("pause, promote, abort");
    refused(&router, "rollout start", running);
    done(&router, "rollout pause");
    only("resume, promote, abort");
    assert_eq!(status(), Some(0));
    done(&router, "rollout promote");
    refused(&router, "rollout start --to secondary", "is the stable arm already");
    for verb in ["pause", "resume", "promote", "promote --full", "abort"] {
        refused(&router, &format!("rollout {verb}"), "what can be done now: undo, start");
    }
    done(&router, "rollout undo");
    let over = || {
        for verb in all {
            refused(&router, &format!("rollout {verb}"), "what can be done now: start");
        }
        assert_eq!(status(), Some(1));
    };
    status();
    done(&router, "rollout start");
    done(&router, "rollout abort");
    over();
    done(&router, "rollout start");
    done(&router, "alert raise --severity critical --source me --reason test");
    over();
    refused(&router, "rollout start", "a critical alert keeps the candidate shut (me: test)");
    done(&router, "alert clear 1 --reason test");
    done(&router, "rollout start");
    intact(&router);
}

#[tokio::test]
async fn a_hand_on_the_weights_and_a_rollout_exclude_each_other() {
    let (router, _servers) = scene(&plan(&[10, 100], "1h"), "").await;
    router.split(95, 5).await;
    let id = start(&router).await;
    refused(&router, "set-traffic-split secondary:20", "moves the weights: abort it first");
    assert_eq!(decisions(&router).await["rollout"]["state"], "progressing");
    done(&router, "set-traffic-split secondary:20 --abort");
    let told = decisions(&router).await;
    assert_eq!(told["split"], json!({ "primary": 80, "secondary": 20 }));
    assert_eq!((&told["rollout"]["state"], &told["closed"]), (&json!("aborted"), &json!(null)));
    let why = told["rollout"]["why"].as_str().unwrap().to_owned();
    assert_eq!(why, "the split was set to primary:80 secondary:20");
    let abort = records(&router, &id).await.pop().unwrap();
    assert_eq!((&abort["event"], &abort["detail"]["why"]), (&json!("abort"), &json!(why)));
    // Without one that is running it changes nothing.
    done(&router, "set-traffic-split secondary:30 --abort");
    session_on(&router, "two").await;
}

#[tokio::test]
async fn who_does_not_work_gets_no_rollout() {
    let (one, two) = (Server::mcp("one").await, nobody().await);
    let settings = format!("\n[health]\ninterval = '200ms'\n[rollout]\n{}", plan(&[100], "1h"));
    let router = Router::start(&[one.address], &[two], &settings).await;
    refused(&router, "rollout start --allow-breaking", "the secondary");
    let output = within(10, "down", async || {
        let output = said(&command(&router, "rollout start --allow-breaking").await);
        output.contains("no server of the secondary works").then_some(output)
    })
    .await;
    assert!(output.contains("not now: "), "{output}");
    assert!(output.contains("refused"), "it says why: {output}");
    assert_eq!(decisions(&router).await["rollout"], json!(null));
}

#[tokio::test]
async fn a_catalogue_that_breaks_clients_has_to_be_allowed() {
    let one = modern(|_| None).await;
    let fewer = |seen: &_| result(seen, &json!({ "tools": [{ "name": "echo" }] }));
    let two = modern(on("tools/list", fewer)).await;
    let settings = format!("\n[health]\ninterval = '200ms'\n[rollout]\n{}", plan(&[100], "1s"));
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    within(10, "the catalogues are known", async || {
        let status = router.status().await.unwrap();
        (status["catalogue"]["worst"] == "breaking").then_some(())
    })
    .await;
    let output = command(&router, "rollout start").await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("in a way that is breaking: see `tidegate diff`"));
    let output = command(&router, "rollout start --allow-breaking").await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    until(&router, "promoted").await;
    // Back it is only more that is offered.
    let output = command(&router, "rollout start").await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused_with_all_its_problems() {
    let (router, _servers) = scene(&plan(&[100], "1h"), "").await;
    let file = router.dir.path().join("plan.toml");
    for (plan, words) in [
        ("steps = [{ weight = 50, hold = '1m' }]", "the last step has to have weight 100"),
        ("steps = [{ weight = 100, hold = '0s' }]", "plan:1:"),
        ("stepz = 1\nmax_hold = '0s'", "did you mean `steps`"),
        ("stepz = 1\nmax_hold = '0s'", "plan:2:"),
        ("nonsense", "plan:1:"),
        (&"#".repeat(65 * 1024), "larger than 64 KiB"),
    ] {
        std::fs::write(&file, plan).unwrap();
        let output = router.cli(&["rollout", "start", "--plan", "plan.toml"]);
        let said = said(&output);
        assert!(matches!(output.status.code(), Some(1 | 64)), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    }
    let output = router.cli(&["rollout", "start", "--plan", "nowhere.toml"]);
    assert!(said(&output).contains("cannot read the plan nowhere.toml"), "{}", said(&output));
    assert_eq!(decisions(&router).await["rollout"], json!(null));
    std::fs::write(&file, plan(&[7, 100], "1h")).unwrap();
    done(&router, "rollout start --plan plan.toml");
    assert_eq!(decisions(&router).await["split"]["secondary"], 7);
}

/// Runs a command while the servers go on.
async fn command(router: &Router, command: &str) -> Output {
    let words: Vec<_> = command.split(' ').collect();
    tokio::process::Command::from(router.command(&words)).output().await.unwrap()
}

#[tokio::test]
async fn whoever_watches_learns_how_it_ends() {
    let (router, _servers) = scene(&plan(&[10, 100], "1s"), "").await;
    let watch = "rollout status --watch --timeout 30s";
    // There is nothing to wait for.
    assert_eq!(command(&router, watch).await.status.code(), Some(0));
    start(&router).await;
    let promoted = command(&router, watch).await;
    assert_eq!(promoted.status.code(), Some(0), "{}", said(&promoted));
    let told = said(&promoted);
    assert!(told.contains("step 1 of 2") && told.contains("promoted"), "{told}");
    start(&router).await;
    let (reverted, ()) = tokio::join!(command(&router, watch), async {
        let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
        router.admin("POST", "/v1/alerts", alert).await.unwrap();
    });
    assert_eq!(reverted.status.code(), Some(1), "{}", said(&reverted));
    assert!(said(&reverted).contains("guard security_alert: a critical alert is open: me: test"));
    done(&router, "alert clear 1 --reason test");
    verb(&router, "start", json!({ "plan": plan(&[100], "1h") })).await;
    let late = command(&router, "rollout status --watch --timeout 1s --json").await;
    assert_eq!(late.status.code(), Some(2), "{}", said(&late));
    let lines = String::from_utf8(late.stdout).unwrap();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["rollout"]["state"], "baking");
}
