//! Clients that send what costs them nothing: each flood is ended soon or takes nothing, and good
//! clients are served meanwhile.

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, Http2, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE,
    frame, head, settings,
};
use crate::support::{MODERN, Router, Server, WHOAMI, nobody, post};

/// Frames that nobody needs so many of.
const MANY: u32 = 200_000;

struct Flood {
    name: &'static str,
    /// What is sent before it.
    start: Vec<u8>,
    /// What is sent again and again.
    piece: fn(u32) -> Vec<u8>,
    /// How many of those may pass at most, beside what is in the sockets.
    most: u32,
    /// It is our own counting that ends it.
    counted: bool,
}

/// The stream of the nth request.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

fn open(number: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream(number), &head("POST"))
}

fn floods() -> Vec<Flood> {
    let flood = |name, piece, most, counted| Flood { name, start: vec![], piece, most, counted };
    let with_stream = |name, piece, most, counted| Flood {
        start: open(0, 0),
        ..flood(name, piece, most, counted)
    };
    vec![
        flood("PING", |_| frame(PING, 0, 0, b"12345678"), 600, true),
        flood("PING acknowledged", |_| frame(PING, 1, 0, b"12345678"), 600, true),
        flood("SETTINGS", |_| settings(&[(4, 65_535)]), 600, true),
        flood("empty SETTINGS", |_| settings(&[]), 600, true),
        flood("PRIORITY", |n| frame(PRIORITY, 0, stream(n), &[0, 0, 0, 0, 1]), 600, true),
        flood("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 600, true),
        flood("unknown", |_| frame(99, 0, 0, &[0; 100]), 600, true),
        with_stream("empty DATA", |_| frame(DATA, 0, 1, b""), 600, false),
        with_stream("tiny DATA", |_| frame(DATA, 0, 1, b"{"), 200_000, false),
        flood("large frames", |_| frame(99, 0, 0, &[0; 16_385]), 10, true),
        flood(
            "rapid reset",
            |n| [open(n, 1), frame(RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat(),
            300,
            false,
        ),
        flood(
            "MadeYouReset",
            |n| [open(n, 0), frame(WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat(),
            2000,
            false,
        ),
        Flood {
            start: frame(HEADERS, 0, 1, &head("POST")),
            ..flood("CONTINUATION", |_| frame(CONTINUATION, 0, 1, &[]), 600, false)
        },
        Flood {
            start: frame(HEADERS, 0, 1, &head("POST")),
            ..flood(
                "large CONTINUATION",
                |_| {
                    frame(
                        CONTINUATION,
                        0,
                        1,
                        &[b"\0\x01a\x7f\x21".as_slice(), &[b'a'; 160]].concat(),
                    )
                },
                2000,
                false,
            )
        },
    ]
}

#[tokio::test]
async fn floods_of_frames_end() {
    let server = Server::mcp("one").await;
    let router = Router::start(&[server.address], &[nobody().await], "").await;
    // What the first requests take is no flood's.
    post(router.address, &MODERN, WHOAMI).await;
    let before = router.peak_memory();
    let mut counted = 0_u32;
    for Flood { name, start, piece, most, counted: ours } in floods() {
        let mut client = Http2::open(router.address, &[]).await;
        client.send(&start).await;
        let good = async { post(router.address, &MODERN, WHOAMI).await.server() };
        let (ended, good) = tokio::join!(client.flood(MANY, piece), good);
        assert_eq!(good, "one", "{name}");
        // What is in the buffers of both sides was sent and never looked at.
        let size = u32::try_from(piece(0).len()).unwrap();
        let unread = 8 * 1024 * 1024 / size;
        let ended = ended.unwrap_or_else(|| panic!("{name} goes on for ever"));
        eprintln!("{name}: {ended}");
        assert!(ended < most + unread, "{name}: {ended}");
        counted += u32::from(ours);
    }
    let cut = router.metric("tidegate_client_connections_cut_total", &["reason=\"flood\""]).await;
    assert!(cut > f64::from(counted) - 0.5, "{cut} of {counted}");
    let grown = router.peak_memory() - before;
    assert!(grown < 16 * 1024, "{grown} KiB");
    assert_eq!(post(router.address, &MODERN, WHOAMI).await.server(), "one");
}

#[tokio::test]
async fn many_streams_and_their_answers_are_no_flood() {
    let server = Server::mcp("one").await;
    let router = Router::start(&[server.address], &[nobody().await], "").await;
    let mut client = Http2::open(router.address, &[]).await;
    let window = |stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 100]);
    for number in 0..1000 {
        client.post(stream(number), WHOAMI).await;
        assert!(client.answer(stream(number)).await.contains("one"));
        client.send([window(0), window(0), frame(PING, 0, 0, b"12345678")].concat()).await;
    }
    assert_eq!(server.seen().len(), 1000);
}
