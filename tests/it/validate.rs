//! `validate` against an honest server, and against servers that fail just one of its checks; with
//! a router and without; and against real SDKs.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::health::{discovered, error, opened, result, text};
use crate::support::real::Lone;
use crate::support::router::PROGRAM;
use crate::support::server::{Seen, answer, chunk, stream_head};
use crate::support::{Router, Server, Step, nobody};

/// Everything that can be checked is named.
const SETTINGS: &str = "[health]\ntoken = 'good'\nexpected_tools = ['add', 'drop']\n\
    [[health.calls]]\ntool = 'add'\narguments = { n = 1 }\nexpect = { structured = { ok = true } }\n\
    [validation]\nsla = '2s'\nstability = '300ms'\n\
    bad_arguments = [{ tool = 'add', arguments = { n = 'many' } }]\n\
    denied = [{ tool = 'drop' }]\n";

type Change = fn(&Seen) -> Option<Vec<Step>>;

/// A server of both eras that does all that it should, but for what `change` does.
async fn honest(change: Change) -> Server {
    let (count, open) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    Server::scripted(move |seen| {
        if let Some(changed) = change(seen) {
            return changed;
        }
        if seen.header("authorization") != Some("Bearer good") {
            return text(&answer(401, &[], ""));
        }
        let session = seen.header("mcp-session-id");
        if session.is_some_and(|id| !open.lock().unwrap().contains(id)) {
            return error(seen, 404, -32600, "Session not found");
        }
        let body: Value = match serde_json::from_str(&seen.body) {
            Ok(body) => body,
            Err(_) if seen.method == "POST" => return error(seen, 400, -32700, "Parse error"),
            Err(_) => Value::Null,
        };
        let n = &body["params"]["arguments"]["n"];
        match (seen.method.as_str(), body["method"].as_str().unwrap_or_default()) {
            ("DELETE", _) => {
                open.lock().unwrap().remove(session.unwrap_or_default());
                text(&answer(200, &[], ""))
            }
            ("GET", _) => text(&answer(405, &[], "")),
            (_, "initialize") => {
                let id = format!("s-{}", count.fetch_add(1, Ordering::Relaxed));
                open.lock().unwrap().insert(id.clone());
                let Some(Step::Send(text)) = opened(seen).pop() else { unreachable!() };
                vec![Step::Send(text.replace("s-1", &id))]
            }
            (_, "notifications/initialized") => text(&answer(202, &[], "")),
            (_, "server/discover") => result(seen, &discovered()),
            (_, "tools/list") => tools(seen, ""),
            (_, "ping") => result(seen, &json!({})),
            (_, "tools/call") => match body["params"]["name"].as_str() {
                Some("add") if n == 1 => called(seen, true),
                Some("add") => result(seen, &json!({ "isError": true, "content": [{ "type": "text", "text": "n is no number" }] })),
                Some("drop") => text(&answer(403, &[], "")),
                _ => error(seen, 200, -32602, "Unknown tool"),
            },
            _ => error(seen, 404, -32601, "Method not found"),
        }
    })
    .await
}

fn tools(seen: &Seen, description: &str) -> Vec<Step> {
    let tool = |name| json!({ "name": name, "description": description, "inputSchema": {} });
    result(seen, &json!({ "tools": [tool("add"), tool("drop")] }))
}

fn called(seen: &Seen, ok: bool) -> Vec<Step> {
    result(seen, &json!({ "content": [], "structuredContent": { "ok": ok } }))
}

/// A call whose body holds this is answered as if nothing were wrong.
fn obeys(seen: &Seen, what: &str) -> Option<Vec<Step>> {
    (seen.rpc() == "tools/call" && seen.body.contains(what)).then(|| called(seen, true))
}

/// What the command said: its code, its answer.
struct Said {
    code: i32,
    body: Value,
}

impl Said {
    fn of(output: &std::process::Output) -> Said {
        let text = String::from_utf8_lossy(&output.stdout);
        let body = serde_json::from_str(&text);
        let told = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let body = body.unwrap_or_else(|_| panic!("{}", told()));
        Said { code: output.status.code().unwrap(), body }
    }

    /// The checks that ended so.
    fn with(&self, result: &str) -> Vec<&str> {
        let checks = self.body["checks"].as_array().unwrap().iter();
        checks.filter(|it| it["result"] == result).filter_map(|it| it["id"].as_str()).collect()
    }

