//! An operator's day, from an empty folder, through the real program only and with released servers
//! and clients: what the deployment guide has somebody type, in its order.

mod guide;

mod stage;

use std::rc::Rc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::support::real::pairs;
use crate::support::visitors::{Begun, visit, visitors};
use crate::support::within;
use stage::Stage;

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn a_day_of_an_operator() {
    LocalSet::new()
        .run_until(async {
            let stage = Stage::set().await;
            let (begun, at) = (Begun::default(), stage.router.address);
            tokio::select! {
                () = day(&stage, &begun) => {}
                () = visitors(|| visit(at, Rc::clone(&begun))) => unreachable!(),
            }
            // Whatever was done, nobody was turned away.
            let lost = begun.take().iter().filter(|(_, version)| version.is_none()).count();
            assert_eq!(lost, 0, "sessions that no server took");
        })
        .await;
}

async fn day(stage: &Stage, begun: &Begun) {
    morning(stage).await;
    a_good_version(stage).await;
    assert_eq!(versions_since(begun, Instant::now()).await, ["2.1.0"]);
    a_bad_version(stage, begun).await;
    evening(stage).await;
}

/// The version that there is works, and a new one stands beside it.
async fn morning(stage: &Stage) {
    let shell = &stage.shell;
    let check = "health-check --profile=production-primary --timeout=30s";
    shell.expect(check, 0, &["healthy", "py2 2.0.0"]).await;
    let validate = "validate --profile=production-primary --comprehensive";
    shell.expect(validate, 0, &["session held", "bad arguments refused", "\nfit: "]).await;
    shell.expect("export-state --profile=production --output=state.json", 0, &["wrote"]).await;
    assert_eq!(json_of(&shell.read("state.json"))["state"]["split"]["primary"], 100);

    let deploy = "deploy --profile=production-secondary --version=2.1.0 --validate-first";
    let said = shell.expect(deploy, 0, &["the secondary is fit", "deployed 2.1.0"]).await;
    assert!(said.contains("next: tidegate rollout start --to secondary"), "{said}");
    assert_eq!(stage.runs("secondary"), "2.1.0");
}

/// A look at the new version by hand, then a rollout that a person confirms.
async fn a_good_version(stage: &Stage) {
    let (shell, at) = (&stage.shell, stage.router.address);
    let split = "set-traffic-split primary:90 secondary:10 --profile=production";
    shell.expect(split, 0, &["primary:90 secondary:10"]).await;
    client("ts2 auto -> py2", at).await;
    guide::is_cut_short(shell, Signal::SIGINT).await;
    let monitor = "monitor --profile=production-secondary --duration=5s --every=2s";
    let said = shell.expect(monitor, 0, &["nothing would have shut the gate in 5s"]).await;
    assert!(said.contains("split 90:10 seen") && !said.contains("  primary "), "{said}");
    let split = "set-traffic-split primary:100 secondary:0 --profile=production";
    shell.expect(split, 0, &["was primary:90 secondary:10"]).await;

    let start = "rollout start --validate-first --profile=production --reason spring";
    shell.expect(start, 0, &["the secondary: progressing", "started for: spring"]).await;
    assert_eq!(stage.hears("started").await["weights"]["secondary"], 50);
    let early = ["is in step 1 of 2 and is confirmed in the last one", "tidegate rollout promote"];
    shell.expect("rollout confirm --profile=production", 1, &early).await;
    client("py2 auto -> py2", at).await;
    within(100, "it may be confirmed", async || {
        let look = shell.types("monitor --profile=production --duration=1s").await;
        assert_eq!(look.code, 0, "{}", look.said);
        let told = shell.types("rollout status --profile=production").await;
        told.said.contains("confirm    nothing stands in the way").then_some(())
    })
    .await;
    let confirm = "rollout confirm --yes --profile=production";
    shell.expect(confirm, 0, &["confirmed: the secondary is the stable arm from now on"]).await;
    let done = stage.hears("completed").await;
    assert_eq!(done["weights"], json!({ "primary": 0, "secondary": 100 }));
    client("inspector legacy -> py2", at).await;
}

