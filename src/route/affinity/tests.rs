//! Where requests belong.

use http::{HeaderName, HeaderValue, Method as HttpMethod};
use tokio::time::Instant;

use super::super::Course;
use super::super::tests as fixture;
use super::*;
use crate::config::PrincipalSource;
use crate::dns::{Known, NoAddress};
use crate::mcp::Method;
use crate::mcp::classify::Paths;
use crate::names::{Arm, EndpointId, EndpointUrl};

const ONE: &str = "http://a:1/mcp";
const TWO: &str = "http://b:1/mcp";
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn table(weight: u8) -> Arc<RoutingTable> {
    fixture::table(&[ONE], &[TWO], weight, |config| {
        config.affinity.principal = vec![PrincipalSource::Authorization];
    })
}

/// Where a request belongs; the body of a POST says `method`.
fn found(
    table: &RoutingTable,
    request: &str,
    headers: &[(&str, &str)],
    method: &[u8],
) -> Result<Place, NoSession> {
    let (http, uri) = request.split_once(' ').unwrap();
    let (http, uri): (HttpMethod, Uri) = (http.parse().unwrap(), uri.parse().unwrap());
    let paths = Paths { mcp: "/mcp", sse: "/sse" };
    let headers = fixture::headers(headers);
    let mut call = Call::of(&http, uri.path(), &headers, paths, uri_tag(&uri).is_some());
    if call.kind == Kind::Post {
        call.method = Method::named(method);
    }
    place(table, &call, &headers, &uri, HOME)
}

/// A word for a place.
fn word(place: &Result<Place, NoSession>) -> String {
    match place {
        Ok(Place::Session(session)) => format!("{} {:?}", session.endpoint.url, session.upstream),
        Ok(Place::New) => "new".to_owned(),
        Ok(Place::Caller(_)) => "caller".to_owned(),
        Ok(Place::Stable) => "stable".to_owned(),
        Err(NoSession::Forged) => "forged".to_owned(),
        Err(NoSession::Gone) => "gone".to_owned(),
        Err(NoSession::Nameless) => "nameless".to_owned(),
        Err(NoSession::Ended) => "ended".to_owned(),
    }
}

const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const TOKEN: (&str, &str) = ("authorization", "Bearer a");

#[test]
fn sessions_end_with_their_arm_only_where_that_is_wanted() {
    let table = table(0);
    let session =
        |url: &str| table.keys.attach(EndpointId::of(Arm::Secondary, &url.parse().unwrap()), "x");
    let session = session(TWO).unwrap();
    for (sessions, word_then) in
        [(OnRevert::Keep, "http://b:1/mcp Id(\"x\")"), (OnRevert::End, "ended")]
    {
        let closed = Some(Closed { arm: Arm::Secondary, sessions });
        let shut = table.with_course(Course { closed, ..table.course() });
        let headers = [("mcp-session-id", session.as_str())];
        assert_eq!(word(&found(&shut, "POST /mcp", &headers, b"tools/call")), word_then);
    }
}

#[test]
fn a_session_waits_for_the_address_of_its_server() {
    let name: EndpointUrl = "dns+http://a:1/mcp".parse().unwrap();
    let found_at = |known: &str| {
        let table = fixture::table(&["dns+http://a:1/mcp"], &[TWO], 0, |_| {});
        let answer = known.parse().map(|address| vec![address]).map_err(|_| NoAddress::NotYet);
        let mut names = Known::default();
        names.learn([(&"a:1".to_owned(), &answer)], Instant::now());
        let table = table.with_names(Arc::new(names));
        let id = EndpointId::of(Arm::Primary, &name.at("10.0.0.1".parse().unwrap()));
        let session = table.keys.attach(id, "x").unwrap();
        word(&found(&table, "POST /mcp", &[("mcp-session-id", &session)], b"tools/call"))
    };
    assert_eq!(found_at(""), "nameless");
    assert_eq!(found_at("10.0.0.1"), "http://a:1/mcp (10.0.0.1) Id(\"x\")");
    assert_eq!(found_at("10.0.0.2"), "gone");
}

#[test]
fn only_a_session_has_a_name_at_its_server() {
    let table = table(50);
    let id = table.keys.attach(table.arms.primary.endpoints[0].id, "x").unwrap();
    for (headers, want) in [
        (&[("mcp-session-id", id.as_str())][..], Some(UpstreamSession::Id("x".into()))),
        (&[TOKEN], None),
        (&[], None),
    ] {
        let place = found(&table, "POST /mcp", headers, b"tools/call").unwrap();
        assert_eq!(place.upstream_session(), want.as_ref());
    }
}

