//! What passes, down to the byte: the one form in which a server gets it, and what goes back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Answer, Scene};
use crate::support::{Router, Server, Step, WHOAMI, eventually, post as call};

/// A request's lines behind the first, sorted, and its body.
fn parts(text: &str) -> (String, Vec<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.split("\r\n").map(str::to_owned);
    let first = lines.next().unwrap_or_default();
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    (first, lines, body.to_owned())
}

/// That these bytes reach the server as this first line, these lines besides those that every
/// request has, and this body.
async fn check(scene: &Scene, bytes: &str, first: &str, lines: &[&str], body: &str) -> Vec<Answer> {
    let heard = scene.send(bytes.as_bytes()).await;
    let (got_first, got_lines, got_body) = parts(&scene.server.take());
    let mut want: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    want.extend(
        [
            "forwarded: for=127.0.0.1;proto=http;host=\"a\"",
            "host: a",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: http",
        ]
        .map(str::to_owned),
    );
    for (start, usual) in [("via", "via: 1.1 tidegate-SELF"), ("x-request-id", "x-request-id: NEW")]
    {
        if !lines.iter().any(|line| line.starts_with(start)) {
            want.push(usual.to_owned());
        }
    }
    want.sort();
    assert_eq!((got_first.as_str(), got_lines, got_body.as_str()), (first, want, body), "{bytes}");
    heard
}

#[tokio::test]
async fn what_passes_has_one_form() {
    let scene = Scene::with("[http]\nget_body = \"pass\"\nunderscores = \"drop\"").await;
    let get = |target: &str, lines: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: a\r\n{lines}connection: close\r\n\r\n")
    };
    let first = "GET /x HTTP/1.1";
    check(&scene, &get("/x", ""), first, &[], "").await;
    check(&scene, &("\r\n".to_owned() + &get("/x", "")), first, &[], "").await;
    check(&scene, &get("http://A/x", ""), first, &[], "").await;
    check(&scene, &get("/x?a=b%23&c", ""), "GET /x?a=b%23&c HTTP/1.1", &[], "").await;
    check(&scene, &get("//b/../x", ""), "GET //b/../x HTTP/1.1", &[], "").await;
    check(&scene, &get("*", "").replace("GET", "OPTIONS"), "OPTIONS * HTTP/1.1", &[], "").await;
    check(&scene, &get("/x", "x:  a\t b \t\r\n"), first, &["x: a\t b"], "").await;
    check(&scene, &get("/x", "X_Y: a\r\nx-y: b\r\n"), first, &["x-y: b"], "").await;
    // What belongs to the connection stays on it.
    let hops = "upgrade: websocket\r\nconnection: upgrade, http2-settings, x-own\r\nx-own: 1\r\n\
                http2-settings: AAMAAABk\r\nkeep-alive: timeout=5\r\nproxy-authorization: Basic x\r\n\
                proxy-connection: keep-alive\r\nproxy-made-up: x\r\nte: trailers, gzip\r\n\
                trailer: x\r\nexpect: 100-continue\r\n";
    let heard = check(&scene, &get("/x", hops), first, &[], "").await;
    assert_eq!(heard.last().unwrap().status, 200, "never 101");
    check(&scene, &get("/x", "upgrade: h2c\r\n"), first, &[], "").await;
    // Who was there before, and who asks.
    let before = ["via: 1.0 before", "via: 1.1 tidegate-SELF", "x-request-id: a.B_1-c"];
    let lines = format!("{}\r\n{}\r\n", before[0], before[2]);
    let heard = check(&scene, &get("/x", &lines), first, &before, "").await;
    assert_eq!(heard[0].all("x-request-id"), ["a.b_1-c"], "heads are in lower case here");
    check(&scene, &get("/x", "x-request-id: a b\r\n"), first, &[], "").await;
    check(&scene, &get("/x", "x-request-id: a\r\nx-request-id: b\r\n"), first, &[], "").await;
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    check(
        &scene,
        &get("/x", &format!("{trace}\r\ntracestate: a=b\r\n")),
        first,
        &[trace, "tracestate: a=b"],
        "",
    )
    .await;
    check(&scene, &get("/x", &format!("{trace}-x\r\ntracestate: a=b\r\n")), first, &[], "").await;
    check(&scene, &get("/x", &format!("{trace}\r\n{trace}\r\n")), first, &[], "").await;
    let old = "GET /x HTTP/1.0\r\nhost: a\r\n\r\n";
    check(&scene, old, first, &["via: 1.0 tidegate-SELF"], "").await;
}

