//! Streams in pieces: what is not rewritten comes out as it went in, however it was cut.

use std::collections::VecDeque;
use std::task::Waker;

use http::Uri;
use proptest::prelude::*;

use super::super::parting::Carries;
use super::*;
use crate::mcp::{Call, Era, Kind, Method};
use crate::names::Arm;
use crate::route::affinity::{Place, UpstreamSession, place};
use crate::route::tests as fixture;

/// A body of these pieces.
#[derive(Debug)]
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn stay() -> Stay {
    Stay::new(&Rc::default(), Carries::Answer)
}

fn uri() -> MessageUri {
    let table = fixture::table(&["http://10.1.1.1:3000/mcp"], &["http://10.1.1.2/mcp"], 0, |_| {});
    let endpoint = Arc::clone(&table.arms.get(Arm::Primary).endpoints[0]);
    let base = Url::parse("http://10.1.1.1:3000/sse").unwrap();
    MessageUri { table, endpoint, base, origin: "https://mcp.example.com".to_owned(), stream: None }
}

/// What comes out of a stream that is cut into pieces of these sizes, again and again.
fn through(stream: &[u8], sizes: &[usize], uri: Option<MessageUri>) -> Vec<u8> {
    let (mut pieces, mut rest, mut sizes) = (VecDeque::new(), stream, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        pieces.push_back(Bytes::copy_from_slice(piece));
        rest = later;
    }
    let mut events = Events::stream(Pieces(pieces), None, uri, stay());
    let (mut out, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut events).poll_frame(&mut cx) {
        out.extend_from_slice(&frame.into_data().unwrap());
    }
    assert!(events.is_end_stream());
    out
}

#[track_caller]
fn check(stream: &str, want: impl Fn(&str) -> String) {
    let tagged = tagged_uri(&uri().table, &uri().endpoint, "/message?a=1");
    for size in [1, 2, 3, 7, 1000] {
        let out = String::from_utf8(through(stream.as_bytes(), &[size], Some(uri()))).unwrap();
        assert_eq!(out, want(&tagged), "{stream:?} by {size}");
    }
}

#[test]
fn only_the_first_event_is_made_ours() {
    let own = "event: endpoint\ndata: /message?a=1\n\n";
    check(own, |tagged| format!("event: endpoint\ndata: {tagged}\n\n"));
    check("data:/message?a=1 \nevent:endpoint\n\n", |tagged| {
        format!("event: endpoint\ndata: {tagged}\n\n")
    });
    let twice = format!(": hi\n\nretry: 5\n\n{own}data: 1\n\n{own}");
    check(&twice, |tagged| {
        format!(": hi\n\nretry: 5\n\nevent: endpoint\ndata: {tagged}\n\ndata: 1\n\n{own}")
    });
    check("event: endpoint\r\ndata: /message?a=1\r\n\r\ndata: 1\r\n\r\n", |tagged| {
        format!("event: endpoint\ndata: {tagged}\n\n\ndata: 1\r\n\r\n")
    });
    check(&format!("\u{feff}{own}"), |tagged| format!("event: endpoint\ndata: {tagged}\n\n"));
    check(&format!("\u{feff}: hi\n\n{own}"), |tagged| {
        format!("\u{feff}: hi\n\nevent: endpoint\ndata: {tagged}\n\n")
    });
    for other in [
        "\u{feff}event: endpoint\n\n".to_owned(),
        format!("data: 1\n\n{own}"),
        "event: endpoint\ndata: http://elsewhere/message\n\n".to_owned(),
        "event: endpoint\ndata: /message?a=1\n".to_owned(),
        format!("event: endpoint\ndata: /{}\n\n", "a".repeat(9000)),
        String::new(),
    ] {
        check(&other, |_| other.clone());
    }
}

