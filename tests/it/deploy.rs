//! `deploy`, `stop` and `rollback`, with scripts that start real processes: what they do, in which
//! order, and how everything stands when something goes wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use crate::support::health::legacy;
use crate::support::router::PROGRAM;
use crate::support::{INITIALIZE, Router, Server, eventually, nobody, post, within};

/// The router makes handshakes often, so that it knows soon what has changed.
const HEALTH: &str = "[health]\ninterval = '100ms'\nhealthy_after = 1\nunhealthy_after = 1\n";
/// Steps that need no evidence and last.
const ROLLOUT: &str = "[rollout]\ngate = 'time'\nsteps = [{ weight = 20, hold = '1h' }, { weight = 100, hold = '1h' }]\n";

/// A router whose secondary is started and stopped by a script.
struct Yard {
    router: Router,
    folder: TempDir,
    _primary: Server,
}

/// What a command has said and done.
struct Told {
    code: i32,
    body: Value,
    stderr: String,
}

impl Told {
    /// That it ended so, with this step, and these words in the error.
    #[track_caller]
    fn failed(&self, code: i32, step: &str, words: &str) {
        let error = self.body["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{words}: {:#} {}", self.body, self.stderr);
        assert_eq!((self.code, self.body["step"].as_str()), (code, Some(step)), "{:#}", self.body);
    }

    #[track_caller]
    fn steps(&self) -> Vec<&str> {
        let steps = self.body["steps"].as_array().unwrap_or_else(|| panic!("{}", self.stderr));
        steps.iter().filter_map(|it| it["step"].as_str()).collect()
    }
}

impl Yard {
    /// One whose primary is of the same kind as what the script starts.
    async fn new(sections: &str) -> Yard {
        Yard::with(legacy(|_| None).await, sections).await
    }

    async fn with(primary: Server, sections: &str) -> Yard {
        let (folder, port) = (TempDir::new().unwrap(), nobody().await);
        let ctl = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deploy/ctl");
        let command = |action: &str| {
            let (ctl, folder) = (ctl.display(), folder.path().display());
            format!("{action} = ['{ctl}', '{action}', '{folder}', '{}']\n", port.port())
        };
        let commands: String = ["start", "stop", "restart", "version"].map(command).concat();
        let settings = format!("\n{sections}[secondary.lifecycle]\ntimeout = '20s'\n{commands}");
        let router = Router::start(&[primary.address], &[port], &settings).await;
        Yard { router, folder, _primary: primary }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How the script behaves from now on.
    fn mood(&self, mood: &str) {
        fs::write(self.file("mood"), mood).unwrap();
    }

    /// What the script was called for.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.file("calls")).unwrap_or_default();
        let calls = calls.lines().filter(|line| !line.starts_with("version"));
        calls.map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(self.router.command(arguments));
        command.arg("--json").kill_on_drop(true);
        command
    }

    async fn tidegate(&self, arguments: &[&str]) -> Told {
        told(&self.command(arguments).output().await.unwrap())
    }

    async fn deploy(&self, version: &str, more: &[&str]) -> Told {
        self.tidegate(&[&["deploy", "--version", version], more].concat()).await
    }

    /// What the journal has of all this.
    async fn events(&self) -> Vec<String> {
        let events = self.router.admin("GET", "/v1/events?after=0", json!({})).await.unwrap();
        let events = events["events"].as_array().unwrap().iter();
        let events = events.map(|it| it["event"].as_str().unwrap().to_owned());
        let ours = ["deploy", "stop-", "rollback"];
        events.filter(|it| ours.iter().any(|ours| it.starts_with(ours))).collect()
    }

    async fn secondary(&self) -> Value {
        let status = self.router.status().await.unwrap();
        status["split"]["secondary"].clone()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for file in ["pid", "hung"] {
            if let Some(left) = pid(&self.file(file)) {
                // One that has ended already cannot be ended again.
                let _ = kill(left, Signal::SIGKILL);
            }
        }
    }
}

