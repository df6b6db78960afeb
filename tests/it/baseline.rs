//! Baselines and the confirmation of a rollout, through the real program.
//!
//! One server answers a call only when the test has seen it arrive, so it is slower than the other
//! one, however busy the machine is.

use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::health::{modern, on, result};
use crate::support::{Router, Server, Step, eventually, post, within};

const HEADERS: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")];
const ECHO: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{}}}"#;

/// No rule acts by itself here.
const GUARDS: &str = "[guards]\nerror_rate = 'off'\nperformance = 'off'\nsequential = 'off'\nhealth_failures = 'off'\n";

/// A router between a slow primary and a quick secondary, both of which are known by now.
struct Scene {
    router: Router,
    slow: Server,
    _quick: Server,
    go_on: Arc<Notify>,
}

async fn scene(plan: &str) -> Scene {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let slowly = move |seen: &_| {
        let answer = result(seen, &json!({ "content": [] }));
        [vec![Step::Wait(Arc::clone(&wait))], answer].into_iter().flatten().collect()
    };
    let slow = modern(on("tools/call", slowly)).await;
    let quick = modern(|_| None).await;
    let settings = format!("\n[health]\ninterval = '200ms'\n{GUARDS}[rollout]\n{plan}");
    let router = Router::start(&[slow.address], &[quick.address], &settings).await;
    let scene = Scene { router, slow, _quick: quick, go_on };
    scene.is_known().await;
    scene
}

impl Scene {
    /// Waits until tools have names.
    async fn is_known(&self) {
        eventually("the catalogues are known", async || {
            let status = self.router.status().await.unwrap();
            (!status["catalogue"].is_null()).then_some(())
        })
        .await;
    }

    /// Calls to the slow server.
    async fn slow_calls(&self, count: usize) {
        for _ in 0..count {
            let before = self.slow.seen().len();
            let called = post(self.router.address, &HEADERS, ECHO);
            let answer = async {
                let is_call = |it: &crate::support::Seen| it.rpc() == "tools/call";
                let arrived = || self.slow.seen()[before..].iter().any(is_call);
                eventually("the call arrives", async || arrived().then_some(())).await;
                self.go_on.notify_one();
            };
            assert_eq!(tokio::join!(called, answer).0.status, 200);
        }
    }

    /// Calls to the quick one.
    async fn quick_calls(&self, count: usize) {
        for _ in 0..count {
            assert_eq!(post(self.router.address, &HEADERS, ECHO).await.status, 200);
        }
    }

    /// Runs a command, with what it says and how it ends.
    async fn run(&self, command: &str) -> (i32, String) {
        let words: Vec<_> = command.split(' ').collect();
        let mut command = tokio::process::Command::from(self.router.command(&words));
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    #[track_caller]
    fn ends(&self, command: &str, code: i32, words: &str) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let (ended, said) = self.run(command).await;
            assert!(ended == code && said.contains(words), "{at}: {command}: {ended}: {said}");
            said
        }
    }

    /// The names of all baselines.
    async fn names(&self) -> Vec<String> {
        let listed = self.router.admin("GET", "/v1/baselines", json!({})).await.unwrap();
        let all = listed["baselines"].as_array().unwrap();
        all.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn has(&self, name: &str) {
        eventually(name, async || self.names().await.contains(&name.to_owned()).then_some(()))
            .await;
    }

    /// The detail of the last record of this event.
    async fn record(&self, event: &str) -> Value {
        let told = self.router.admin("GET", "/v1/events", json!({})).await.unwrap();
        let mut all = told["events"].as_array().unwrap().iter().rev();
        all.find(|it| it["event"] == event).unwrap_or_else(|| panic!("{event}: {told}"))["detail"]
            .clone()
    }
}

