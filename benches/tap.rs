//! What it costs to look at an answer while it passes: the tap alone, over bodies in memory, beside
//! the same bodies untapped.
//!
//! `cargo bench --bench tap`; figures and what they mean are in `benches/README.md`.

#![expect(missing_docs, reason = "the macros of criterion make functions without")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hyper::body::Bytes;
use hyper::body::{Body, Frame};
use tidegate::mcp::classify::{Call, Kind};
use tidegate::mcp::{Era, Method};
use tidegate::observe::report::{Desk, Report};
use tidegate::observe::tally::Tally;
use tidegate::observe::tap::{Reading, Tap};
use tidegate::upstream::answer::AnswerFault;

/// Bytes of a piece, as they come from a socket.
const PIECE: usize = 16 * 1024;

/// A body in memory.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn of(bytes: &Bytes) -> Pieces {
        let piece = |at| bytes.slice(at..bytes.len().min(at + PIECE));
        Pieces((0..bytes.len()).step_by(PIECE).map(piece).collect())
    }
}

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

fn read(mut body: impl Body<Data = Bytes, Error = AnswerFault> + Unpin) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        let _ = black_box(frame);
    }
}

fn tap(desk: &Desk, bytes: &Bytes, reading: Reading) -> Tap<Pieces> {
    let call = Call {
        era: Era::Modern,
        kind: Kind::Post,
        method: Method::named(b"tools/call"),
        by_uri: false,
    };
    let report = Report::new(desk.clone(), call, Rc::default(), None);
    Tap::new(Pieces::of(bytes), report, reading, None, None)
}

/// A result of so many bytes: prose with some escapes, as tools give it.
fn result(bytes: usize) -> String {
    let text = r#"Tides are the rise and fall of sea levels.\nThey are \"caused\" by the Moon. "#;
    let text: String = text.chars().cycle().take(bytes.saturating_sub(120) / 77 * 77).collect();
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
    )
}

/// A stream of so many progress notifications of 130 bytes, and the response.
fn stream(events: usize) -> String {
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":50,"total":100}}"#;
    let event = format!("event: message\ndata: {notification}\n\n");
    event.repeat(events) + &format!("event: message\ndata: {}\n\n", result(200))
}

fn bodies(criterion: &mut Criterion) {
    let desk = Desk {
        tally: Rc::new(RefCell::new(Tally::default())),
        tools: Arc::default(),
        suspect_after: 3,
        eject_after: Some(10),
        access_log: false,
    };
    let json = [500, 20_000, 1_000_000]
        .map(|size| (format!("json/{size}"), Bytes::from(result(size)), Reading::Json, None));
    let streams = [1, 100, 10_000].map(|events| {
        (format!("sse/{events}"), Bytes::from(stream(events)), Reading::Stream, Some(events + 1))
    });
    let mut group = criterion.benchmark_group("tap");
    for (name, bytes, reading, events) in json.into_iter().chain(streams) {
        group.throughput(match events {
            Some(events) => Throughput::Elements(events as u64),
            None => Throughput::Bytes(bytes.len() as u64),
        });
        group.bench_function(BenchmarkId::new("tapped", &name), |bencher| {
            bencher.iter_batched(|| tap(&desk, &bytes, reading), read, BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("untapped", &name), |bencher| {
            bencher.iter_batched(|| Pieces::of(&bytes), read, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
