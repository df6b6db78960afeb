//! What reaches the server and what reaches the client.

use crate::support::{INITIALIZE, Router, Server, Step, WHOAMI, delete, post};

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    assert!(session.starts_with('1') && session.ends_with(".one-0"), "{session}");
    let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
    assert_eq!((reply.status, reply.server()), (200, "one".to_owned()));
    assert_eq!(reply.session(), session);
    assert_eq!(one.last().header("mcp-session-id"), Some("one-0"));
    assert_eq!(delete(router.address, &session).await.status, 200);
    assert_eq!(
        (one.last().method.as_str(), one.last().header("mcp-session-id")),
        ("DELETE", Some("one-0"))
    );
    assert!(two.seen().is_empty());
}

#[tokio::test]
async fn a_header_cannot_make_a_tool_run_twice() {
    let dying = || Server::scripted(|_| vec![Step::Close]);
    let (one, two) = (dying().await, dying().await);
    let router = Router::start(&[one.address], &[two.address], "").await;
    let lie = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    assert_eq!(post(router.address, &lie, WHOAMI).await.status, 502);
    assert_eq!(one.seen().len() + two.seen().len(), 1);
    let failed = router.metric("tidegate_failed_attempts_total", &["primary", "lost"]).await;
    assert!((failed - 1.0).abs() < 0.1, "{failed}");
}
