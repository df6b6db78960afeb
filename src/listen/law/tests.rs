//! The verdicts, the same for every chunking; and that the library and the scanner agree on all
//! that passes.

use std::convert::Infallible;

use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Fault::{Coding, Field, Length, Line, LineEnd, Target, UnknownCoding};
use super::*;

/// What a scanner makes of bytes that come in pieces of this size: the verdicts, and the place
/// where a body broke.
fn scan(bytes: &[u8], piece: usize) -> (Vec<Result<Framing, Fault>>, Option<usize>) {
    let mut scanner = Scanner::default();
    let mut broken = None;
    for (number, part) in bytes.chunks(piece.max(1)).enumerate() {
        if let Err(at) = scanner.feed(part) {
            broken = Some(number * piece.max(1) + at);
            break;
        }
    }
    (std::iter::from_fn(|| scanner.next_verdict()).map(|it| it.0).collect(), broken)
}

#[track_caller]
fn check(bytes: impl AsRef<[u8]>, want: &[Result<Framing, Fault>], broken: Option<usize>) {
    let bytes = bytes.as_ref();
    for piece in [1, 2, 3, 7, bytes.len()] {
        let got = scan(bytes, piece);
        assert_eq!(got, (want.to_vec(), broken), "{:?}", String::from_utf8_lossy(bytes));
    }
}

const NONE: Result<Framing, Fault> = Ok(Framing::Length(0));
const CHUNKED: Result<Framing, Fault> = Ok(Framing::Chunked);