#[test]
fn message_uris() {
    let uri = uri();
    let tag = |path: &str| tagged_uri(&uri.table, &uri.endpoint, path);
    let public = |path: &str| Some(format!("https://mcp.example.com{}", tag(path)));
    for (given, want) in [
        ("/message?a=1", Some(tag("/message?a=1"))),
        ("/message", Some(tag("/message"))),
        ("message?a=1", Some(tag("/message?a=1"))),
        ("?a=1", Some(tag("/sse?a=1"))),
        ("http://10.1.1.1:3000/message", public("/message")),
        ("http://mcp.example.com/message", public("/message")),
        ("//10.1.1.1:3000/message", Some(tag("/message"))),
        ("http://10.1.1.1:3001/message", None),
        ("//elsewhere/message", None),
        ("https://elsewhere/message", None),
        ("http://[", None),
    ] {
        assert_eq!(uri.public(given), want, "{given}");
    }
}

#[test]
fn a_message_uri_leads_back_to_where_it_came_from() {
    let uri = uri();
    let call = Call { era: Era::Legacy, kind: Kind::Post, method: Method::OTHER, by_uri: true };
    for given in ["/message?a=1", "/message", "/m/?session_id=x&b=%20", "/?", "/a b?\u{e9}"] {
        let public: Uri = uri.public(given).unwrap().parse().unwrap();
        let home = [127, 0, 0, 1].into();
        let found = place(&uri.table, &call, &fixture::headers(&[]), &public, home).unwrap();
        let Place::Session(session) = found else { panic!("{given}: {found:?}") };
        assert_eq!(session.endpoint.id, uri.endpoint.id);
        let UpstreamSession::Uri(back) = session.upstream else { panic!("{given}") };
        let joined = uri.base.join(given).unwrap();
        let own = &joined[url::Position::BeforePath..];
        assert_eq!(back, own.strip_suffix('?').unwrap_or(own), "{given}");
    }
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("event: endpoint\n".to_owned()),
        Just("data: /message\n".to_owned()),
        "(data|id|event|retry|)(: ?[a-z/☃]{0,9})?(\n|\r\n|\r)",
        "[a-z:\n ]{0,5}",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn what_is_not_rewritten_passes_unchanged(
        stream in lines(), sizes in proptest::collection::vec(1_usize..9, 1..5),
    ) {
        prop_assert_eq!(&through(stream.as_bytes(), &sizes, None), stream.as_bytes());
        let other = format!("data: 1\n\n{stream}");
        prop_assert_eq!(&through(other.as_bytes(), &sizes, Some(uri())), other.as_bytes());
    }

    #[test]
    fn what_is_rewritten_is_the_same_for_every_cut(
        stream in lines(), sizes in proptest::collection::vec(1_usize..9, 1..5),
    ) {
        let whole = through(stream.as_bytes(), &[1000], Some(uri()));
        prop_assert_eq!(through(stream.as_bytes(), &sizes, Some(uri())), whole);
    }
}

#[tokio::test(start_paused = true)]
async fn comments_come_in_silence_and_between_events_only() {
    /// Pieces with silence after them.
    struct Silent(Pieces);
    impl Body for Silent {
        type Data = Bytes;
        type Error = AnswerFault;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
            match Pin::new(&mut self.0).poll_frame(cx) {
                Poll::Ready(None) => Poll::Pending,
                other => other,
            }
        }
    }
    let after = Duration::from_secs(15);
    for (piece, comment) in [("data: 1\n\n", true), ("data: 1\n", false), (": hi", false)] {
        let silent = Silent(Pieces([Bytes::from(piece)].into()));
        let mut events = Events::stream(silent, Some(after), None, stay());
        let mut next = async || {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut events).poll_frame(cx));
            let frame = tokio::time::timeout(2 * after, frame).await.ok()?;
            frame.map(|frame| frame.unwrap().into_data().unwrap())
        };
        assert_eq!(next().await.unwrap(), piece);
        let started = Instant::now();
        assert_eq!(next().await, comment.then_some(COMMENT), "{piece}");
        assert_eq!(started.elapsed().as_secs(), if comment { 15 } else { 30 });
    }
}
