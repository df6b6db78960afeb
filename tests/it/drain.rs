//! Draining an arm: no new work at any price, what it still has to do, when it can be stopped.

use serde_json::json;

use crate::support::{INITIALIZE, Router, Server, WHOAMI, delete, nobody, post, said};

#[tokio::test]
async fn a_drained_arm_ends_what_it_has_and_gets_nothing_new() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 100").await;
    let session = post(router.address, &[], INITIALIZE).await.session();
    let early = router.cli(&["drain", "secondary", "--reason", "update"]);
    assert_eq!(early.status.code(), Some(2), "{}", said(&early));
    assert!(said(&early).contains("1 sessions in use"), "{}", said(&early));
    let header = [("mcp-session-id", session.as_str())];
    assert!(post(router.address, &header, WHOAMI).await.text().contains("two"), "it stays there");
    let fresh = post(router.address, &[], INITIALIZE).await.session();
    let moved = post(router.address, &[("mcp-session-id", fresh.as_str())], WHOAMI).await;
    assert!(moved.text().contains("one"), "{}", moved.text());
    for refused in
        [&["set-traffic-split", "secondary:10"][..], &["rollout", "start"], &["drain", "primary"]]
    {
        let output = router.cli(refused);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    }
    assert!(said(&router.cli(&["status"])).contains("the secondary is DRAINED"));
    delete(router.address, &session).await;
    let safe = router.cli(&["drain", "--wait", "--timeout", "20s"]);
    assert_eq!(safe.status.code(), Some(0), "{}", said(&safe));
    assert!(said(&safe).contains("tidegate stop secondary"), "{}", said(&safe));
    let events = router.admin("GET", "/v1/events?after=0", json!({})).await.unwrap();
    let of = |event: &str| {
        events["events"].as_array().unwrap().iter().filter(|it| it["event"] == event).count()
    };
    assert_eq!(of("drain"), 1, "{events}");
}

#[tokio::test]
async fn nobody_stands_in_for_the_stable_arm_while_it_drains() {
    let two = Server::mcp("two").await;
    let router = Router::start(&[nobody().await], &[two.address], "").await;
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 200);
    assert_eq!(router.cli(&["drain", "secondary"]).status.code(), Some(2));
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 503);
    let router = router.restart().await;
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 503, "a restart keeps it");
    assert_eq!(router.cli(&["undrain"]).status.code(), Some(0));
    assert_eq!(post(router.address, &[], INITIALIZE).await.status, 200);
    let again = router.cli(&["undrain"]);
    assert!(said(&again).contains("the secondary is not drained"), "{}", said(&again));
}

#[tokio::test]
async fn an_edited_configuration_opens_nothing_that_is_drained() {
    let (one, two) = (Server::mcp("one").await, Server::mcp("two").await);
    let router = Router::start(&[one.address], &[two.address], "[split]\nsecondary = 20").await;
    assert_eq!(router.cli(&["drain", "secondary"]).status.code(), Some(0));
    router.edit("secondary = 20", "secondary = 30");
    let refused = router.cli(&["reload"]);
    assert!(said(&refused).contains("tidegate undrain secondary"), "{}", said(&refused));
    let router = router.restart().await;
    assert_eq!(router.status().await.unwrap()["split"]["secondary"], 0);
}
