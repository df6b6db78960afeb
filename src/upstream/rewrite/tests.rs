//! What a server gets of a request, and a client of an answer.

use http::Request;

use super::*;
use crate::names::Arm;
use crate::route::tests as fixture;
use crate::upstream::forwarded::Peer;

const PRIMARY: &str = "http://10.1.1.1:3000/v1/mcp";
const PUBLIC: &str = "https://mcp.example.com";

/// A request as the primary gets it.
fn sent(
    target: &str,
    headers: &[(&str, &str)],
    session: Option<&UpstreamSession>,
    change: impl FnOnce(&mut Config),
) -> Parts {
    let table = fixture::table(&[PRIMARY], &["http://10.1.1.2:3000/mcp"], 0, change);
    let (mut from, ()) = Request::post(target).body(()).unwrap().into_parts();
    from.headers = fixture::headers(headers);
    let peer = Peer { address: "192.0.2.1:5".parse().unwrap(), secure: false };
    let client = Client::of(peer, &from.uri, &from.headers, &[]);
    let endpoint = &table.arms.primary.endpoints[0];
    let sent = request(&from, endpoint, session, &client, &table.config).body(()).unwrap();
    sent.into_parts().0
}

/// The headers of an answer as the client gets them.
fn passed(headers: &[(&str, &str)]) -> HeaderMap {
    let table = fixture::table(&[PRIMARY], &["http://10.1.1.2:3000/mcp"], 0, |_| {});
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.headers = fixture::headers(headers);
    response(&mut parts, &table.arms.primary.endpoints[0], PUBLIC, "/mcp", &table.config);
    parts.headers
}