/// Whether a criterion is met, and its figures.
#[track_caller]
fn criterion(checklist: &Value, id: &str) -> (String, String) {
    let all = checklist["criteria"].as_array().unwrap_or_else(|| panic!("{checklist}"));
    let one = all.iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("{id}: {checklist}"));
    (one["met"].as_str().unwrap().to_owned(), one["figures"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_kept_is_compared() {
    let scene = scene("gate = 'time'\n").await;
    scene.ends("baseline list", 0, "no baseline is kept yet").await;
    scene.ends("baseline compare", 1, "there is no baseline yet").await;
    scene.ends("baseline save", 1, "the primary has done nothing").await;
    scene.slow_calls(60).await;
    scene.ends("baseline save before-r1", 1, "a name that the router gives by itself").await;
    scene.ends("baseline save a/b", 64, "no name of a baseline").await;
    scene.ends("baseline save first --span 2h", 1, "from 1 to 3600").await;
    scene.ends("baseline save first", 0, "primary (one 1.5): 60 exchanges in").await;
    scene.ends("baseline save first", 1, "there is a baseline `first` already").await;
    scene.ends("baseline list", 0, "first ").await;
    scene.ends("baseline show first", 0, "echo").await;
    scene.ends("baseline show none", 1, "see `tidegate baseline list`").await;
    let said = scene.ends("baseline compare", 0, "now        the primary").await;
    assert!(said.contains("verdict    pass: time: 100 % of its speed"), "{said}");

    scene.router.split(0, 100).await;
    let said = scene.ends("baseline compare first --arm secondary", 2, "too few calls: 0").await;
    assert!(said.contains(" %, -  "), "{said}");
    scene.quick_calls(10).await;
    scene.ends("baseline compare", 2, "too few calls: 10 now and 60 in the baseline").await;
    scene.quick_calls(50).await;
    let said = scene.ends("baseline compare first", 0, "now        the secondary").await;
    assert!(said.contains("verdict    pass"), "{said}");
    let (_, said) = scene.run("baseline compare first --arm secondary --json").await;
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["all"]["verdict"], &told["arm"]), (&json!("pass"), &json!("secondary")));
    assert_eq!(told["rows"][0]["kind"]["tool"], "echo");
    assert!(told["all"]["speed"]["ratio"].as_f64().unwrap() > 1.0);

    // A file that was cut, and one that says something else.
    let dir = scene.router.dir.path().join("state/baselines");
    let text = std::fs::read_to_string(dir.join("first.json")).unwrap();
    std::fs::write(dir.join("cut.json"), &text[..text.len() / 2]).unwrap();
    std::fs::write(dir.join("other.json"), &text).unwrap();
    let said = scene.ends("baseline list", 0, "cut.json is left out: it is damaged").await;
    assert!(said.contains("other.json is left out: it says that it is `first`"), "{said}");
    scene.ends("baseline compare cut", 1, "cannot be used: it is damaged").await;
    scene.ends("baseline compare", 0, "baseline   first").await;
    scene.ends("baseline remove cut", 0, "cut is removed").await;
    scene.ends("baseline remove cut", 1, "there is no baseline `cut`").await;
    assert_eq!(scene.names().await, ["first"]);
}

