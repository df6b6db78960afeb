//! Sessions: tags, minted ids, the 2024-11-05 transport, stale and forged ids, restarts.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::client::Connection;
use crate::support::server::{answer, chunk, stream_head};
use crate::support::{INITIALIZE, MODERN, Router, Server, Step, WHOAMI, delete, get, post};

const INITIALIZE_ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;

#[tokio::test]
async fn a_server_without_sessions_gets_minted_ones() {
    let one = Server::scripted(|_| vec![Step::Send(answer(200, &[], INITIALIZE_ANSWER))]).await;
    let two = Server::mcp("two").await;
    let router = Router::start(&[one.address], &[two.address], "").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    assert!(session.starts_with('m'), "{session}");
    router.split(0, 100).await;
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.status, 200);
    let seen = one.last();
    assert_eq!((seen.rpc().as_str(), seen.header("mcp-session-id")), ("tools/call", None));
    let before = one.seen().len();
    assert_eq!(delete(router.address, &session).await.status, 200);
    assert_eq!(one.seen().len(), before, "a minted session ends with us");
}

#[tokio::test]
async fn initialize_with_a_stale_id_starts_a_new_session() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let first = post(router.address, &[], INITIALIZE).await.session();
    router.split(0, 100).await;
    for stale in [first.as_str(), "made-up"] {
        let reply = post(router.address, &[("mcp-session-id", stale)], INITIALIZE).await;
        assert_eq!(reply.status, 200);
        assert_ne!(reply.session(), stale);
        assert_eq!(two.last().header("mcp-session-id"), None);
    }
}

#[tokio::test]
async fn forged_and_foreign_ids_are_unknown_sessions() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let mut changed = session.clone().into_bytes();
    changed[10] ^= 1;
    let before = one.seen().len();
    for forged in
        [str::from_utf8(&changed).unwrap(), "one-0", "x", &session[1..], &format!("{session}0")]
    {
        let reply = post(router.address, &[("mcp-session-id", forged)], WHOAMI).await;
        assert_eq!(reply.status, 404, "{forged}");
        assert_eq!(reply.json()["error"]["data"]["origin"], "tidegate");
        assert_eq!(reply.json()["id"], 7);
        assert_eq!(get(router.address, "/mcp", &[("mcp-session-id", forged)]).await.status, 404);
        assert_eq!(delete(router.address, forged).await.status, 404);
    }
    assert_eq!(one.seen().len(), before);
}

#[tokio::test]
async fn a_modern_request_may_carry_any_session_id() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let headers = [MODERN.as_slice(), &[("mcp-session-id", "one-whatever")]].concat();
    assert_eq!(post(router.address, &headers, WHOAMI).await.status, 200);
    // It may be somebody's; modern servers would ignore it, and no other gets to see it.
    assert_eq!(one.last().header("mcp-session-id"), None);
}

#[tokio::test]
async fn sessions_and_weights_survive_a_kill() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(0, 100).await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let router = router.restart().await;
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.server(), "two");
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 100);
    // The file has not asked for anything since; once it does, it is meant.
    router.edit("[metrics]", "[split]\nsecondary = 30\n[metrics]");
    let router = router.restart().await;
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 30);
}

#[tokio::test]
async fn a_key_can_be_rotated() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let keys = |keys: &str| format!("[affinity]\n{keys}");
    let (old, new) =
        ("an old key of at least 32 characters", "a new key of at least 32 characters");
    let router = Router::start(
        &[one.address],
        &[two.address],
        &format!("\n{}", keys(&format!("key = \"{old}\""))),
    )
    .await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    router.edit(&format!("key = \"{old}\""), &format!("key = \"{new}\"\nprevious_key = \"{old}\""));
    router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.server(), "one");
    router.edit(&format!("previous_key = \"{old}\""), "");
    router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.status, 404);
}

/// A 2024-11-05 server: a stream that names its message URI, and then what was posted.
async fn legacy(uri: &'static str, posted: &Arc<Notify>) -> Server {
    let posted = Arc::clone(posted);
    Server::scripted(move |seen| {
        if seen.method == "GET" {
            let first = format!("event: endpoint\r\ndata: {uri}\r\n\r\n");
            let message = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
            let (cut, rest) = first.split_at(9);
            return vec![
                Step::Send(stream_head(&[]) + &chunk(cut)),
                Step::Send(chunk(rest)),
                Step::Wait(Arc::clone(&posted)),
                Step::Send(chunk(message)),
                Step::Wait(Arc::new(Notify::new())),
            ];
        }
        posted.notify_one();
        vec![Step::Send(answer(202, &[], ""))]
    })
    .await
}

