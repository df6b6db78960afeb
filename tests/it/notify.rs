//! Webhooks through the real program: who is told what, in which words, and that nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::server::answer;
use crate::support::{Router, Seen, Server, Step, eventually, nobody};

/// A receiver that answers with this status, which a test may change.
async fn receiver(status: u16) -> (Server, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let own = Arc::clone(&status);
    let server = Server::scripted(move |_| match own.load(Ordering::Relaxed) {
        0 => vec![Step::Wait(Arc::default())],
        status => vec![Step::Send(answer(status, &[], "\"so it is\"")), Step::Close],
    });
    (server.await, status)
}

/// A webhook as configured; `more` are further keys.
fn webhook(name: &str, at: impl std::fmt::Display, more: &str) -> String {
    format!("[[notify.webhooks]]\nname = '{name}'\nurl = 'http://{at}/secret?hook=1'\n{more}\n")
}

/// A router with these webhooks, in front of two servers, whose rollouts wait in their first step.
async fn scene(webhooks: &str) -> (Router, [Server; 2]) {
    let servers = [Server::mcp("one").await, Server::mcp("two").await];
    let plan =
        "gate = 'time'\nsteps = [{ weight = 10, hold = '1h' }, { weight = 100, hold = '1h' }]";
    let settings = format!("\n[rollout]\n{plan}\n{webhooks}");
    let [one, two] = [&servers[0], &servers[1]].map(|server| [server.address]);
    (Router::start(&one, &two, &settings).await, servers)
}

async fn verb(router: &Router, verb: &str) {
    router.admin("POST", &format!("/v1/rollout/{verb}"), json!({})).await.unwrap();
}

/// Reverts whatever is running: when it is answered, that has been done.
async fn alarm(router: &Router) {
    let alert = json!({ "severity": "critical", "source": "me", "reason": "test" });
    router.admin("POST", "/v1/alerts", alert).await.unwrap();
}

/// What a receiver has got, once it has got so much.
async fn got(server: &Server, count: usize) -> Vec<(Seen, Value)> {
    let seen = eventually("messages arrive", || async {
        Some(server.seen()).filter(|seen| seen.len() >= count)
    })
    .await;
    seen.into_iter().map(|seen| (seen.clone(), serde_json::from_str(&seen.body).unwrap())).collect()
}

fn words(got: &[(Seen, Value)]) -> Vec<&str> {
    got.iter().map(|(_, body)| body["notice"].as_str().unwrap()).collect()
}