#[tokio::test]
async fn a_split_by_hand_is_confirmed_and_a_slow_one_is_not() {
    let scene = scene("gate = 'time'\n").await;
    let nothing = "no rollout is running, and the secondary has 0 % of new work";
    scene.ends("rollout confirm", 1, nothing).await;
    scene.slow_calls(60).await;
    scene.ends("baseline save slow", 0, "slow").await;
    scene.router.split(0, 100).await;
    scene.ends("rollout confirm", 2, "cannot be told yet").await;
    scene.quick_calls(100).await;
    within(30, "confirmed", async || (scene.run("rollout confirm").await.0 == 0).then_some(()))
        .await;
    let status = scene.router.status().await.unwrap();
    assert_eq!(
        (&status["stable"], &status["split"]["secondary"]),
        (&json!("secondary"), &json!(100))
    );
    let record = scene.record("confirm").await;
    assert_eq!(
        (&record["forced"], &record["checklist"]["verdict"]),
        (&json!(false), &json!("pass"))
    );
    assert_eq!(criterion(&record["checklist"], "performance").0, "met");

    // Now the quick one is what the slow one is measured by.
    scene.ends("baseline save quick", 0, "quick").await;
    scene.router.split(100, 0).await;
    scene.slow_calls(60).await;
    let said = scene.ends("baseline compare", 1, "now        the primary").await;
    assert!(said.contains("verdict    FAIL: time: "), "{said}");
    let said = scene.ends("rollout confirm", 1, "not confirmed: not everything is met").await;
    assert!(said.contains("NO  at least 95 % as fast as the baseline: "), "{said}");
    assert_eq!(scene.router.status().await.unwrap()["stable"], "secondary");
    // Nobody confirms what somebody else has changed meanwhile.
    let stale = json!({ "expected_revision": 1, "force": true });
    let refused = scene.router.admin("POST", "/v1/rollout/confirm", stale).await.unwrap_err();
    assert!(refused.to_string().contains("was changed meanwhile"), "{refused}");
    scene.ends("rollout confirm --force", 0, "the primary is the stable arm").await;
    let record = scene.record("confirm").await;
    assert_eq!(
        (&record["forced"], &record["checklist"]["verdict"]),
        (&json!(true), &json!("fail"))
    );
    let verify = scene.run("records verify --state-dir state").await;
    assert!(verify.1.ends_with("\nintact\n"), "{}", verify.1);
}

#[tokio::test]
async fn a_rollout_is_confirmed_when_all_is_met() {
    let steps = "steps = [{ weight = 50, hold = '1s' }, { weight = 100, hold = '1s' }]\n";
    let mut scene = scene(steps).await;
    scene.slow_calls(60).await;
    scene.ends("rollout start", 0, "rollout ").await;
    let told = scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
    let id = told["rollout"]["id"].as_str().unwrap().to_owned();
    scene.has(&format!("before-{id}")).await;
    scene.ends("rollout confirm", 1, "is in step 1 of 2 and is confirmed in the last one").await;
    scene.ends("rollout promote --full", 0, "confirm    ").await;
    let state = async |wanted: &str| {
        let told = scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
        (told["rollout"]["state"] == wanted).then_some(())
    };
    within(20, "holding", || state("holding")).await;
    let said = scene.ends("rollout confirm", 2, "cannot be told yet").await;
    assert!(said.contains("?   less than 5 % of its calls fail: "), "{said}");
    scene.ends("rollout pause", 0, "paused").await;

    // What a restart forgets comes back with the calls; the rest is on disk.
    scene.router = scene.router.restart().await;
    scene.is_known().await;
    scene.quick_calls(100).await;
    within(30, "all is met", async || {
        let told = scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
        (told["confirmation"]["verdict"] == "pass").then_some(())
    })
    .await;
    scene.ends("rollout status", 0, "confirm    nothing stands in the way").await;
    scene.ends("rollout confirm --yes", 0, "the secondary is the stable arm from now on").await;
    let record = scene.record("promote").await;
    let checklist = &record["checklist"];
    assert_eq!((&record["rollout"], &checklist["verdict"]), (&json!(id), &json!("pass")));
    let (met, figures) = criterion(checklist, "steps");
    assert!(met == "met" && figures.contains("(promote --full)"), "{figures}");
    let (met, figures) = criterion(checklist, "performance");
    assert!(met == "met" && figures.contains(&format!("(baseline before-{id})")), "{figures}");
    for (id, wanted) in [
        ("bake", "met"),
        ("alerts", "met"),
        ("health", "met"),
        ("catalogue", "met"),
        ("validation", "unknown"),
    ] {
        assert_eq!(criterion(checklist, id).0, wanted, "{id}");
    }
    scene.has(&format!("after-{id}")).await;
}