const CONNECTION_ONLY: [(&str, &str); 13] = [
    ("connection", "keep-alive, X-Own"),
    ("connection", "x-other,,bad name"),
    ("x-own", "1"),
    ("x-other", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("proxy-authenticate", "Basic"),
    ("proxy-made-up", "x"),
    ("http2-settings", "AAMAAABk"),
    ("proxy-authorization", "Basic x"),
    ("te", "trailers"),
    ("trailer", "x-sum"),
    ("upgrade", "websocket"),
];

#[test]
fn what_belongs_to_a_connection_stays_on_it() {
    let kept = ("x-kept", "1");
    let all = [&CONNECTION_ONLY[..], &[("transfer-encoding", "chunked"), kept]].concat();
    let request = sent("/mcp", &all, None, |_| {}).headers;
    let answer = passed(&all);
    for (name, _) in CONNECTION_ONLY.iter().chain(&[("transfer-encoding", "")]) {
        assert!(!request.contains_key(*name) && !answer.contains_key(*name), "{name}");
    }
    assert_eq!(
        (&request["x-kept"], &answer["x-kept"]),
        (&"1".parse().unwrap(), &request["x-kept"])
    );
    assert!(answer["via"].to_str().unwrap().starts_with("1.1 tidegate-"));
    assert_eq!(answer.len(), 2);
}

#[test]
fn what_the_router_does_itself_is_not_asked_of_the_server() {
    let headers = [
        ("accept-encoding", "gzip"),
        ("expect", "100-continue"),
        ("content-length", "5"),
        ("accept", "application/json, text/event-stream"),
        ("x-twice", "a"),
        ("x-twice", "b"),
    ];
    let sent = sent("/mcp", &headers, None, |_| {});
    for name in ["accept-encoding", "expect", "content-length"] {
        assert!(!sent.headers.contains_key(name), "{name}");
    }
    assert_eq!(sent.headers["accept"], "application/json, text/event-stream");
    assert_eq!(sent.headers.get_all("x-twice").iter().count(), 2);
    assert_eq!((sent.method.as_str(), sent.version), ("POST", Version::HTTP_11));
}

#[test]
fn the_host_is_the_one_that_the_policy_says() {
    let host = |policy: HostPolicy, target: &str, headers: &[(&str, &str)]| {
        sent(target, headers, None, |config| config.host = policy).headers[HOST].clone()
    };
    let own = [("host", "mcp.example.com")];
    assert_eq!(host(HostPolicy::Preserve, "/mcp", &own), "mcp.example.com");
    assert_eq!(host(HostPolicy::Preserve, "http://h2.example/mcp", &[]), "h2.example");
    assert_eq!(host(HostPolicy::Preserve, "/mcp", &[]), "10.1.1.1:3000");
    assert_eq!(host(HostPolicy::Upstream, "/mcp", &own), "10.1.1.1:3000");
    let fixed = HostPolicy::Fixed(HeaderValue::from_static("localhost"));
    assert_eq!(host(fixed, "/mcp", &own), "localhost");
}

#[test]
fn cookies_that_came_apart_become_one() {
    let sent = sent("/mcp", &[("cookie", "a=1"), ("cookie", "b=2; c=3")], None, |_| {});
    let cookies: Vec<_> = sent.headers.get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[test]
fn the_server_gets_its_own_session_id_and_no_other() {
    let tagged = [("mcp-session-id", "1A.tag.own")];
    let id = |session: Option<&UpstreamSession>| {
        sent("/mcp", &tagged, session, |_| {}).headers.get(SESSION_ID).cloned()
    };
    let own = id(Some(&UpstreamSession::Id("own".to_owned()))).unwrap();
    assert_eq!(own, "own");
    assert!(own.is_sensitive());
    assert_eq!(id(Some(&UpstreamSession::Unknown)), None);
    assert_eq!(id(Some(&UpstreamSession::Uri("/message".to_owned()))), None);
    assert_eq!(id(None), None, "what no tag vouches for may be somebody else's");
}

#[test]
fn the_headers_of_an_arm_replace_the_clients() {
    let own = (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer ours"));
    let client = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let set = sent("/mcp", &client, None, |config| {
        config.arms.get_mut(Arm::Primary).headers = vec![own.clone()];
    });
    assert_eq!(set.headers.get_all(own.0).iter().collect::<Vec<_>>(), ["Bearer ours"]);
    let kept = sent("/mcp", &client[..1], None, |config| {
        config.arms.get_mut(Arm::Secondary).headers = vec![(COOKIE, own.1.clone())];
    });
    assert_eq!(kept.headers["authorization"], "Bearer a");
    assert!(!kept.headers.contains_key(COOKIE));
}

#[test]
fn the_mcp_path_becomes_the_endpoints_and_no_other_does() {
    let uri = UpstreamSession::Uri("/message?sessionId=1".to_owned());
    for (target, session, want) in [
        ("/mcp", None, "/v1/mcp"),
        ("/mcp/", None, "/v1/mcp/"),
        ("/mcp?a=b&c", None, "/v1/mcp?a=b&c"),
        ("http://host/mcp", None, "/v1/mcp"),
        ("/mcpx", None, "/mcpx"),
        ("/mcp/x", None, "/mcp/x"),
        (
            "/.well-known/oauth-protected-resource/mcp",
            None,
            "/.well-known/oauth-protected-resource/mcp",
        ),
        ("/a%2Fb/../c?x=%20", None, "/a%2Fb/../c?x=%20"),
        ("*", None, "*"),
        ("/message?sessionId=1&tidegate=sA.tag", Some(&uri), "/message?sessionId=1"),
    ] {
        assert_eq!(sent(target, &[], session, |_| {}).uri, want, "{target}");
    }
}

#[test]
fn a_location_of_the_servers_own_becomes_public() {
    for (location, want) in [
        ("http://10.1.1.1:3000/v1/mcp", "https://mcp.example.com/mcp"),
        ("http://10.1.1.1:3000/v1/mcp/?a=b#c", "https://mcp.example.com/mcp/?a=b#c"),
        ("http://10.1.1.1:3000/login", "https://mcp.example.com/login"),
        ("http://mcp.example.com/v1/mcp/", "https://mcp.example.com/mcp/"),
        ("/v1/mcp/", "/mcp/"),
        ("/login?next=%2F", "/login?next=%2F"),
        ("//elsewhere/v1/mcp", "//elsewhere/v1/mcp"),
        ("next", "next"),
        ("?a=b", "?a=b"),
        ("http://10.1.1.1:3001/v1/mcp", "http://10.1.1.1:3001/v1/mcp"),
        ("http://10.1.1.1/v1/mcp", "http://10.1.1.1/v1/mcp"),
        (
            "https://id.example/authorize?x=http://10.1.1.1:3000/v1/mcp",
            "https://id.example/authorize?x=http://10.1.1.1:3000/v1/mcp",
        ),
        ("no uri at all", "no uri at all"),
    ] {
        assert_eq!(passed(&[("location", location)])[LOCATION], want, "{location}");
    }
}

#[test]
fn a_callback_of_the_client_on_loopback_stays_the_clients() {
    let table =
        fixture::table(&["http://127.0.0.1:3000/mcp"], &["http://127.0.0.1:3001/mcp"], 0, |_| {});
    let endpoint = &table.arms.primary.endpoints[0];
    for (asked, location, want) in [
        (
            "/authorize",
            "http://127.0.0.1:3000/callback?code=x",
            "http://127.0.0.1:3000/callback?code=x",
        ),
        ("/authorize", "http://127.0.0.1:3000/authorize/", "https://mcp.example.com/authorize/"),
        ("/mcp", "http://127.0.0.1:3000/mcp/", "https://mcp.example.com/mcp/"),
        ("/authorize", "http://mcp.example.com/login", "https://mcp.example.com/login"),
    ] {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.headers = fixture::headers(&[("location", location)]);
        response(&mut parts, endpoint, PUBLIC, asked, &table.config);
        assert_eq!(parts.headers[LOCATION], want, "{asked} {location}");
    }
}

#[test]
fn a_length_that_is_not_the_answers_is_dropped() {
    let length = |headers: &[(&str, &str)]| passed(headers).get(CONTENT_LENGTH).cloned();
    assert_eq!(length(&[("content-length", "5")]).unwrap(), "5");
    assert_eq!(length(&[("content-length", "5"), ("transfer-encoding", "chunked")]), None);
    assert_eq!(length(&[("content-length", "5"), ("content-length", "5")]), None);
    assert_eq!(length(&[("content-length", "5, 5")]), None);
}