    /// Why a check ended as it did.
    fn why(&self, id: &str) -> &str {
        let checks = self.body["checks"].as_array().unwrap().iter();
        checks.filter(|it| it["id"] == id).find_map(|it| it["detail"].as_str()).unwrap()
    }
}

fn configured(primary: SocketAddr, secondary: SocketAddr, settings: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let config = format!(
        "{settings}\n[primary]\nendpoints = ['http://{primary}/mcp']\n\
         [secondary]\nendpoints = ['http://{secondary}/mcp']\n"
    );
    std::fs::write(dir.path().join("tidegate.toml"), config).unwrap();
    dir
}

/// Validates without a router; memory is bounded, so that whoever keeps all that comes dies.
async fn validate(
    [primary, secondary]: [SocketAddr; 2],
    settings: &str,
    arguments: &[&str],
) -> Said {
    let dir = configured(primary, secondary, settings);
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -d 65536; exec \"$@\"", "sh", PROGRAM, "validate", "--json"])
        .args(["--config", "tidegate.toml", "--socket", "none.sock"])
        .args(arguments)
        .current_dir(dir.path())
        .env_clear()
        .output()
        .await
        .unwrap();
    Said::of(&output)
}

/// A command against a router, whose servers go on meanwhile.
async fn cli(router: &Router, arguments: &[&str]) -> std::process::Output {
    Command::from(router.command(arguments)).output().await.unwrap()
}

const ALL: [&str; 2] = ["secondary", "--comprehensive"];

#[tokio::test]
async fn an_honest_server_passes_everything() {
    let (one, two) = (honest(|_| None).await, honest(|_| None).await);
    let said = validate([one.address, two.address], SETTINGS, &ALL).await;
    assert_eq!(said.code, 0, "{:#}", said.body);
    assert_eq!((said.body["fit"].clone(), said.with("failed").len()), (json!(true), 0));
    let skipped = ["tls", "router_journal", "router_metrics", "router_log"];
    assert_eq!(said.with("skipped"), skipped, "{:#}", said.body);
    assert_eq!(said.why("tls"), "its address is http, which has none");
    assert_eq!(said.body["not_recorded"], "no router answers");
    assert_eq!(said.body["versions"][0]["server"]["version"], "1.5");
    let named = |seen: &Seen| {
        let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        body["params"]["name"].as_str().map(str::to_owned)
    };
    let called: HashSet<String> = two.seen().iter().filter_map(named).collect();
    assert_eq!(called, ["add", "drop", "tidegate_no_such_tool"].map(str::to_owned).into());
    let basic = validate([one.address, two.address], SETTINGS, &[]).await;
    assert_eq!(basic.code, 0, "{:#}", basic.body);
    assert!(!basic.with("ok").contains(&"malformed"), "{:#}", basic.body);
    assert_eq!(basic.body["arms"], json!(["primary", "secondary"]));
}