#[test]
fn heads() {
    let head = |lines: &str| format!("POST /mcp HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    for (lines, want) in [
        ("", NONE),
        ("content-length: 0\r\n", NONE),
        ("Content-LENGTH:\t5 \r\n", Ok(Framing::Length(5))),
        ("transfer-encoding:Chunked\r\n", CHUNKED),
        ("x: \t\x7e\u{e9}\r\nempty:\r\n", NONE),
        ("content-length: 5\r\ncontent-length: 5\r\n", Err(Length)),
        ("content-length: 5, 5\r\n", Err(Length)),
        ("content-length: +5\r\n", Err(Length)),
        ("content-length: -0\r\n", Err(Length)),
        ("content-length: 0x5\r\n", Err(Length)),
        ("content-length: 5 5\r\n", Err(Length)),
        ("content-length:\r\n", Err(Length)),
        ("content-length: 18446744073709551616\r\n", Err(Length)),
        ("content-length: 00000000000000000000000000000000005\r\n", Err(Length)),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", Err(Coding)),
        ("transfer-encoding: chunked\r\ncontent-length: 0\r\n", Err(Coding)),
        ("transfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Coding)),
        ("transfer-encoding: chunked, chunked\r\n", Err(Coding)),
        ("transfer-encoding: ,chunked\r\n", Err(Coding)),
        ("transfer-encoding:\r\n", Err(Coding)),
        ("transfer-encoding: \"chunked\"\r\n", Err(Coding)),
        ("transfer-encoding: chunked;q=1\r\n", Err(Coding)),
        ("transfer-encoding: gzip, chunked\r\n", Err(UnknownCoding)),
        ("transfer-encoding: xchunked\r\n", Err(UnknownCoding)),
        ("transfer-encoding: identity\r\n", Err(UnknownCoding)),
        ("transfer-encoding: chunked\u{b}\r\n", Err(Field)),
        ("transfer-encoding : chunked\r\n", Err(Field)),
        ("content-length\t: 5\r\n", Err(Field)),
        (" content-length: 5\r\n", Err(Field)),
        ("x: a\r\n b\r\n", Err(Field)),
        ("x: a\0b\r\n", Err(Field)),
        ("x: a\x7fb\r\n", Err(Field)),
        ("no colon\r\n", Err(Field)),
        (": x\r\n", Err(Field)),
        ("x\u{e9}: a\r\n", Err(Field)),
        ("x: a\n", Err(LineEnd)),
        ("x: a\rb: c\r\n", Err(LineEnd)),
        ("x: a\r\r\n", Err(LineEnd)),
        ("\n", Err(LineEnd)),
    ] {
        let (verdicts, broken) = scan(head(lines).as_bytes(), 1000);
        assert_eq!((verdicts.as_slice(), broken), (&[want][..], None), "{lines:?}");
        check(head(lines), &[want], None);
    }
}

#[test]
fn request_lines() {
    for (line, want) in [
        ("GET / HTTP/1.1\r\n", NONE),
        ("GET http://a/b?c HTTP/1.0\r\n", NONE),
        ("\r\nOPTIONS * HTTP/1.1\r\n", NONE),
        ("\r\n\r\nGET / HTTP/1.1\r\n", Err(Line)),
        ("\nGET / HTTP/1.1\r\n", Err(LineEnd)),
        ("GET /\r\n", Err(Line)),
        ("GET / HTTP/1.2\r\n", Err(Line)),
        ("GET / HTTP/2.0\r\n", Err(Line)),
        ("GET / http/1.1\r\n", Err(Line)),
        ("GET / HTTP/1.1 \r\n", Err(Line)),
        ("GET / HTTP/1.11\r\n", Err(Line)),
        ("GET / HTTP/1.1\n", Err(LineEnd)),
        ("GET  / HTTP/1.1\r\n", Err(Target)),
        ("GET /  HTTP/1.1\r\n", Err(Line)),
        ("GET\t/ HTTP/1.1\r\n", Err(Line)),
        (" GET / HTTP/1.1\r\n", Err(Line)),
        ("G@T / HTTP/1.1\r\n", Err(Line)),
        ("GET /a#b HTTP/1.1\r\n", Err(Target)),
        ("GET /a\\b HTTP/1.1\r\n", Err(Target)),
        ("GET /\u{e9} HTTP/1.1\r\n", Err(Target)),
        ("GET /\0 HTTP/1.1\r\n", Err(Target)),
        ("PRI * HTTP/2.0\r\n", Err(Line)),
    ] {
        check(format!("{line}host: a\r\n\r\n"), &[want], None);
    }
    check("A".repeat(100), &[Err(Line)], None);
    check("", &[], None);
}

#[test]
fn bodies() {
    let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let start = chunked.len();
    for (body, broken) in [
        ("0\r\n\r\n", None),
        ("5\r\nhello\r\n00\r\n\r\n", None),
        ("A;name=value\r\n0123456789\r\n0\r\nx-sum: 1\r\ny:\r\n\r\n", None),
        ("\r\n", Some(0)),
        (" 5\r\n", Some(0)),
        ("5 \r\n", Some(1)),
        ("5;\r\n", Some(2)),
        ("5;a\n", Some(3)),
        ("5;a\rb", Some(4)),
        ("5\nhello", Some(1)),
        ("0x5\r\n", Some(1)),
        ("-1\r\n", Some(0)),
        ("+5\r\n", Some(0)),
        ("5,5\r\n", Some(1)),
        ("g\r\n", Some(0)),
        ("1000000000000000\r\n", Some(15)),
        ("5\r\nhello5\r\n", Some(8)),
        ("5\r\nhello\n", Some(8)),
        ("5\r\nhello\r5", Some(9)),
        ("0\r\n\n", Some(3)),
        ("0\r\nx: a\n", Some(7)),
        ("0\r\nx : a\r\n", Some(4)),
        ("0\r\n x: a\r\n", Some(3)),
        ("0\r\nx\r\n", Some(4)),
        ("0\r\nx: a\r\n\rb", Some(10)),
    ] {
        check(format!("{chunked}{body}"), &[CHUNKED], broken.map(|at| start + at));
    }
    check(format!("{chunked}1;{}\r\n", "a".repeat(257)), &[CHUNKED], Some(start + 258));
    let trailer = format!("{chunked}0\r\nx: {}\r\n", "a".repeat(9000));
    assert_eq!(scan(trailer.as_bytes(), 512).1, Some(start + 3 + 8192));
    let name = format!("{chunked}0\r\n{}", "a".repeat(9000));
    assert_eq!(scan(name.as_bytes(), 512).1, Some(start + 3 + 8192));
}

#[test]
fn requests_in_a_row_have_a_verdict_each() {
    let good = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nGET\r\n\
                POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n\
                GET / HTTP/1.1\r\n\r\n";
    check(good, &[Ok(Framing::Length(3)), CHUNKED, NONE], None);
    let bad = "GET / HTTP/1.1\r\nx\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    check(format!("{good}{bad}"), &[Ok(Framing::Length(3)), CHUNKED, NONE, Err(Field)], None);
}

/// A request that the library handed out: its verdict, and its body if that came to an end.
type Handed = (Option<Verdict>, Option<Vec<u8>>);

/// What the library hands out of these bytes, through the scanner.
async fn hand_out(bytes: Vec<u8>, piece: usize) -> Vec<Handed> {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let handed = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&handed);
    let service = service_fn(move |request: Request<Incoming>| {
        let noted = Rc::clone(&noted);
        async move {
            let verdict = request.extensions().get::<Verdict>().copied();
            let body = request.into_body();
            let said = body.size_hint().exact();
            if let Some(Verdict(Ok(framing))) = verdict {
                let read = said.map_or(Framing::Chunked, Framing::Length);
                assert_eq!(read, framing);
            }
            let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            noted.borrow_mut().push((verdict, body));
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let (stream, service) = watch(server, service);
    // So that the end of what is said does not end the service.
    let mut builder = http1::Builder::new();
    let serve = builder.half_close(true).serve_connection(TokioIo::new(stream), service);
    let talk = async {
        for part in bytes.chunks(piece) {
            if client.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let (_, ()) = tokio::join!(serve, talk);
    handed.take()
}

/// Pieces of requests, good and bad, that chance puts together.
const PIECES: [&str; 34] = [
    "GET / HTTP/1.1\r\n",
    "POST /mcp HTTP/1.1\r\n",
    "POST /mcp HTTP/1.0\r\n",
    "POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
    "POST /mcp HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /x HTTP/1.1\r\nhost: b\r\n\r\n",
    "host: a\r\n",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "content-length: +5\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding:\x0bchunked\r\n",
    "connection: close\r\n",
    "connection: keep-alive\r\n",
    "upgrade: h2c\r\n",
    "expect: 100-continue\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ";",
    "hello",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5\nhello\n",
    "ffffffffffffffff\r\n",
    "0\r\n\r\n",
    "0\r\nx-trailer: 1\r\n\r\n",
    "0\n\n",
    "\0",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// A good request: its bytes, its framing, its body.
fn good() -> impl Strategy<Value = (Vec<u8>, Framing, Vec<u8>)> {
    let body = prop::collection::vec(any::<u8>(), 0..90);
    (body, 0..30_usize, any::<bool>(), any::<bool>()).prop_map(|(body, piece, spaced, extended)| {
        let colon = if spaced { ": \t" } else { ":" };
        let head = |field: String| format!("POST /x?y HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n");
        if piece == 0 {
            let head = head(format!("Content-Length{colon}{}", body.len()));
            return ([head.as_bytes(), &body].concat(), Framing::Length(body.len() as u64), body);
        }
        let mut bytes = head(format!("Transfer-Encoding{colon}Chunked ")).into_bytes();
        let extension = if extended { ";a=\"b c\"" } else { "" };
        for part in body.chunks(piece) {
            bytes.extend(format!("0{:X}{extension}\r\n", part.len()).bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        bytes.extend(if extended { &b"00\r\nx-sum:1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
        (bytes, Framing::Chunked, body)
    })
}

proptest! {
    #[test]
    fn good_requests_pass_whole(all in prop::collection::vec(good(), 1..5), piece in 1..60_usize) {
        let bytes = all.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handed = runtime.block_on(hand_out(bytes, piece));
        let want: Vec<Handed> =
            all.into_iter().map(|(_, framing, body)| (Some(Verdict(Ok(framing))), Some(body))).collect();
        prop_assert_eq!(handed, want);
    }

    #[test]
    fn every_chunking_gives_the_same(bytes in soup(), piece in 1..40_usize) {
        prop_assert_eq!(scan(&bytes, piece), scan(&bytes, bytes.len()));
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        scan(&bytes, 7);
    }

    /// Whatever passes here, the library reads as it is read here: the heads that it hands out are
    /// the first ones of the scanner's, and no body is whole that the scanner found broken. A head
    /// without a verdict can only follow one at fault.
    #[test]
    fn the_library_agrees(bytes in soup(), piece in 1..60_usize) {
        let (verdicts, broken) = scan(&bytes, bytes.len());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handed = runtime.block_on(hand_out(bytes.clone(), piece));
        for (number, (verdict, body)) in handed.iter().enumerate() {
            match verdict {
                Some(verdict) => prop_assert_eq!(verdict.0, verdicts[number]),
                None => prop_assert!(verdicts.last().is_none_or(Result::is_err)),
            }
            let is_last = number + 1 == verdicts.len();
            if let (Some(Verdict(Ok(_))), true, true) = (verdict, is_last, broken.is_some()) {
                prop_assert_eq!(body, &None);
            }
            if let (Some(Verdict(Ok(Framing::Length(length)))), Some(body)) = (verdict, body) {
                prop_assert_eq!(body.len() as u64, *length);
            }
        }
    }
}
