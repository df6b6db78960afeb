//! Security alerts: by command, by the admin socket, and from Alertmanager.

use serde_json::{Value, json};

use crate::support::client::once;
use crate::support::{Reply, Router, Server};

const TOKEN: &str = "a token of at least 32 characters";

/// A router that listens for Alertmanager, with nobody behind it: alerts need no traffic.
async fn router() -> Router {
    let nobody = Server::mcp("one").await.address;
    Router::start(&[nobody], &[nobody], &settings()).await
}

fn settings() -> String {
    format!("\n[alerts]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"")
}

async fn notify_as(router: &Router, authorization: &str, body: &str) -> Reply {
    let status = router.status().await.unwrap();
    let to = status["alerts_listen"].as_str().unwrap().parse().unwrap();
    let headers = [("authorization", authorization), ("user-agent", "Alertmanager/0.28.1")];
    once(to, "POST", "/v1/alertmanager", &headers, body).await
}

async fn notify(router: &Router, body: &Value) -> Value {
    let reply = notify_as(router, &format!("Bearer {TOKEN}"), &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// A group as Alertmanager sends it: both alerts share a name.
fn group(status: &str) -> Value {
    let ends = if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-02-06T14:10:15.828Z" };
    let alert = |severity: &str, fingerprint: &str, summary: &str| {
        json!({
            "status": status,
            "labels": {
                "alertname": "TokenLeak", "instance": "mcp-2:3001", "job": "mcp",
                "severity": severity,
            },
            "annotations": { "summary": summary, "runbook_url": "https://wiki.example/leak" },
            "startsAt": "2026-02-06T13:08:45.828Z",
            "endsAt": ends,
            "generatorURL": "http://prometheus:9090/graph?g0.expr=leaks+%3E+0\u{26}g0.tab=1",
            "fingerprint": fingerprint,
        })
    };
    json!({
        "receiver": "tidegate",
        "status": status,
        "alerts": [
            alert("critical", "1a30ba71cca2921f", "Tokens in the answers of 2.0.0"),
            alert("warning", "77c1d6b2c0b3e6aa", "Tokens in a log"),
        ],
        "groupLabels": { "alertname": "TokenLeak" },
        "commonLabels": { "alertname": "TokenLeak", "instance": "mcp-2:3001", "job": "mcp" },
        "commonAnnotations": { "runbook_url": "https://wiki.example/leak" },
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": "{}:{alertname=\"TokenLeak\"}",
        "truncatedAlerts": 0,
    })
}

/// Runs a command, and returns its exit code and what it said.
fn cli(router: &Router, arguments: &[&str]) -> (i32, String) {
    let output = router.cli(arguments);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn alerts_are_raised_listed_and_cleared_by_command() {
    let router = router().await;
    assert_eq!(cli(&router, &["alert", "list"]), (0, "no alert is open\n".to_owned()));
    let raise = |severity| {
        let words = ["alert", "raise", "--severity", severity, "--source", "trivy"];
        cli(&router, &[&words[..], &["--reason", "CVE-2026-1 in 2.0.0"]].concat())
    };
    let (code, said) = raise("page");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1  critical  trivy: CVE-2026-1 in 2.0.0 (since "), "{said}");
    assert!(said.contains("clears it: only tidegate alert clear 1 --reason"), "{said}");
    assert!(raise("info").1.contains(", 2 times, last at "));
    assert_eq!(raise("odd").0, 64);
    assert_eq!(cli(&router, &["alert", "list"]).0, 1);
    assert_eq!(cli(&router, &["alert", "clear", "1"]).0, 64);
    assert_eq!(cli(&router, &["alert", "clear", "1", "--reason", " "]).0, 1);
    assert_eq!(cli(&router, &["alert", "clear", "2", "--reason", "x"]).0, 1);
    let (code, said) = cli(&router, &["alert", "clear", "1", "--reason", "false alarm"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(": false alarm"), "{said}");
    assert_eq!(cli(&router, &["alert", "clear", "1", "--reason", "again"]).0, 1);
    assert_eq!(cli(&router, &["alert", "list"]).0, 0);
    let (code, said) = cli(&router, &["alert", "list", "--all", "--json"]);
    let listed: Value = serde_json::from_str(&said).unwrap();
    let alert = &listed["alerts"][0];
    assert_eq!((code, &alert["count"]), (0, &json!(2)));
    assert_eq!(alert["cleared"]["reason"], "false alarm");
    let by = format!("uid {} gid {} pid", nix::unistd::getuid(), nix::unistd::getgid());
    assert!(alert["cleared"]["by"].as_str().unwrap().starts_with(&by), "{alert}");
    let audit = std::fs::read_to_string(router.dir.path().join("state/audit.jsonl")).unwrap();
    let records: Vec<Value> = audit.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let events: Vec<_> = records.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "alert-raise", "shut", "alert-raise", "alert-clear"]);
    assert_eq!(records[1]["detail"]["raised"][0]["severity"], "critical");
    assert_eq!(records[2]["detail"]["guard"], "security_alert");
    // The revert has set the split; the alerts themselves have no part in its revision.
    assert_eq!(router.status().await.unwrap()["revision"], 2);
}

#[tokio::test]
async fn status_and_metrics_show_what_is_open_and_what_clears_it() {
    let router = router().await;
    notify(&router, &group("firing")).await;
    for number in 0..6 {
        let wanted = json!({ "severity": "info", "source": "me", "reason": number.to_string() });
        router.admin("POST", "/v1/alerts", wanted).await.unwrap();
    }
    let status = router.status().await.unwrap();
    assert_eq!(status["alerts"][0]["reason"], "Tokens in the answers of 2.0.0");
    assert_eq!(status["alerts"][0]["clears"], "only tidegate alert clear 1 --reason …");
    assert!(status["alerts"][1]["clears"].as_str().unwrap().starts_with("Alertmanager, once"));
    let (_, text) = cli(&router, &["status"]);
    for line in [
        "alerts   1  critical  alertmanager:TokenLeak: Tokens in the answers of 2.0.0 (since ",
        "            open; clears it: only tidegate alert clear 1 --reason …",
        "and 3 more (see tidegate alert list)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for (severity, open) in [("critical", 1), ("high", 0), ("warning", 1), ("info", 6)] {
        let label = format!("severity=\"{severity}\"");
        assert_eq!(router.scrape().await.count("tidegate_alerts_open", &[&label]), open);
    }
}

#[tokio::test]
async fn alertmanager_fires_and_resolves_and_a_person_ends_what_is_critical() {
    let router = router().await;
    let none = json!({ "raised": 0, "again": 0, "cleared": 0, "latched": 0, "refused": 0 });
    let with = |more: Value| {
        let mut all = none.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(notify(&router, &group("firing")).await, with(json!({ "raised": 2 })));
    assert_eq!(notify(&router, &group("firing")).await, with(json!({ "again": 2 })));
    let resolved = notify(&router, &group("resolved")).await;
    assert_eq!(resolved, with(json!({ "cleared": 1, "latched": 1 })));
    let (code, said) = cli(&router, &["alert", "list"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("its source calls it resolved since"), "{said}");
    // A restart forgets nothing.
    let router = router.restart().await;
    assert_eq!(cli(&router, &["alert", "list"]).1, said);
    assert_eq!(router.scrape().await.count("tidegate_alerts_open", &["critical"]), 1);
    assert_eq!(cli(&router, &["alert", "clear", "1", "--reason", "rotated"]).0, 0);
    assert_eq!(notify(&router, &group("resolved")).await, none);
    assert_eq!(notify(&router, &group("firing")).await, with(json!({ "raised": 2 })));
    // What is critical keeps the candidate shut until a person clears it; the rest changes nothing.
    let (code, said) = cli(&router, &["set-traffic-split", "secondary:50"]);
    assert!(code == 1 && said.contains("a critical alert keeps the candidate shut"), "{said}");
    assert_eq!(cli(&router, &["alert", "clear", "3", "--reason", "rotated"]).0, 0);
    router.split(50, 50).await;
    let router = router.restart().await;
    let listed = router.admin("GET", "/v1/alerts", json!({})).await.unwrap();
    assert_eq!(listed["alerts"].as_array().unwrap().len(), 4);
    let (code, said) = cli(&router, &["alert", "list"]);
    assert!(code == 0 && said.contains("  4  warning  "), "{said}");
}

#[tokio::test]
async fn the_receiver_refuses_strangers_and_what_it_cannot_read() {
    let router = router().await;
    let good = format!("Bearer {TOKEN}");
    let firing = group("firing").to_string();
    let large = firing.replace("Tokens in a log", &"x".repeat(300_000));
    for (authorization, body, status, says) in [
        ("", firing.as_str(), 401, "Authorization: Bearer"),
        ("Bearer a token of at least 32 characterz", &firing, 401, "Authorization: Bearer"),
        (TOKEN, &firing, 401, "Authorization: Bearer"),
        (&good.replace("Bearer", "Basic"), &firing, 401, "Authorization: Bearer"),
        (&good, &large, 413, "more than 256 KiB: set max_alerts"),
        (&good, "alert!", 400, "not what Alertmanager's webhook_config sends"),
        (&good, "", 400, "not what Alertmanager's webhook_config sends"),
    ] {
        let reply = notify_as(&router, authorization, body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.json()["error"].as_str().unwrap().contains(says), "{}", reply.text());
        let challenge = reply.header("www-authenticate").map(|it| &it[..6]);
        assert_eq!(challenge, (status == 401).then_some("Bearer"));
    }
    let status = router.status().await.unwrap();
    let to = status["alerts_listen"].as_str().unwrap().parse().unwrap();
    let headers = [("authorization", good.as_str())];
    let get = once(to, "GET", "/v1/alertmanager", &headers, "").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(once(to, "POST", "/v2/alerts", &headers, &firing).await.status, 404);
    assert_eq!(status["alerts"], json!([]));
    assert!(!router.log().contains(TOKEN), "the token is never logged");
    // The scheme may be written in any way, and the path may be left out.
    let headers = [("authorization", &*good.replace("Bearer", "bearer"))];
    assert_eq!(once(to, "POST", "/", &headers, &firing).await.status, 200);
}

#[tokio::test]
async fn the_list_is_bounded_and_what_is_critical_gets_in() {
    let router = router().await;
    let many = |severity: &str, count: usize| {
        let alert = |number| {
            let labels = json!({ "alertname": "Many", "severity": severity });
            let fingerprint = format!("{severity}{number}");
            json!({ "status": "firing", "labels": labels, "fingerprint": fingerprint })
        };
        json!({ "version": "4", "alerts": (0..count).map(alert).collect::<Vec<_>>() })
    };
    let taken = notify(&router, &many("warning", 1000)).await;
    assert_eq!((&taken["raised"], &taken["refused"]), (&json!(32), &json!(968)));
    let wanted = json!({ "severity": "high", "source": "me", "reason": "no room" });
    let refused = router.admin("POST", "/v1/alerts", wanted).await.unwrap_err();
    assert!(refused.to_string().contains("32 alerts are open"), "{refused}");
    assert_eq!(notify(&router, &many("critical", 2)).await["raised"], 2);
    let listed = router.admin("GET", "/v1/alerts", json!({})).await.unwrap();
    assert_eq!(listed["alerts"].as_array().unwrap().len(), 32);
    assert_eq!(listed["left_out"], 971);
}

#[tokio::test]
async fn an_edited_split_opens_nothing_while_a_critical_alert_is_open() {
    let router = router().await;
    let words = ["alert", "raise", "--severity", "critical", "--source", "me", "--reason", "x"];
    assert_eq!(cli(&router, &words).0, 0);
    let file = router.dir.path().join("tidegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text + "\n[split]\nprimary = 50\nsecondary = 50\n").unwrap();
    let refused = router.admin("POST", "/v1/reload", json!({})).await.unwrap_err().to_string();
    assert!(refused.contains("a critical alert keeps the candidate shut (me: x)"), "{refused}");
    let router = router.restart().await;
    let status = router.status().await.unwrap();
    assert_eq!(status["split"]["secondary"], 0, "{status}");
    let clear = ["alert", "clear", "1", "--reason", "false alarm"];
    assert_eq!(cli(&router, &clear).0, 0);
    let split = ["set-traffic-split", "primary:50", "secondary:50"];
    assert_eq!(cli(&router, &split).0, 0);
}

#[tokio::test]
async fn a_disk_that_refuses_hides_no_alert() {
    let Some((router, state)) = Router::on_a_small_disk("256k", &settings()).await else { return };
    let fill = || std::fs::write(state.join("filler"), vec![1; 1024 * 1024]).unwrap_err();
    std::fs::remove_file(state.join("audit.reserve")).unwrap();
    assert_eq!(fill().kind(), std::io::ErrorKind::StorageFull);
    let bearer = format!("Bearer {TOKEN}");
    let firing = group("firing").to_string();
    let mut taken = 0;
    // The last block of the journal has room for a few lines.
    let refused = loop {
        let reply = notify_as(&router, &bearer, &firing).await;
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
        assert!(taken < 10, "the disk is not full");
    };
    assert_eq!(refused.status, 500, "Alertmanager sends it again: {}", refused.text());
    let words = ["alert", "raise", "--severity", "critical", "--source", "me", "--reason", "x"];
    let (code, said) = cli(&router, &words);
    assert!(code == 0 && said.contains("warning: it holds, but"), "{said}");
    assert_eq!(router.status().await.unwrap()["alerts"].as_array().unwrap().len(), 3);
    assert!(router.log().contains("a change is not in the journal yet"));
    std::fs::remove_file(state.join("filler")).unwrap();
    assert_eq!(notify(&router, &group("firing")).await["again"], 2);
    let journal = std::fs::read_to_string(state.join("audit.jsonl")).unwrap();
    let last: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"]["alerts"]["kept"].as_array().unwrap().len(), 3, "{last}");
}

#[tokio::test]
async fn a_reload_changes_the_token() {
    let router = router().await;
    let new = "another token of at least 32 characters";
    router.edit(TOKEN, new);
    assert_eq!(cli(&router, &["reload"]).0, 0);
    for (token, status) in [(TOKEN, 401), (new, 200)] {
        let body = group("firing").to_string();
        assert_eq!(notify_as(&router, &format!("Bearer {token}"), &body).await.status, status);
    }
}