#[tokio::test]
async fn each_check_fails_alone() {
    // The check, words of its reason, what its server does, what the configuration says else.
    let cases: Vec<(&str, &str, Change, [&str; 2])> = vec![
        ("token", "the token was refused", |_| None, ["'good'", "'other'"]),
        ("handshake", "HTTP 500", on_discover, [""; 2]),
        ("versions", "drop is no longer there", fewer, ["'add', 'drop'", "'add'"]),
        ("tools", "expected tools: pay", |_| None, ["'add', 'drop'", "'pay'"]),
        ("calls", "structuredContent.ok is false", wrong, [""; 2]),
        ("sla", "took longer than 1ms", long, ["'2s'", "'1ms'"]),
        ("stability", "HTTP 503", tires, [""; 2]),
        ("bad_arguments", "as if nothing were wrong", |seen| obeys(seen, "many"), [""; 2]),
        ("unknown_tool", "as if nothing were wrong", |seen| obeys(seen, "no_such"), [""; 2]),
        ("permissions", "as if nothing were wrong", |seen| obeys(seen, "drop"), [""; 2]),
        ("bad_token", "it lets anybody in", lets_in_any, [""; 2]),
        ("no_token", "it lets anybody in", lets_in_none, [""; 2]),
        ("dead_session", "gets HTTP 200", revives, [""; 2]),
        ("malformed", "HTTP 500", stumbles, [""; 2]),
    ];
    let mut all = JoinSet::new();
    let well = honest(|_| None).await;
    for (id, words, change, [from, to]) in cases {
        let stable = well.address;
        all.spawn(async move {
            let server = honest(change).await;
            let settings = SETTINGS.replacen(from, to, 1);
            let said = validate([stable, server.address], &settings, &ALL).await;
            assert_eq!(said.with("failed"), [id], "{:#}", said.body);
            // Where the token is wrong for both, the stable arm says nothing either.
            assert_eq!((said.code, said.with("unknown").len()), (1, 0), "{:#}", said.body);
            assert!(said.why(id).contains(words), "{id}: {}", said.why(id));
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    // A tool that is not there refuses all arguments, which says nothing.
    let settings = SETTINGS
        .replace("[{ tool = 'add'", "[{ tool = 'ad'")
        .replace("[{ tool = 'drop'", "[{ tool = 'dorp'");
    let said = validate([well.address, well.address], &settings, &ALL).await;
    assert_eq!((said.code, said.with("unknown")), (2, vec!["bad_arguments"]), "{:#}", said.body);
    assert!(said.why("permissions").ends_with("(it is not listed)"), "{:#}", said.body);
    let said = validate([well.address, nobody().await], SETTINGS, &ALL).await;
    assert_eq!((said.code, said.with("failed")), (1, vec!["connectivity"]), "{:#}", said.body);
}

fn on_discover(seen: &Seen) -> Option<Vec<Step>> {
    (seen.rpc() == "server/discover").then(|| text(&answer(500, &[], "")))
}

fn fewer(seen: &Seen) -> Option<Vec<Step>> {
    let add = json!({ "tools": [{ "name": "add", "description": "", "inputSchema": {} }] });
    let is_locked = seen.header("authorization") != Some("Bearer good");
    (seen.rpc() == "tools/list" && !is_locked && seen.header("mcp-session-id").is_none())
        .then(|| result(seen, &add))
}

fn wrong(seen: &Seen) -> Option<Vec<Step>> {
    let is_probe = seen.rpc() == "tools/call" && seen.body.contains("\"n\":1");
    is_probe.then(|| called(seen, false))
}

/// Takes a while to be read.
fn long(seen: &Seen) -> Option<Vec<Step>> {
    let is_let_in = seen.header("authorization") == Some("Bearer good");
    let description = "x".repeat(1 << 20);
    (seen.rpc() == "tools/list" && is_let_in && seen.header("mcp-session-id").is_none())
        .then(|| tools(seen, &description))
}

/// Each session's second sign of life is its last one.
fn tires(seen: &Seen) -> Option<Vec<Step>> {
    let is_later = seen.rpc() == "server/discover" && !seen.body.contains("\"hc-1\"");
    is_later.then(|| text(&answer(503, &[], "")))
}

fn lets_in(seen: &Seen, token: Option<&str>) -> Option<Vec<Step>> {
    (seen.header("authorization") == token).then(|| match seen.rpc().as_str() {
        "server/discover" => result(seen, &discovered()),
        _ => tools(seen, ""),
    })
}

fn lets_in_any(seen: &Seen) -> Option<Vec<Step>> {
    lets_in(seen, Some("Bearer tidegate-validation-wrong-token"))
}

fn lets_in_none(seen: &Seen) -> Option<Vec<Step>> {
    lets_in(seen, None)
}

/// A session that never was is as good as another.
fn revives(seen: &Seen) -> Option<Vec<Step>> {
    let is_dead = seen.header("mcp-session-id").is_some_and(|id| !id.starts_with("s-"));
    is_dead.then(|| tools(seen, ""))
}

fn stumbles(seen: &Seen) -> Option<Vec<Step>> {
    let is_cut = seen.method == "POST" && serde_json::from_str::<Value>(&seen.body).is_err();
    is_cut.then(|| text(&answer(500, &[], "")))
}

#[tokio::test]
async fn a_server_that_hangs_or_floods_costs_little() {
    let cases: [(&str, &str, Change); 8] = [
        ("handshake", "did not end within 1s", |seen| {
            (seen.rpc() == "tools/list").then(|| vec![Step::UntilGone(Arc::default())])
        }),
        ("calls", "no answer in time", |seen| hangs(seen, "\"n\":1")),
        ("bad_arguments", "no answer in time", |seen| hangs(seen, "many")),
        ("unknown_tool", "no answer in time", |seen| hangs(seen, "no_such")),
        ("permissions", "no answer in time", |seen| hangs(seen, "drop")),
        ("malformed", "no answer in time", |seen| {
            stumbles(seen).map(|_| vec![Step::UntilGone(Arc::default())])
        }),
        ("malformed", "HTTP 200 and neither", |seen| stumbles(seen).map(|_| flood())),
        ("permissions", "more than", |seen| obeys(seen, "drop").map(|_| flood())),
    ];
    let well = honest(|_| None).await;
    let mut all = JoinSet::new();
    for (id, words, change) in cases {
        let stable = well.address;
        all.spawn(async move {
            let server = honest(change).await;
            let settings = SETTINGS.replace("[health]\n", "[health]\ntimeout = '1s'\n");
            let said = validate([stable, server.address], &settings, &ALL).await;
            assert!(said.with("failed").contains(&id), "{:#}", said.body);
            assert!(said.why(id).contains(words), "{id}: {}", said.why(id));
            // Two slow answers are enough for `sla`, so nothing takes longer than that.
            assert!(said.body["took_ms"].as_f64().unwrap() < 9000.0, "{:#}", said.body);
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

fn hangs(seen: &Seen, what: &str) -> Option<Vec<Step>> {
    obeys(seen, what).map(|_| vec![Step::UntilGone(Arc::default())])
}

/// One event of 64 MiB that does not end.
fn flood() -> Vec<Step> {
    let head = stream_head(&[]) + &chunk("data: ");
    let piece = chunk(&"x".repeat(1 << 20));
    std::iter::once(head).chain(std::iter::repeat_n(piece, 64)).map(Step::Send).collect()
}

#[tokio::test]
async fn versions_are_compared_with_the_stable_arm() {
    let modern = honest(|seen| (seen.rpc() == "initialize").then(|| error(seen, 404, -32601, "")));
    let (both, modern, twin) = (honest(|_| None).await, modern.await, honest(|_| None).await);
    let [both, modern, twin] = [both.address, modern.address, twin.address];
    for (servers, arguments, code, words) in [
        ([both, modern], "", 1, "does not speak legacy, as the primary does"),
        ([modern, both], "", 0, "it offers what the stable arm does"),
        ([both, twin], "--expect-version=1.5", 0, "it is one 1.5"),
        ([both, twin], "--expect-version=2.1.0", 1, "and not version 2.1.0"),
        ([nobody().await, both], "", 2, "the stable arm (primary) does not tell"),
    ] {
        let arguments: Vec<&str> =
            ["secondary", arguments].into_iter().filter(|it| !it.is_empty()).collect();
        let said = validate(servers, SETTINGS, &arguments).await;
        assert_eq!(said.code, code, "{:#}", said.body);
        assert!(said.why("versions").contains(words), "{}", said.why("versions"));
    }
}

#[tokio::test]
async fn a_server_that_wants_a_token_is_not_known() {
    let (one, two) = (honest(|_| None).await, honest(|_| None).await);
    let settings = SETTINGS.replace("token = 'good'\n", "");
    let said = validate([one.address, two.address], &settings, &ALL).await;
    assert_eq!((said.code, said.with("unknown")), (2, vec!["token"]), "{:#}", said.body);
    let dir = configured(one.address, two.address, "nonsense = 1\n");
    let output = std::process::Command::new(PROGRAM)
        .args(["validate", "--json", "--config", "tidegate.toml"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .unwrap();
    let said = Said::of(&output);
    assert_eq!(said.code, 64, "{:#}", said.body);
    assert!(said.body["error"].as_str().unwrap().contains("nonsense"), "{:#}", said.body);
}

#[tokio::test]
async fn a_router_is_checked_and_keeps_the_result() {
    let (one, two) = (honest(|_| None).await, honest(|_| None).await);
    let settings = format!("\n{SETTINGS}[[health.calls]]\ntool = 'pay'\n");
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    let said = Said::of(&cli(&router, &["validate", "secondary", "--json"]).await);
    assert_eq!((said.code, said.with("failed")), (1, vec!["calls"]), "{:#}", said.body);
    for id in ["router_journal", "router_metrics"] {
        assert!(said.with("ok").contains(&id), "{:#}", said.body);
    }
    let events = router.admin("GET", "/v1/events?after=0", json!({})).await.unwrap();
    let events = events["events"].as_array().unwrap().iter();
    let kept: Vec<_> = events.filter(|event| event["event"] == "validation").collect();
    let [kept] = kept[..] else { panic!("{kept:#?}") };
    assert_eq!(kept["at"], said.body["recorded_at"]);
    let detail = &kept["detail"];
    assert_eq!((&detail["arm"], &detail["failed"]), (&json!("secondary"), &json!(1)));
    assert_eq!(detail["versions"][0]["eras"], json!(["modern", "legacy"]));
    // What another configuration names is not what the router has.
    std::fs::write(router.dir.path().join("other.toml"), SETTINGS).unwrap();
    let said = cli(&router, &["validate", "secondary", "--config", "other.toml", "--json"]).await;
    let said = Said::of(&said);
    let why = said.body["not_recorded"].as_str().unwrap();
    assert!(why.contains("has other servers on its secondary"), "{:#}", said.body);
    assert!(said.with("skipped").contains(&"router_journal"), "{:#}", said.body);
    let big = json!({ "arm": "primary", "checks": "x".repeat(70_000) });
    assert!(router.admin("POST", "/v1/validations", big).await.is_err());
}

#[tokio::test]
async fn a_journal_that_is_not_written_is_a_failure() {
    let Some((router, state)) = Router::on_a_small_disk("256k", "").await else { return };
    std::fs::remove_file(state.join("audit.reserve")).unwrap();
    std::fs::write(state.join("filler"), vec![1; 1024 * 1024]).unwrap_err();
    // The last block of the journal may have room for one.
    let said = crate::support::eventually("the journal is full", async || {
        let said = Said::of(&cli(&router, &["validate", "secondary", "--json"]).await);
        said.with("failed").contains(&"router_journal").then_some(said)
    })
    .await;
    assert!(said.why("router_journal").contains("the disk has not taken it"), "{:#}", said.body);
}

#[tokio::test]
async fn a_rollout_starts_only_with_what_is_fit() {
    let (one, two) = (honest(|_| None).await, honest(|_| None).await);
    let settings = format!("\n{SETTINGS}").replace("[health]\n", "[health]\ninterval = '200ms'\n");
    let router = Router::start(&[one.address], &[two.address], &settings).await;
    router.edit("'add', 'drop'", "'add', 'pay'");
    let start = ["rollout", "start", "--validate-first", "--json"];
    let refused = Said::of(&cli(&router, &start).await);
    assert_eq!(refused.code, 1, "{:#}", refused.body);
    let why = refused.body["error"].as_str().unwrap();
    assert!(why.contains("the secondary is not fit (expected tools listed: "), "{why}");
    router.edit("'add', 'pay'", "'add', 'drop'");
    crate::support::eventually("it starts", async || {
        let started = cli(&router, &start).await;
        (started.status.code() == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn people_see_a_line_a_check() {
    let (one, two) = (honest(|_| None).await, honest(wrong).await);
    let dir = configured(one.address, two.address, SETTINGS);
    let output = Command::new(PROGRAM)
        .args(["validate", "--config", "tidegate.toml", "--socket", "none.sock"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        " ms  ok       configuration ",
        &format!("\nprimary http://{}/mcp\n", one.address),
        " ms  skipped  TLS ",
        " ms  FAILED   probe calls answered    the call of add failed: structuredContent.ok",
        "\nNOT FIT: ",
        "1 failed, ",
        "(probe calls answered), in ",
        "\nnot recorded: no router answers\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs tests/run: real SDKs"]
async fn real_servers_are_fit() {
    let settings = "[health]\nexpected_tools = ['echo', 'whoami']\n\
        [[health.calls]]\ntool = 'whoami'\n\
        [validation]\nstability = '1s'\nbad_arguments = [{ tool = 'echo', arguments = { text = [1] } }]\n";
    for server in
        ["py1", "py1 sse", "py2", "py2 stateless", "ts1", "ts1 stateless", "ts1 sse", "ts2"]
    {
        let (one, two) = (Lone::start(server, &[]).await, Lone::start(server, &[]).await);
        let servers = [one.address, two.address];
        let said = validate(servers, settings, &ALL).await;
        assert_eq!((said.code, said.with("failed").len()), (0, 0), "{server}: {:#}", said.body);
        let missing = settings.replace("'whoami']", "'pay']");
        let said = validate(servers, &missing, &["secondary"]).await;
        assert_eq!((said.code, said.with("failed")), (1, vec!["tools"]), "{server}");
    }
    for server in ["py1", "py2", "ts1"] {
        let locked = [("AUTH", "1")].as_slice();
        let (one, two) = (Lone::start(server, locked).await, Lone::start(server, locked).await);
        let servers = [one.address, two.address];
        for (token, code, failed) in [("mcp.9000000000", 0, vec![]), ("mcp.1", 1, vec!["token"])] {
            let settings =
                settings.replace("[health]\n", &format!("[health]\ntoken = '{token}'\n"));
            let said = validate(servers, &settings, &ALL).await;
            assert_eq!(
                (said.code, said.with("failed")),
                (code, failed),
                "{server}: {:#}",
                said.body
            );
        }
    }
}