#[tokio::test]
async fn bodies_pass_in_one_form() {
    let scene = Scene::with("[http]\nget_body = \"pass\"").await;
    let post = |lines: &str, body: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}\
             connection: close\r\n\r\n{body}"
        )
    };
    let (length, kind) =
        (format!("content-length: {}", WHOAMI.len()), "content-type: application/json");
    let first = "POST /mcp HTTP/1.1";
    let (start, end) = WHOAMI.split_at(30);
    let chunks = format!(
        "1E;name=value;b=\"c d\"\r\n{start}\r\n00{:x}\r\n{end}\r\n000\r\nhost: b\r\n\
         content-length: 3\r\nx-trailer: 1\r\n\r\n",
        end.len()
    );
    for (lines, body) in [
        (format!("{length}\r\n"), WHOAMI),
        (format!("Content-LENGTH:\t{}  \r\n", WHOAMI.len()), WHOAMI),
        (format!("expect: 100-Continue\r\n{length}\r\n"), WHOAMI),
        ("transfer-encoding: Chunked\r\n".to_owned(), &chunks),
    ] {
        let heard = check(&scene, &post(&lines, body), first, &[kind, &length], WHOAMI).await;
        let statuses: Vec<_> = heard.iter().map(|it| it.status).collect();
        assert_eq!(statuses.last(), Some(&200));
        assert_eq!(statuses.contains(&100), lines.contains("expect"));
    }
    let old = post(&format!("{length}\r\n"), WHOAMI).replace("HTTP/1.1", "HTTP/1.0");
    check(&scene, &old, first, &[kind, &length, "via: 1.0 tidegate-SELF"], WHOAMI).await;
    let get = "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab";
    check(&scene, get, "GET /x HTTP/1.1", &["content-length: 2"], "ab").await;
    let chunked = get.replace("content-length: 2", "transfer-encoding: chunked");
    let chunked = chunked.replace("\r\n\r\nab", "\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    let line = ["transfer-encoding: chunked"];
    check(&scene, &chunked, "GET /x HTTP/1.1", &line, "2\r\nab\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn good_requests_in_a_row_are_all_answered_in_front_of_a_bad_one() {
    let scene = Scene::with("").await;
    let post = |lines: &str, body: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}\r\n{body}"
        )
    };
    let by_length = post(&format!("content-length: {}\r\n", WHOAMI.len()), WHOAMI);
    let chunk = format!("{:x}\r\n{WHOAMI}", WHOAMI.len());
    let by_chunks = post("transfer-encoding: chunked\r\n", &format!("{chunk}\r\n0\r\n\r\n"));
    let get = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    for bad in [
        post("transfer-encoding: chunked\r\ncontent-length: 3\r\n", "0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", &format!("{chunk}\n0\r\n\r\n")),
    ] {
        let all = [&by_length, &by_chunks, get, &by_chunks, &by_length, &bad, get].concat();
        let heard = scene.send(all.as_bytes()).await;
        let statuses: Vec<_> = heard.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 400]);
        assert_eq!(heard[5].reason(), "bad_framing");
        assert_eq!(scene.server.take().matches(" HTTP/1.1\r\n").count(), 5);
    }
}

#[tokio::test]
async fn answers_leave_behind_what_was_the_connections() {
    let scene = Scene::with("").await;
    let heard = scene.send(b"GET /x HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let answer = &heard[0];
    for name in ["keep-alive", "x-hop", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.all(name), [""; 0], "{name}");
    }
    assert_eq!(answer.all("access-control-allow-origin"), ["*"], "the servers' business");
    assert_eq!(answer.all("x-request-id")[0].len(), 36);
    let via = answer.all("via");
    assert_eq!((via.len(), via[0]), (2, "1.0 behind"));
    assert!(via[1].starts_with("1.1 tidegate-"), "{via:?}");
    let refused = scene.send(b"PUT /mcp HTTP/1.0\r\nhost: a\r\nx-request-id: mine\r\n\r\n").await;
    assert_eq!(refused[0].all("x-request-id"), ["mine"]);
    assert!(refused[0].body.contains(r#""request_id":"mine""#), "{}", refused[0].body);
}

#[tokio::test]
async fn what_a_server_says_beside_its_answer_is_dropped() {
    let server = Server::scripted(|_| {
        let text = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\
                    trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n";
        vec![Step::Send(text.to_owned())]
    })
    .await;
    let router = Router::start(&[server.address], &[server.address], "").await;
    let mut stream = TcpStream::connect(router.address).await.unwrap();
    let ask = "GET /x HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\n2\r\nab\r\n0\r\n\r\n"), "{heard}");
    assert!(!heard.contains("trailer") && !heard.contains("x-sum"), "{heard}");
}

#[tokio::test]
async fn a_request_that_comes_round_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let router = Router::start(&[relay], &[relay], "").await;
    let to = router.address;
    let task = tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let reply = call(router.address, &[], WHOAMI).await;
    assert_eq!(reply.status, 508, "{}", reply.text());
    assert_eq!(reply.json()["error"]["data"]["reason"], "loop");
    assert!(reply.text().contains("an endpoint of it leads back"), "{}", reply.text());
    task.abort();
}

#[tokio::test]
async fn the_access_log_names_the_request() {
    let settings = "\n[log]\naccess = \"on\"\nformat = \"json\"";
    let scene = Scene::with(settings).await;
    let request = "GET /x HTTP/1.0\r\nhost: a\r\nx-request-id: find-me\r\n\r\n";
    assert_eq!(scene.send(request.as_bytes()).await[0].status, 200);
    eventually("its line", async || {
        scene.router.log().contains(r#""request_id":"find-me""#).then_some(())
    })
    .await;
}