/// Runs a command while the servers go on.
async fn cli(router: &Router, arguments: &[&str]) -> (i32, String) {
    let command = router.command(arguments);
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// What `notify list` says of one webhook.
async fn standing(router: &Router, name: &str) -> Value {
    let all = router.admin("GET", "/v1/notify", json!({})).await.unwrap();
    let all = all.as_array().unwrap();
    all.iter().find(|it| it["webhook"] == name).cloned().unwrap_or_default()
}

/// The events of the journal that are about webhooks.
fn recorded(router: &Router) -> Vec<String> {
    let journal = std::fs::read_to_string(router.dir.path().join("state/audit.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["event"].as_str().unwrap().starts_with("notify"))
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["detail"]["webhook"]))
        .collect()
}

#[tokio::test]
async fn a_revert_is_told_in_the_words_of_each() {
    let [ours, chat, alerts] =
        [receiver(200).await.0, receiver(204).await.0, receiver(200).await.0];
    let webhooks = [
        webhook("ours", ours.address, "token = 'word'"),
        webhook("chat", chat.address, "format = 'slack'\nevents = ['started', 'reverted']"),
        webhook("alerts", alerts.address, "format = 'alertmanager'\nevents = ['reverted']"),
    ];
    let (router, _servers) = scene(&webhooks.concat()).await;
    verb(&router, "start").await;
    alarm(&router).await;

    let told = got(&ours, 3).await;
    assert_eq!(words(&told), ["started", "alert", "reverted"]);
    let (seen, started) = &told[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/secret?hook=1"));
    assert_eq!(seen.header("authorization"), Some("Bearer word"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("host"), Some(ours.address.to_string().as_str()));
    assert_eq!(started["weights"], json!({ "primary": 90, "secondary": 10 }));
    assert_eq!(started["router"], router.address.to_string());
    let reverted = &told[2].1;
    assert_eq!(reverted["why"], "a critical alert is open: me: test");
    assert_eq!(
        (&reverted["guard"], &reverted["arm"]),
        (&json!("security_alert"), &json!("secondary"))
    );
    assert_eq!(reverted["rollout"], started["rollout"]);

    let told = got(&chat, 2).await;
    let text = told[1].1["text"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("tidegate {}: reverted: rollout r", router.address)),
        "{text}"
    );
    let told = got(&alerts, 1).await;
    let labels = &told[0].1[0]["labels"];
    assert_eq!(
        (&labels["alertname"], &labels["severity"]),
        (&json!("TidegateReverted"), &json!("warning"))
    );
    // Over, as soon as the next one begins.
    cli(&router, &["alert", "clear", "1", "--reason", "test"]).await;
    verb(&router, "start").await;
    let told = got(&alerts, 2).await;
    assert_eq!(&told[1].1[0]["labels"], labels);
    assert!(told[1].1[0]["endsAt"].as_str() < told[0].1[0]["endsAt"].as_str(), "{told:?}");

    eventually("all have been counted", async || {
        let scrape = router.scrape().await;
        let sent = |name| scrape.count("tidegate_notifications_total", &[name, "\"sent\""]);
        (sent("ours") == 5 && sent("chat") == 3 && sent("alerts") == 2).then_some(())
    })
    .await;
    assert_eq!(recorded(&router), [""; 0]);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_nothing_up_and_gets_all_in_order() {
    let (slow, status) = receiver(0).await;
    let (router, _servers) = scene(&webhook("slow", slow.address, "timeout = '500ms'")).await;
    verb(&router, "start").await;
    slow.arrived().await;
    alarm(&router).await;
    let told = router.admin("GET", "/v1/rollout", json!({})).await.unwrap();
    assert_eq!(told["rollout"]["state"], "reverted", "while the receiver hangs");
    eventually("its failure is known", async || {
        (standing(&router, "slow").await["failing"] == true).then_some(())
    })
    .await;
    let it = standing(&router, "slow").await;
    assert_eq!((&it["pending"], &it["last_error"]), (&json!(3), &json!("no answer within 500ms")));
    assert!(!it.to_string().contains("secret"), "{it}");
    let (code, said) = cli(&router, &["notify", "list"]).await;
    assert!(code == 1 && said.contains("slow") && said.contains("FAILING  3 waiting"), "{said}");

    status.store(200, Ordering::Relaxed);
    let before = slow.seen().len();
    let told = eventually("all arrive", async || {
        let told = got(&slow, before + 3).await;
        (standing(&router, "slow").await["pending"] == 0).then_some(told)
    })
    .await;
    let new: Vec<_> = words(&told)[before..].to_vec();
    assert_eq!(new, ["started", "alert", "reverted"]);
    let wanted = ["notify-failing \"slow\"", "notify-ok \"slow\""];
    eventually("it is on record", async || (recorded(&router) == wanted).then_some(())).await;
    assert_eq!(cli(&router, &["notify", "list"]).await.0, 0);
}

#[tokio::test]
async fn what_is_refused_for_good_is_given_up() {
    let (picky, status) = receiver(400).await;
    let (router, _servers) = scene(&webhook("picky", picky.address, "format = 'slack'")).await;
    verb(&router, "start").await;
    got(&picky, 1).await;
    status.store(200, Ordering::Relaxed);
    verb(&router, "abort").await;
    let told = got(&picky, 2).await;
    assert!(told[1].1["text"].as_str().unwrap().contains("was aborted"), "{told:?}");
    let it = eventually("it has been counted", async || {
        let it = standing(&router, "picky").await;
        (it["sent"] == 1).then_some(it)
    })
    .await;
    assert_eq!((&it["given_up"], &it["failed"], &it["pending"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(it["last_error"], "HTTP 400: \"so it is\"");
}

#[tokio::test]
async fn answers_that_never_end_are_no_success_nor_a_leak() {
    let endless = Server::scripted(|_| {
        let mut steps = vec![Step::Send("HTTP/1.1 500 No\r\n\r\n".to_owned())];
        steps.extend((0..64).map(|_| Step::Bytes(vec![b'x'; 1024 * 1024])));
        steps
    })
    .await;
    let nonsense =
        Server::scripted(|_| vec![Step::Send("220 smtp ready\r\n\r\n".to_owned())]).await;
    let moved =
        Server::scripted(|_| vec![Step::Send(answer(302, &[("location", "http://x/")], ""))]).await;
    let webhooks = [
        webhook("endless", endless.address, ""),
        webhook("nonsense", nonsense.address, ""),
        webhook("moved", moved.address, ""),
        webhook("nobody", nobody().await, ""),
    ];
    let (router, _servers) = scene(&webhooks.concat()).await;
    let (code, said) = cli(&router, &["notify", "test"]).await;
    assert_eq!(code, 1, "{said}");
    for words in [
        "endless           FAILED  HTTP 500  ",
        "nonsense          FAILED  the connection broke: ",
        "moved             FAILED  HTTP 302  ",
        "name in `url` the address to which it redirects",
        "nobody            FAILED  cannot connect: ",
        "see whether the receiver runs, and whether host and port of its `url` are right",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(router.peak_memory() < 256 * 1024);
}

#[tokio::test]
async fn a_receiver_that_repeats_secrets_gives_none_away() {
    let echo = Server::scripted(|seen| {
        let said =
            format!("Cannot POST {} as {}", seen.target, seen.header("authorization").unwrap());
        vec![Step::Send(answer(404, &[], &said)), Step::Close]
    });
    let echo = echo.await;
    let webhook = webhook("echo", echo.address, "token = 'k3y-0f-all'");
    let (router, _servers) = scene(&webhook).await;
    verb(&router, "start").await;
    let listed = eventually("it fails", async || {
        let (code, said) = cli(&router, &["notify", "list"]).await;
        (code == 1).then_some(said)
    })
    .await;
    assert!(listed.contains("HTTP 404: Cannot POST … as Bearer …"), "{listed}");
    let tested = cli(&router, &["notify", "test", "--json"]).await.1;
    eventually("it is on record", async || (!recorded(&router).is_empty()).then_some(())).await;
    let journal = std::fs::read_to_string(router.dir.path().join("state/audit.jsonl")).unwrap();
    let metrics = router.scrape().await.0;
    for text in [listed, tested, journal, metrics, router.log()] {
        assert!(!text.contains("secret?") && !text.contains("hook=1"), "{text}");
        assert!(!text.contains("k3y-0f-all"), "{text}");
    }
}

#[tokio::test]
async fn a_test_says_whether_messages_arrive() {
    let (router, _servers) = scene("").await;
    let (code, said) = cli(&router, &["notify", "test"]).await;
    assert!(code == 1 && said.contains("no webhook is configured: add one to [notify]"), "{said}");
    let (code, said) = cli(&router, &["notify", "list"]).await;
    assert!(code == 0 && said.contains("nobody is told"), "{said}");

    let (good, status) = receiver(200).await;
    let (router, _servers) = scene(&webhook("good", good.address, "events = ['drained']")).await;
    let (code, said) = cli(&router, &["notify", "test"]).await;
    assert!(code == 0 && said.starts_with("good              ok      HTTP 200  "), "{said}");
    let (_, body) = &got(&good, 1).await[0];
    assert_eq!((&body["notice"], &body["severity"]), (&json!("test"), &json!("info")));
    let (code, said) = cli(&router, &["notify", "test", "nobody"]).await;
    assert!(code == 1 && said.contains("there is no webhook `nobody`; there are: good"), "{said}");
    status.store(403, Ordering::Relaxed);
    let (code, said) = cli(&router, &["notify", "test", "good", "--json"]).await;
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told[0]["status"]), (1, &json!(403)));
    assert!(told[0]["advice"].as_str().unwrap().contains("`token`"), "{said}");
    // A test is no message: nothing has failed.
    assert_eq!(standing(&router, "good").await["failing"], false);
}

#[tokio::test]
async fn a_reload_moves_webhooks_and_loses_nothing() {
    let at = nobody().await;
    let (gone, new) = (receiver(500).await.0, receiver(200).await.0);
    let webhooks = [webhook("ops", at, ""), webhook("gone", gone.address, "")];
    let (router, _servers) = scene(&webhooks.concat()).await;
    verb(&router, "start").await;
    eventually("it fails", async || {
        (standing(&router, "ops").await["failing"] == true).then_some(())
    })
    .await;
    got(&gone, 1).await;
    router.edit(&webhooks[1], &webhook("more", new.address, "events = ['aborted']"));
    let (code, said) = cli(&router, &["reload"]).await;
    assert_eq!(code, 0, "{said}");
    verb(&router, "abort").await;
    assert_eq!(words(&got(&new, 1).await), ["aborted"]);
    assert_eq!(standing(&router, "gone").await, json!(null));
    assert!(router.log().contains("messages are lost, it is not configured any more"));
    assert_eq!(standing(&router, "ops").await["pending"], 2);

    // What waits goes by the new settings, at once.
    let (good, _) = receiver(200).await;
    router.edit(&webhook("ops", at, ""), &webhook("ops", good.address, "format = 'slack'"));
    assert_eq!(cli(&router, &["reload"]).await.0, 0);
    let told = got(&good, 2).await;
    assert!(told[0].1["text"].as_str().unwrap().contains("has started"), "{told:?}");
    assert!(told[1].1["text"].as_str().unwrap().contains("was aborted"), "{told:?}");
}

#[tokio::test]
async fn at_the_stop_what_waits_is_tried_once_more() {
    // Nobody listens yet, and nobody else can.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let back = socket.local_addr().unwrap();
    let (hangs, _) = receiver(0).await;
    let webhooks = [webhook("back", back, ""), webhook("hangs", hangs.address, "")];
    let (mut router, _servers) = scene(&webhooks.concat()).await;
    verb(&router, "start").await;
    // Long enough that the next attempt would be long after the stop.
    eventually("it has failed often", async || {
        (standing(&router, "back").await["failed"].as_u64() >= Some(4)).then_some(())
    })
    .await;
    let server = Server::on(socket.listen(16).unwrap(), |_| vec![Step::Send(answer(200, &[], ""))]);
    router.stop().await;
    assert_eq!(words(&got(&server, 1).await), ["started"]);
    let log = router.log();
    assert!(log.contains("messages are lost, the router stops webhook=\"hangs\" count=1"), "{log}");
    assert!(!log.contains("webhook=\"back\" count"), "{log}");
}