#[test]
fn requests_without_a_session() {
    let table = table(50);
    for (request, headers, method, want) in [
        ("POST /mcp", &[][..], "tools/call", "new"),
        ("POST /mcp", &[TOKEN], "tools/call", "caller"),
        ("POST /mcp", &[TOKEN], "initialize", "new"),
        ("POST /mcp", &[TOKEN, MODERN], "initialize", "caller"),
        ("POST /mcp", &[MODERN, ("mcp-session-id", "x")], "tools/call", "new"),
        ("POST /mcp", &[("mcp-session-id", "x")], "initialize", "new"),
        ("POST /mcp", &[("mcp-session-id", "x")], "tools/call", "forged"),
        ("POST /mcp", &[("mcp-session-id", "")], "tools/call", "forged"),
        ("GET /mcp", &[("mcp-session-id", "x")], "", "forged"),
        ("DELETE /mcp", &[("mcp-session-id", "x")], "", "forged"),
        ("GET /sse", &[TOKEN, ("mcp-session-id", "x")], "", "new"),
        ("OPTIONS /mcp", &[("mcp-session-id", "x")], "", "stable"),
        ("GET /login", &[TOKEN, ("mcp-session-id", "x")], "", "stable"),
        ("HEAD /mcp", &[TOKEN], "", "stable"),
        ("POST /message?tidegate=x", &[], "tools/call", "forged"),
        ("POST /message?a&tidegate=", &[], "initialize", "forged"),
        ("POST /mcp?xtidegate=x&tidegate", &[], "tools/call", "new"),
    ] {
        let found = found(&table, request, headers, method.as_bytes());
        assert_eq!(word(&found), want, "{request} {headers:?} {method}");
    }
}

#[test]
fn a_tag_beats_weights_eras_and_callers() {
    for weight in [0, 100] {
        let table = table(weight);
        for arm in Arm::ALL {
            let endpoint = &table.arms.get(arm).endpoints[0];
            let own = table.keys.attach(endpoint.id, "own").unwrap();
            let minted = table.keys.mint(endpoint.id, [1; 16]);
            for headers in [&[][..], &[TOKEN], &[MODERN]] {
                for (id, upstream) in [(&own, "Id(\"own\")"), (&minted, "Unknown")] {
                    let headers = [headers, &[("mcp-session-id", id.as_str())]].concat();
                    for request in ["POST /mcp", "GET /mcp", "DELETE /mcp"] {
                        let found = found(&table, request, &headers, b"tools/call");
                        assert_eq!(word(&found), format!("{} {upstream}", endpoint.url));
                    }
                }
            }
        }
    }
}

#[test]
fn a_tag_of_an_endpoint_that_is_gone_says_so() {
    let (before, after) = (table(0), fixture::table(&["http://a:9/mcp"], &[TWO], 0, |_| {}));
    let id = before.keys.attach(before.arms.primary.endpoints[0].id, "own").unwrap();
    let headers = [("mcp-session-id", id.as_str())];
    assert_eq!(word(&found(&after, "POST /mcp", &headers, b"tools/call")), "gone");
    assert_eq!(word(&found(&after, "POST /mcp", &headers, b"initialize")), "new");
    let uri = tagged_uri(&before, &before.arms.primary.endpoints[0], "/message?a=1");
    assert_eq!(word(&found(&after, &format!("POST {uri}"), &[], b"tools/call")), "gone");
}

#[test]
fn a_tagged_uri_gives_back_what_it_was_made_of_wherever_the_tag_stands() {
    let table = table(0);
    let endpoint = &table.arms.primary.endpoints[0];
    for (given, back) in [
        ("/message", "/message"),
        ("/message?a=1&b=%26", "/message?a=1&b=%26"),
        ("/message?", "/message"),
        ("/message?a=1#part", "/message?a=1"),
    ] {
        let tagged = tagged_uri(&table, endpoint, given);
        let place = found(&table, &format!("POST {tagged}"), &[], b"initialize");
        assert_eq!(word(&place), format!("{ONE} Uri({back:?})"), "{given}");
    }
    let tagged = tagged_uri(&table, endpoint, "/message?a=1");
    let (_, tag) = tagged.split_once('&').unwrap();
    let moved = format!("POST /message?{tag}&a=1");
    assert_eq!(word(&found(&table, &moved, &[], b"")), format!("{ONE} Uri(\"/message?a=1\")"));
    let changed = format!("POST {}", tagged.replace("a=1", "a=2"));
    assert_eq!(word(&found(&table, &changed, &[], b"")), "forged");
}

#[test]
fn a_session_id_that_is_no_text_is_forged() {
    let table = table(0);
    let mut headers = HeaderMap::new();
    let name: HeaderName = "mcp-session-id".parse().unwrap();
    headers.insert(name, HeaderValue::from_bytes(b"1A.\xff").unwrap());
    let call = Call { era: Era::Legacy, kind: Kind::Post, method: Method::OTHER, by_uri: false };
    let found = place(&table, &call, &headers, &Uri::from_static("/mcp"), HOME);
    assert_eq!(word(&found), "forged");
}