#[tokio::test]
async fn a_plan_that_promotes_by_itself_leaves_its_checklist() {
    let steps = "{ weight = 100, hold = '1s' }";
    let scene =
        scene(&format!("gate = 'time'\nsteps = [{{ weight = 50, hold = '1s' }}, {steps}]\n")).await;
    scene.ends("rollout start", 0, "rollout ").await;
    eventually("promoted", async || {
        let told = scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
        (told["rollout"]["state"] == "promoted").then_some(())
    })
    .await;
    let checklist = scene.record("promoted").await["checklist"].clone();
    assert_eq!(checklist["verdict"], "inconclusive");
    assert_eq!(criterion(&checklist, "steps"), ("met".into(), "50 % by plan".into()));
    assert_eq!(criterion(&checklist, "bake").0, "met");
    assert_eq!(criterion(&checklist, "evidence").0, "unknown");
    // Nothing was done before, so there is nothing to keep.
    assert_eq!(scene.names().await, Vec::<String>::new());
}

/// What the secondary's validation found, as the router keeps it.
fn validation(failed: u64) -> Value {
    json!({
        "arm": "secondary", "comprehensive": false, "fit": failed == 0, "passed": 1,
        "failed": failed, "skipped": 0, "unknown": 0, "took_ms": 1.0, "versions": [],
        "checks": [],
    })
}

#[tokio::test]
async fn a_plan_may_leave_the_end_to_a_person() {
    let steps = "[{ weight = 50, hold = '1s' }, { weight = 100, hold = '1s' }]";
    let scene = scene(&format!("gate = 'time'\nconfirm = 'manual'\nsteps = {steps}\n")).await;
    scene.slow_calls(60).await;
    scene.ends("rollout start", 0, "rollout ").await;
    let word = "it waits for a person: `tidegate rollout confirm`";
    let waits = async || {
        let told =
            scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap()["rollout"].clone();
        (told["state"] == "holding" && told["why"] == word).then_some(())
    };
    within(20, "it waits for a person", waits).await;
    let told = scene.record("hold").await;
    assert_eq!((&told["why"], &told["state"]), (&json!(word), &json!("holding")));
    scene.ends("rollout status", 0, word).await;
    // Not even a fit candidate goes on by itself.
    scene.quick_calls(100).await;
    scene.router.admin("POST", "/v1/validations", validation(0)).await.unwrap();
    within(30, "all is met", async || {
        let told = scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
        (told["confirmation"]["verdict"] == "pass").then_some(())
    })
    .await;
    scene.router.ages().await;
    assert_eq!(waits().await, Some(()));
    scene.ends("rollout confirm", 0, "the secondary is the stable arm from now on").await;
    let record = scene.record("promote").await;
    assert_eq!(
        (&record["state"], &record["forced"], &record["checklist"]["verdict"]),
        (&json!("promoted"), &json!(false), &json!("pass"))
    );
    assert_eq!(scene.router.status().await.unwrap()["stable"], "secondary");
}

#[tokio::test]
async fn a_plan_that_promotes_by_itself_waits_while_something_is_not_met() {
    let steps = "[{ weight = 50, hold = '1s' }, { weight = 100, hold = '1s' }]";
    let scene = scene(&format!("gate = 'time'\nsteps = {steps}\n")).await;
    scene.router.admin("POST", "/v1/validations", validation(3)).await.unwrap();
    scene.ends("rollout start", 0, "rollout ").await;
    let rollout = async || {
        scene.router.admin("GET", "/v1/rollout", json!({})).await.unwrap()["rollout"].clone()
    };
    let why = within(20, "it waits", async || {
        let told = rollout().await;
        (told["state"] == "holding").then(|| told["why"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(why.starts_with("not confirmed: ") && why.contains("checks that failed"), "{why}");
    scene.router.ages().await;
    assert_eq!(rollout().await["state"], "holding");
    scene.ends("rollout confirm", 1, "NO  it was validated since its last deploy: ").await;
    scene.router.admin("POST", "/v1/validations", validation(0)).await.unwrap();
    within(20, "promoted", async || (rollout().await["state"] == "promoted").then_some(())).await;
    let record = scene.record("promoted").await;
    assert_eq!(criterion(&record["checklist"], "validation").0, "met");
}