fn pid(file: &Path) -> Option<Pid> {
    Some(Pid::from_raw(fs::read_to_string(file).ok()?.trim().parse().ok()?))
}

fn told(output: &std::process::Output) -> Told {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let body = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Told { code: output.status.code().unwrap(), body, stderr }
}

#[tokio::test]
async fn a_version_is_deployed_rolled_out_and_rolled_back() {
    let yard = Yard::new(&format!("{HEALTH}{ROLLOUT}")).await;
    let first = yard.deploy("2.0.0", &[]).await;
    assert_eq!(first.code, 0, "{:#} {}", first.body, first.stderr);
    assert_eq!(
        first.steps(),
        ["router", "backup", "before", "start", "handshake", "version", "noticed"]
    );
    let second =
        yard.deploy("v2.1.0", &["--validate-first", "--rollout", "--reason", "search"]).await;
    assert_eq!((second.code, &second.body["previous"]), (0, &json!("2.0.0")), "{:#}", second.body);
    assert_eq!(yard.secondary().await, 20);
    let third = yard.deploy("2.2.0", &[]).await;
    third.failed(1, "router", "tidegate rollout abort");

    let back = yard.tidegate(&["rollback", "--reason", "it is slow"]).await;
    assert_eq!(back.code, 0, "{:#}", back.body);
    let traffic = back.body["traffic_ms"].as_f64().unwrap();
    assert!(
        traffic < 1000.0 && back.steps().starts_with(&["traffic", "restart"]),
        "{:#}",
        back.body
    );
    let calls = ["start secondary 2.0.0", "restart secondary v2.1.0", "restart secondary 2.0.0"];
    assert_eq!(yard.calls(), calls);
    let events = ["deploy", "deploy-done", "deploy", "deploy-done", "rollback", "rollback-done"];
    assert_eq!(yard.events().await, events);
    let deploys = yard.router.admin("GET", "/v1/deploys", json!({})).await.unwrap();
    let secondary = &deploys["deployed"]["secondary"];
    assert_eq!((&secondary["version"], &secondary["works"]), (&json!("2.0.0"), &json!(true)));

    // The version before that is not known, and nothing is made up.
    let again = yard.tidegate(&["rollback"]).await;
    again.failed(2, "before", "name it with --version");
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_recorded() {
    let yard = Yard::new("").await;
    yard.mood("fail");
    let told = yard.deploy("2.0.0", &[]).await;
    told.failed(1, "start", "exit code 7");
    assert_eq!(told.body["output"], json!(["no room left"]));
    let stands = told.body["stands"].as_str().unwrap();
    assert!(
        stands.contains("not touched: primary:100") && stands.contains("No server"),
        "{stands}"
    );
    yard.mood("loud");
    let told = yard.deploy("2.0.0", &[]).await;
    told.failed(1, "start", "bytes of its output were thrown away");
    assert_eq!(told.body["output"].as_array().unwrap().last(), Some(&json!("and no room left")));
    // One that was stopped in the middle of it, and all that it started.
    yard.mood("hang");
    let told = yard.deploy("2.0.0", &["--timeout", "500ms"]).await;
    told.failed(1, "start", "not done within 500ms");
    eventually("its child is gone", async || {
        kill(pid(&yard.file("hung"))?, None).is_err().then_some(())
    })
    .await;
    assert_eq!(yard.events().await, ["deploy", "deploy-failed"].repeat(3));
    // The same for people.
    let mut command = Command::from(yard.router.command(&["deploy", "--timeout", "200ms"]));
    let output = command.output().await.unwrap();
    let (out, err) = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).into();
    assert!(out.contains("WARN    backup") || out.contains("ok      backup"), "{out}");
    assert!(err.contains("  | hanging") && err.contains("next: mend it"), "{err}");
}

#[tokio::test]
async fn a_server_of_another_version_is_not_deployed() {
    let yard = Yard::new("").await;
    assert_eq!(yard.deploy("2.0.0", &[]).await.code, 0);
    yard.mood("stale");
    yard.deploy("2.1.0", &[]).await.failed(1, "version", "says 2.0.0, and not 2.1.0");
    // Where the script says one thing and the server another.
    yard.mood("liar");
    yard.deploy("2.1.0", &[]).await.failed(1, "version", "still calls itself 2.0.0");
}