#[tokio::test]
async fn the_2024_transport_keeps_to_its_server() {
    let posted = Arc::new(Notify::new());
    let one = legacy("/messages/?session_id=abc", &posted).await;
    let two = Server::mcp("two").await;
    let router = Router::start(&[one.address], &[two.address], "").await;
    let mut stream = Connection::open(router.address).await;
    stream.request("GET", "/sse", &[], "").await;
    assert_eq!(stream.head().await.status, 200);
    let event = stream.until("\n\n").await;
    let uri = event.strip_prefix("event: endpoint\ndata: ").unwrap().trim();
    assert!(uri.starts_with("/messages/?session_id=abc&tidegate=s"), "{uri}");
    router.split(0, 100).await;
    let mut client = Connection::open(router.address).await;
    client.request("POST", uri, &[], INITIALIZE).await;
    assert_eq!(client.answer().await.status, 202);
    assert_eq!(one.last().target, "/messages/?session_id=abc");
    assert!(stream.until("\"result\"").await.contains("event: message"));
    let explained = router.cli(&["explain", uri, "--json"]);
    assert!(String::from_utf8_lossy(&explained.stdout).contains("\"primary\""), "{explained:?}");
    client.request("POST", &uri.replace("abc", "abd"), &[], INITIALIZE).await;
    assert_eq!(client.answer().await.status, 404);
    assert!(two.seen().is_empty());
}

#[tokio::test]
async fn an_absolute_message_uri_gets_the_public_origin() {
    let posted = Arc::new(Notify::new());
    let one = legacy("http://mcp.example.com/message?sessionId=1", &posted).await;
    let router = Router::start(&[one.address], &[one.address], "").await;
    let mut stream = Connection::open(router.address).await;
    stream.request("GET", "/sse", &[("host", "mcp.example.com")], "").await;
    stream.head().await;
    let event = stream.until("\n\n").await;
    assert!(
        event.contains("data: http://mcp.example.com/message?sessionId=1&tidegate=s"),
        "{event}"
    );
}

#[tokio::test]
async fn new_sessions_are_spread_over_the_endpoints_of_an_arm() {
    let (a, b, c) = (Server::mcp("a").await, Server::mcp("b").await, Server::mcp("c").await);
    let router = Router::start(&[a.address, b.address, c.address], &[a.address], "").await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(post(router.address, &[], INITIALIZE).await.session());
    }
    for (server, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        assert!(server.seen().len() >= 5, "{name} got {}", server.seen().len());
    }
    for session in sessions {
        let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
        assert!(
            session.contains(&format!(".{}-", reply.server())),
            "{session} on {}",
            reply.server()
        );
    }
}

#[tokio::test]
async fn other_paths_go_to_the_stable_arm() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    router.split(0, 100).await;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/authorize?x=1", "/"] {
        get(router.address, path, &[]).await;
        assert_eq!(one.last().target, path);
    }
    assert!(two.seen().is_empty());
}

#[tokio::test]
async fn sessions_follow_their_server_into_the_other_arm() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 100").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let (a, b) = (one.address.to_string(), two.address.to_string());
    router.edit(&a, "third");
    router.edit(&b, &a);
    router.edit("third", &b);
    router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!(reply.server(), "two");
    assert!(
        String::from_utf8_lossy(&router.cli(&["explain", &session]).stdout).starts_with("primary")
    );
}

#[tokio::test]
async fn what_an_edited_configuration_overrode_does_not_come_back() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 0").await;
    router.split(50, 50).await;
    for (from, to) in [("= 0", "= 10"), ("= 10", "= 0")] {
        router.edit(&format!("secondary {from}"), &format!("secondary {to}"));
        router.admin("POST", "/v1/reload", serde_json::json!({})).await.unwrap();
    }
    let router = router.restart().await;
    let status = router.status().await.unwrap();
    assert_eq!((&status["split"]["secondary"], &status["revision"]), (&0.into(), &4.into()));
}