/// The next version goes the other way, falls sick once it has work, and is taken away.
async fn a_bad_version(stage: &Stage, begun: &Begun) {
    let shell = &stage.shell;
    let deploy =
        "deploy primary --version 2.2.0 --validate-first --rollout --idle 2s --profile=production";
    shell.expect(deploy, 0, &["has begun: primary:50 secondary:50 now", "deployed 2.2.0"]).await;
    let monitor = "monitor --profile=production --duration=60s";
    let why = "to the primary was reverted by guard sequential: ";
    let why = [why];
    tokio::join!(shell.expect(monitor, 1, &why), async { stage.sicken("error") });
    let since = Instant::now();
    let reverted = stage.hears("reverted").await;
    assert_eq!(
        (&reverted["arm"], &reverted["guard"]),
        (&json!("primary"), &json!("sequential")),
        "{reverted}"
    );
    let shut = ["reverted", "the primary is SHUT"];
    shell.expect("rollout status --profile=production", 1, &shut).await;
    client("ts1 legacy -> py2", stage.router.address).await;

    let back = "rollback --profile=production-primary --version=previous";
    let rolled = "rolled back: all new work on the secondary, 2.0.0 on the primary";
    shell.expect(back, 0, &["it did already", rolled]).await;
    assert_eq!(stage.runs("primary"), "2.0.0");
    assert_eq!(versions_since(begun, since).await, ["2.1.0"]);
}

/// Everything is looked at, filed and put away.
async fn evening(stage: &Stage) {
    let shell = &stage.shell;
    let fit = ["py2 2.0.0", "py2 2.1.0", "\nfit: "];
    shell.expect("validate --profile=production --comprehensive", 0, &fit).await;
    for format in ["html", "md", "json"] {
        let report = format!("report last --format {format} --output r.{format}");
        shell.expect(&format!("{report} --profile=production"), 0, &["wrote r."]).await;
    }
    let (html, text) = (shell.read("r.html"), shell.read("r.md"));
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"), "{html}");
    assert!(text.contains(": reverted") && text.contains("guard sequential"), "{text}");
    assert!(json_of(&shell.read("r.json")).is_object());
    let month = ["# The last 30 days: 1 incident", "2 rollouts"];
    shell.expect("report --period 30d --profile=production", 0, &month).await;
    let past = ["to primary    reverted by sequential", "to secondary  promoted  (spring)"];
    shell.expect("rollout history --profile=production", 0, &past).await;

    let drain = "drain --profile=production-primary --wait --timeout 30s";
    shell.expect(drain, 0, &["its servers can be stopped: tidegate stop primary"]).await;
    assert_eq!(stage.hears("drained").await["arm"], "primary");
    let stopped = ["the servers of the primary are stopped"];
    shell.expect("stop --profile=production-primary", 0, &stopped).await;
    let kept = "tidegate rollout start --to primary";
    shell.expect("stop --profile=production-secondary", 1, &[kept]).await;
    let refused = ["the primary is drained", "`tidegate undrain primary`"];
    shell.expect("restore-state state.json --profile=production", 1, &refused).await;
    let backups = [
        "before 2.1.0 is deployed to the secondary",
        "before 2.2.0 is deployed to the primary",
        "rollout r",
    ];
    shell.expect("backups --profile=production", 0, &backups).await;
    let intact = shell.expect("records verify --profile=production", 0, &[]).await;
    assert!(intact.ends_with("\nintact\n"), "{intact}");
}

/// A released client does its work through the router.
async fn client(pair: &str, at: std::net::SocketAddr) {
    let pairs = pairs();
    let pair = pairs.iter().find(|it| it.name == pair).unwrap();
    pair.run_some(at, "tools,prompts").await;
}

/// The versions of all sessions that began since then, of which there are some.
async fn versions_since(begun: &Begun, since: Instant) -> Vec<String> {
    within(20, "somebody comes", async || {
        let begun = begun.borrow();
        let late = begun.iter().filter(|(at, _)| *at > since);
        let mut versions: Vec<_> = late.filter_map(|(_, version)| version.clone()).collect();
        let enough = versions.len() > 10;
        versions.sort();
        versions.dedup();
        enough.then_some(versions)
    })
    .await
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