#[tokio::test]
async fn a_server_that_is_not_fit_is_not_deployed() {
    // The primary speaks an era that the other one does not.
    let yard = Yard::with(Server::mcp("one").await, "").await;
    let told = yard.deploy("2.0.0", &["--validate-first"]).await;
    told.failed(1, "validate", "it does not speak modern");
    assert_eq!(told.body["validation"]["secondary"]["fit"], false);
    assert_eq!(yard.events().await.last().unwrap(), "deploy-failed");
}

#[tokio::test]
async fn an_arm_that_serves_is_not_touched() {
    let yard = Yard::new("").await;
    assert_eq!(yard.deploy("2.0.0", &[]).await.code, 0);
    yard.router.split(90, 10).await;
    yard.deploy("2.1.0", &[]).await.failed(1, "router", "set-traffic-split primary:100");
    let told = yard.tidegate(&["stop", "secondary"]).await;
    told.failed(1, "router", "drain secondary --wait");
    yard.tidegate(&["deploy", "primary", "--force"]).await;
    assert_eq!(yard.calls().len(), 1, "nothing but the start");
    yard.router.split(0, 100).await;
    assert_eq!(post(yard.router.address, &[], INITIALIZE).await.status, 200);
    yard.router.split(100, 0).await;
    yard.tidegate(&["stop"]).await.failed(1, "users", "1 sessions in use");
    yard.deploy("2.1.0", &[]).await.failed(1, "users", "1 sessions in use");
    let told = yard.tidegate(&["stop", "--profile", "nobody-secondary"]).await;
    assert_eq!(told.code, 64, "{}", told.stderr);
    let told = yard.tidegate(&["stop", "--force"]).await;
    assert_eq!((told.code, told.steps()), (0, vec!["router", "stop", "gone"]), "{:#}", told.body);
    assert_eq!(yard.events().await[2..], ["stop-begin", "stop-done"]);
}

