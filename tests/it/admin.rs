//! The admin socket and the commands that use it.

use serde_json::json;

use crate::support::{INITIALIZE, Router, Server, post, said};

#[tokio::test]
async fn the_split_is_set_shown_and_recorded() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let set = router.cli(&["set-traffic-split", "primary:90", "secondary:10"]);
    assert_eq!(set.status.code(), Some(0), "{}", said(&set));
    assert!(
        said(&set)
            .starts_with("primary:90 secondary:10 for new sessions from now on, revision 2; was primary:100 secondary:0, set by the configuration"),
        "{}",
        said(&set)
    );
    let status = said(&router.cli(&["status"]));
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    assert!(
        status.contains(&format!(
            "primary:90 secondary:10  revision 2, set by uid {uid} gid {gid} pid"
        )),
        "{status}"
    );
    let audit = std::fs::read_to_string(router.dir.path().join("state/audit.jsonl")).unwrap();
    let record: serde_json::Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!(record["event"], "split");
    assert_eq!(record["actor"]["uid"], nix::unistd::getuid().as_raw());
    assert!(record["actor"]["pid"].as_i64().unwrap() > 0);
    assert_eq!(record["detail"]["after"], json!({ "primary": 90, "secondary": 10 }));
}

#[tokio::test]
async fn two_operators_cannot_overwrite_each_other_unseen() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    assert_eq!(
        router.cli(&["set-traffic-split", "secondary:10", "--expect", "1"]).status.code(),
        Some(0)
    );
    let late = router.cli(&["set-traffic-split", "secondary:50", "--expect", "1"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(
        said(&late).contains("it is primary:90 secondary:10 (revision 2, set by uid"),
        "{}",
        said(&late)
    );
    let blind = router.admin("PUT", "/v1/split", json!({ "primary": 50, "secondary": 50 })).await;
    assert!(blind.unwrap_err().to_string().contains("expected_revision"));
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 10);
}

#[tokio::test]
async fn bad_splits_are_refused() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    for wrong in
        [["primary:90", "secondary:20"], ["primary:x", "secondary:0"], ["third:1", "primary:99"]]
    {
        let output = router.cli(&["set-traffic-split", wrong[0], wrong[1]]);
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    }
    for body in [
        json!({}),
        json!({ "primary": 300, "secondary": 0 }),
        json!({ "primary": 60, "secondary": 60, "expected_revision": 1 }),
    ] {
        assert!(router.admin("PUT", "/v1/split", body).await.is_err());
    }
    assert_eq!(router.status().await.unwrap()["revision"], 1);
}

#[tokio::test]
async fn a_session_is_explained() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let known = router.cli(&["explain", &session]);
    assert_eq!(known.status.code(), Some(0));
    assert!(
        said(&known).starts_with(&format!("primary  http://{}/mcp\n", one.address)),
        "{}",
        said(&known)
    );
    let unknown = router.cli(&["explain", "made-up"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(!router.log().contains(&session), "a session id is never logged");
}

#[tokio::test]
async fn a_reload_is_taken_whole_or_refused_whole() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 20").await;
    router.edit("secondary = 20", "secondary = 30");
    assert_eq!(router.cli(&["reload"]).status.code(), Some(0));
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 30);
    router.edit("secondary = 30", "secondary = 40\nsecundary = 60");
    let refused = router.cli(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("split.secundary: unknown key"), "{}", said(&refused));
    router.edit("secondary = 40\nsecundary = 60", "secondary = 40");
    router.edit("listen = \"127.0.0.1:0\"\nstate", "listen = \"127.0.0.1:1\"\nstate");
    let fixed = router.cli(&["reload"]);
    assert!(said(&fixed).contains("a restart is needed to change listen"), "{}", said(&fixed));
    let status = router.status().await.unwrap();
    assert_eq!(status["split"]["secondary"], 30);
    assert_eq!(status["last_reload"]["accepted"], false);
    assert!(router.metric("tidegate_config_last_reload_successful", &[]).await < 0.5);
}

#[tokio::test]
async fn a_hangup_reloads() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 20").await;
    router.edit("secondary = 20", "secondary = 30");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(router.pid()), nix::sys::signal::SIGHUP)
        .unwrap();
    crate::support::eventually("the reload", || async {
        (router.status().await.ok()?["split"]["secondary"] == 30).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_router_on_the_same_socket_does_not_start() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let second = router.cli(&["run", "--config", "tidegate.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another tidegate is running"), "{}", said(&second));
    assert_eq!(router.cli(&["status"]).status.code(), Some(0));
}

#[tokio::test]
async fn nobody_answers_is_not_no() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::support::router::PROGRAM)
        .args(["status", "--socket", "none.sock"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("is it running?"), "{}", said(&output));
}

#[tokio::test]
async fn garbage_on_the_socket_is_answered_and_survived() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let huge = format!(
        "PUT /v1/split HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{}",
        " ".repeat(200_000)
    );
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PUT /v1/split HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{]}",
        &huge,
    ] {
        let mut stream = tokio::net::UnixStream::connect(router.socket()).await.unwrap();
        // The router may close before it has read everything.
        let _ = stream.write_all(garbage.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    for path in
        ["/v1/rollout-abort", "/v1/rollout\u{e9}abort", "/v1/history\u{e9}1", "/v1/rollout/"]
    {
        let mut stream = tokio::net::UnixStream::connect(router.socket()).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect(path);
        assert_eq!(answer, *b"HTTP/1.1 404", "{path}");
    }
    assert_eq!(router.status().await.unwrap()["revision"], 1);
}

#[tokio::test]
async fn status_is_watched_until_nobody_reads() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let mut watch = tokio::process::Command::new(crate::support::router::PROGRAM)
        .args(["status", "--watch", "--json", "--socket"])
        .arg(router.socket())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next_line().await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["revision"], 1);
    }
    drop(lines);
    assert_eq!(watch.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_reload_names_what_it_read_and_reads_nothing_else() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    assert!(said(&router.cli(&["reload"])).contains("tidegate.toml: generation 2 is in force"));
    std::fs::write(router.dir.path().join("other.toml"), "[split]\nsecondary = 77\n").unwrap();
    for other in [["--config", "other.toml"], ["--profile", "none"]] {
        let refused = router.cli(&["reload", other[0], other[1]]);
        assert_eq!(refused.status.code(), Some(64));
        assert!(said(&refused).contains("not reloaded: this router was started with"));
    }
    assert_eq!(router.status().await.unwrap()["generation"], 2);
}

#[tokio::test]
async fn whoever_loses_the_old_key_is_told() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let key = "[affinity]\nkey = \"a new key of at least 32 characters\"\n";
    router.edit("[metrics]", &format!("{key}[metrics]"));
    assert!(said(&router.cli(&["reload"])).contains("every session of before has ended"));
    let kept = format!("{key}previous_key = {{ file = \"state/session.key\" }}\n");
    router.edit(key, &kept);
    let kept = router.cli(&["reload"]);
    assert!(!said(&kept).contains("warning"), "{}", said(&kept));
    assert_eq!(router.cli(&["explain", &session]).status.code(), Some(0));
}

#[tokio::test]
async fn json_is_json_also_where_the_question_was_wrong() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    for wrong in [
        ["set-traffic-split", "third:1", "--json"].as_slice(),
        &["set-traffic-split", "secondary:1", "--expect", "9", "--json"],
        &["status", "--socket", "none.sock", "--json"],
    ] {
        let output = router.cli(wrong);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["error"].is_string(), "{answer}");
        assert!(output.stderr.is_empty() && output.status.code() != Some(0));
    }
}