#[tokio::test]
async fn what_is_being_deployed_is_left_alone() {
    let yard = Yard::new(&format!("{HEALTH}{ROLLOUT}")).await;
    assert_eq!(yard.deploy("2.0.0", &[]).await.code, 0);
    yard.mood("hang");
    let piped = std::process::Stdio::piped;
    let mut first = yard.command(&["deploy", "--version=2.1.0"]);
    let first = first.stdout(piped()).stderr(piped()).spawn().unwrap();
    within(20, "the script hangs", async || pid(&yard.file("hung"))).await;
    yard.deploy("2.2.0", &[]).await.failed(1, "router", "has not ended: wait for its end");
    let started = yard.router.cli(&["rollout", "start"]);
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(said.contains("deploy of 2.1.0 to the secondary has not ended well"), "{said}");
    kill(Pid::from_raw(i32::try_from(first.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(first.wait_with_output().await.unwrap().status.code(), Some(2));
    yard.mood("");
    assert_eq!(yard.deploy("2.2.0", &["--rollout"]).await.code, 0);
    // What was measured of it is not true of another version.
    yard.deploy("2.3.0", &["--force"]).await.failed(1, "begin", "abort it first");
    assert_eq!(yard.calls().last().unwrap(), "start secondary 2.2.0");
}

#[tokio::test]
async fn traffic_goes_back_at_once_whatever_the_script_does() {
    let yard = Yard::new("").await;
    assert_eq!(yard.deploy("2.0.0", &[]).await.code, 0);
    assert_eq!(yard.deploy("2.1.0", &[]).await.code, 0);
    yard.router.split(50, 50).await;
    yard.mood("hang");
    let began = Instant::now();
    let child = yard
        .command(&["rollback", "--version=previous"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the traffic is back", async || (yard.secondary().await == 0).then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    within(20, "the script hangs", async || pid(&yard.file("hung"))).await;
    // Ctrl-C.
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    let told = told(&child.wait_with_output().await.unwrap());
    told.failed(2, "restart", "interrupted");
    eventually("its child is gone", async || {
        kill(pid(&yard.file("hung"))?, None).is_err().then_some(())
    })
    .await;
    assert_eq!(yard.events().await[4..], ["rollback", "rollback-failed"]);
    // It can be repeated.
    yard.mood("");
    let again = yard.tidegate(&["rollback"]).await;
    assert!(
        again.steps().starts_with(&["traffic", "start", "handshake", "version"]),
        "{:#}",
        again.body
    );
    let immediate = yard.tidegate(&["rollback", "--immediate"]).await;
    assert_eq!((immediate.code, immediate.steps()), (0, vec!["traffic"]));
}

#[tokio::test]
async fn a_promotion_is_taken_back() {
    let once = "[rollout]\ngate = 'time'\nsteps = [{ weight = 100, hold = '1s' }]\n";
    let yard = Yard::new(&format!("{HEALTH}{once}")).await;
    assert_eq!(yard.deploy("2.0.0", &["--rollout"]).await.code, 0);
    within(20, "it is promoted", async || {
        let status = yard.router.status().await.unwrap();
        (status["stable"] == "secondary").then_some(())
    })
    .await;
    yard.tidegate(&["rollback", "primary", "--immediate"]).await;
    assert_eq!(yard.secondary().await, 100, "the other arm is no reason to take it back");
    let told = yard.tidegate(&["rollback"]).await;
    assert_eq!((told.code, told.steps()), (0, vec!["traffic", "validate"]), "{:#}", told.body);
    assert_eq!((yard.secondary().await, yard.calls().len()), (json!(0), 1));
}

#[tokio::test]
async fn a_router_that_makes_no_handshakes_can_do_it_all() {
    let yard = Yard::new(&format!("[health]\ninterval = 'off'\n{ROLLOUT}")).await;
    let first = yard.deploy("2.0.0", &["--validate-first", "--rollout"]).await;
    assert_eq!(first.code, 0, "{:#} {}", first.body, first.stderr);
    assert!(!first.steps().contains(&"noticed"), "{:#}", first.body);
    let run = async |arguments: &[&str], code: i32| {
        let told = yard.tidegate(arguments).await;
        assert_eq!(told.code, code, "{arguments:?} {:#} {}", told.body, told.stderr);
    };
    run(&["drain", "secondary"], 1).await;
    run(&["rollout", "abort"], 0).await;
    run(&["drain", "secondary"], 0).await;
    run(&["rollout", "start"], 1).await;
    yard.deploy("2.1.0", &["--rollout"]).await.failed(1, "router", "tidegate undrain secondary");
    assert_eq!(yard.deploy("2.1.0", &[]).await.code, 0);
    run(&["undrain"], 0).await;
    run(&["rollout", "start"], 0).await;
    run(&["rollout", "promote", "--full"], 0).await;
    run(&["rollout", "confirm", "--force"], 0).await;
    assert_eq!(yard.router.status().await.unwrap()["stable"], "secondary");
    run(&["rollback"], 0).await;
    assert_eq!(yard.router.status().await.unwrap()["stable"], "primary");
}

#[tokio::test]
async fn what_cannot_begin_says_what_to_do() {
    let at = nobody().await;
    let router = Router::start(&[at], &[at], "").await;
    let run = |arguments: &[&str]| {
        let output = router.cli(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (command, key) in [("deploy", "start   = ["), ("stop", "stop    = [")] {
        let (code, said) = run(&[command]);
        assert!(
            code == 64 && said.contains("[secondary.lifecycle]") && said.contains(key),
            "{said}"
        );
    }
    assert_eq!(run(&["deploy", "--version", "$(reboot)"]).0, 64);
    assert_eq!(run(&["rollback", "primary"]).0, 1);
    for command in ["deploy", "stop", "rollback"] {
        let output = std::process::Command::new(PROGRAM)
            .args([command, "--socket", "/nowhere/admin.sock"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("is it running?"), "{said}");
    }
}
