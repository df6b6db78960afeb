//! Halves of exchanges, in every order.

use super::*;
use crate::mcp::outcome::{Facts, Wants};
use crate::mcp::{Call, Era, Kind, Method};
use crate::names::{Arm, Blame, Outcome};
use crate::route::tools::ToolLabel;

use http::StatusCode;

const SECOND: Duration = Duration::from_secs(1);

const OK: Content = Content::Result {
    is_error: false,
    input_required: false,
    task_failed: false,
    task_error_code: None,
};

const FAILED: Content = Content::Result {
    is_error: true,
    input_required: false,
    task_failed: false,
    task_error_code: None,
};

const ANSWERED: Verdict =
    Verdict { outcome: Outcome::Ok, blame: Blame::Nobody, reason: "answered" };

struct Bench {
    join: Join,
    start: Instant,
    tally: Tally,
}

impl Bench {
    fn new() -> Bench {
        Bench { join: Join::default(), start: Instant::now(), tally: Tally::default() }
    }

    fn call(&self, sent: u64, status: u16) -> Exchange {
        let method = Method::named(b"tools/call");
        Exchange {
            facts: Facts {
                call: Call { era: Era::Legacy, kind: Kind::Post, method, by_uri: false },
                wants: Wants::Answer,
                session_is_live: false,
                asks_other_arm_tool: false,
                has_cursor: false,
            },
            session: Some(session()),
            caller: None,
            arm: Some(Arm::Primary),
            endpoint: None,
            tool: ToolLabel::OTHER,
            status: StatusCode::from_u16(status).ok(),
            sent: self.start + SECOND * sent as u32,
            bytes: 0,
            line: None,
        }
    }

    /// Something that happens at this second.
    fn at(&mut self, second: u64, what: What) -> &mut Bench {
        let at = self.start + SECOND * second as u32;
        assert!(self.tally.cross(Crossing { at, what }).is_none());
        self
    }

    /// What is settled at this second: outcomes and latencies in seconds.
    fn settled(&mut self, second: u64) -> Vec<(Outcome, Option<u64>)> {
        let now = self.start + SECOND * second as u32;
        let settled = self.join.absorb(now, [&mut self.tally]);
        let mut all: Vec<_> = settled
            .exchanges
            .iter()
            .flat_map(|(labels, count)| {
                let latency = count.latency.quantile(0.5).map(|it| it.as_secs_f64().round() as u64);
                vec![(labels.outcome, latency); count.exchanges as usize]
            })
            .collect();
        all.sort_unstable();
        all
    }
}

fn session() -> SessionKey {
    SessionKey::of(b"session")
}

fn id(id: u64) -> CallKey {
    CallKey { session: session(), id }
}

#[test]
fn an_answer_on_the_stream_belongs_to_its_call() {
    let mut bench = Bench::new();
    let call = bench.call(1, 202);
    bench
        .at(0, What::StreamOpened(session(), Brings::Answers))
        .at(1, What::Awaits(id(1), Box::new(call), None));
    assert_eq!(bench.settled(2), []);
    assert_eq!(bench.join.pending(), 1);
    bench.at(9, What::Answer(id(2), OK)).at(11, What::Answer(id(1), FAILED));
    assert_eq!(bench.settled(12), [(Outcome::ToolError, None)]);
    assert_eq!(bench.join.pending(), 0);
}

#[test]
fn an_answer_may_overtake_its_call() {
    let mut bench = Bench::new();
    bench.at(0, What::StreamOpened(session(), Brings::Answers)).at(2, What::Answer(id(1), OK));
    assert_eq!(bench.settled(3), []);
    let call = bench.call(1, 202);
    bench.at(3, What::Awaits(id(1), Box::new(call), None));
    assert_eq!(bench.settled(4), [(Outcome::Ok, Some(1))]);
}

#[test]
fn a_session_that_ends_ends_its_calls() {
    for (how, outcome) in [
        (StreamEnd::ByClient, Outcome::Cancelled),
        (StreamEnd::Broken, Outcome::Transport),
        (StreamEnd::ByServer(None), Outcome::Transport),
    ] {
        let mut bench = Bench::new();
        let call = bench.call(1, 202);
        bench
            .at(0, What::StreamOpened(session(), Brings::Answers))
            .at(1, What::Awaits(id(1), Box::new(call), None))
            .at(5, What::StreamEnded(session(), Brings::Answers, how));
        assert_eq!(bench.settled(6), [(outcome, None)], "{how:?}");
    }
}

#[test]
fn the_end_of_a_session_may_overtake_its_calls() {
    for (how, outcome) in [
        (StreamEnd::ByClient, Outcome::Cancelled),
        (StreamEnd::Broken, Outcome::Transport),
        (StreamEnd::ByServer(None), Outcome::Transport),
    ] {
        let mut bench = Bench::new();
        bench
            .at(0, What::StreamOpened(session(), Brings::Answers))
            .at(5, What::StreamEnded(session(), Brings::Answers, how));
        assert_eq!(bench.settled(5), []);
        // Of a worker that was asked a moment before.
        let call = bench.call(3, 202);
        bench.at(4, What::Awaits(id(1), Box::new(call), None));
        assert_eq!(bench.settled(6), [(outcome, None)], "{how:?}");
        assert_eq!(bench.settled(9), []);
        assert!(bench.join.sessions.is_empty());
    }
}

#[test]
fn a_call_waits_for_its_stream_to_be_resumed() {
    let mut bench = Bench::new();
    let call = bench.call(1, 200);
    bench
        .at(2, What::Awaits(id(1), Box::new(call), Some(SECOND)))
        // News are no answers.
        .at(3, What::StreamOpened(session(), Brings::News))
        .at(4, What::StreamOpened(session(), Brings::Answers))
        .at(100, What::StreamEnded(session(), Brings::Answers, StreamEnd::ByServer(Some(SECOND))));
    assert_eq!(bench.settled(160), []);
    bench
        .at(160, What::StreamOpened(session(), Brings::Answers))
        .at(161, What::Answer(id(1), FAILED));
    assert_eq!(bench.settled(161), [(Outcome::ToolError, None)]);
}

#[test]
fn nobody_came_back_for_the_answer() {
    let mut bench = Bench::new();
    let call = bench.call(1, 200);
    bench
        .at(2, What::Awaits(id(1), Box::new(call), Some(SECOND)))
        .at(3, What::StreamOpened(session(), Brings::News));
    assert_eq!(bench.settled(62), []);
    assert_eq!(bench.settled(63), [(Outcome::Transport, None)]);
}

#[test]
fn a_call_that_was_given_up_may_end_in_silence() {
    let silence = End::Head { status: 200, heard: Heard::NoResponse, close: Close::Complete };
    let mut bench = Bench::new();
    let call = || Box::new(Bench::new().call(1, 200));
    // Its stream could be resumed; nobody will come.
    bench.at(2, What::Awaits(id(1), call(), Some(SECOND))).at(3, What::Cancel(id(1)));
    assert_eq!(bench.settled(3), [(Outcome::Cancelled, None)]);
    // The two workers are asked in either order.
    bench.at(5, What::Silent(id(2), call(), silence));
    assert_eq!(bench.settled(5), []);
    bench.at(4, What::Cancel(id(2)));
    assert_eq!(bench.settled(6), [(Outcome::Cancelled, None)]);
    // Nobody gave this one up.
    bench.at(7, What::Silent(id(3), call(), silence));
    assert_eq!(bench.settled(9), []);
    assert_eq!(bench.settled(10), [(Outcome::Transport, None)]);
}

#[test]
fn the_clock_stands_while_the_client_is_asked() {
    // On the stream of an HTTP+SSE session.
    let mut bench = Bench::new();
    let call = bench.call(10, 202);
    bench
        .at(0, What::StreamOpened(session(), Brings::Answers))
        .at(10, What::Awaits(id(1), Box::new(call), None))
        .at(12, What::Ask(id(7)))
        .at(42, What::Reply(id(7)))
        .at(45, What::Answer(id(1), OK));
    assert_eq!(bench.settled(45), [(Outcome::Ok, Some(5))]);

    // On the stream of the call itself, by another worker, which is asked later.
    let mut bench = Bench::new();
    let end = End::Head { status: 200, heard: answered(OK), close: Close::Complete };
    let asks = [(12, 7), (20, 8)].map(|(at, ask)| (id(ask), bench.start + SECOND * at));
    let call = bench.call(10, 200);
    bench.at(45, What::Asked(Box::new(call), end, asks.to_vec()));
    assert_eq!(bench.settled(45), []);
    bench.at(42, What::Reply(id(7))).at(43, What::Reply(id(8)));
    assert_eq!(bench.settled(46), [(Outcome::Ok, Some(4))]);

    // Nobody replied: it was asked to the end.
    let call = bench.call(10, 200);
    let asks = vec![(id(9), bench.start + SECOND * 12)];
    bench.at(100, What::Asked(Box::new(call), end, asks));
    assert_eq!(bench.settled(102), []);
    assert_eq!(bench.settled(103), [(Outcome::Ok, Some(2))]);
}

#[test]
fn the_clock_stood_while_the_client_was_asked_on_another_stream() {
    // On the call's own stream, which was closed after that; the reply is told first.
    let mut bench = Bench::new();
    bench.at(42, What::Reply(id(7)));
    assert_eq!(bench.settled(43), []);
    let call = bench.call(10, 200);
    bench
        .at(12, What::Ask(id(7)))
        .at(44, What::Awaits(id(1), Box::new(call), Some(SECOND)))
        .at(45, What::Answer(id(1), OK));
    assert_eq!(bench.settled(45), [(Outcome::Ok, Some(5))]);

    // On the session's stream for news, which TypeScript 2 takes for it.
    let mut bench = Bench::new();
    let call = bench.call(10, 200);
    bench
        .at(12, What::Ask(id(7)))
        .at(42, What::Reply(id(7)))
        .at(45, What::Answered(Box::new(call), ANSWERED));
    assert_eq!(bench.settled(45), [(Outcome::Ok, Some(5))]);

    // What was asked before the call came was not asked for it, if anybody ever replies.
    let mut bench = Bench::new();
    let call = bench.call(10, 200);
    bench
        .at(8, What::Ask(id(7)))
        .at(9, What::Ask(id(8)))
        .at(12, What::Reply(id(8)))
        .at(20, What::Answered(Box::new(call), ANSWERED));
    assert_eq!(bench.settled(20), [(Outcome::Ok, Some(10))]);
}

#[test]
fn a_session_may_ask_as_often_as_it_likes() {
    let mut bench = Bench::new();
    for number in 0..1000 {
        bench.at(number, What::Ask(id(number))).at(number, What::Reply(id(number)));
    }
    let end = End::Head { status: 200, heard: answered(OK), close: Close::Complete };
    let call = bench.call(1000, 200);
    bench
        .at(1001, What::Ask(id(2000)))
        .at(1003, What::Reply(id(2000)))
        .at(1010, What::Answered(Box::new(call), ANSWERED));
    assert_eq!(bench.settled(1010), [(Outcome::Ok, Some(8))]);
    let call = bench.call(1010, 200);
    let own = vec![(id(2001), bench.start + SECOND * 1014)];
    bench.at(1017, What::Reply(id(2001))).at(1020, What::Asked(Box::new(call), end, own));
    assert_eq!(bench.settled(1020), [(Outcome::Ok, Some(7))]);
}

#[test]
fn a_session_that_was_alive_must_not_be_unknown() {
    let end = End::Head { status: 404, heard: Heard::Nothing, close: Close::Complete };
    for (used, outcome) in [(10, Outcome::HttpError), (1000, Outcome::ClientError)] {
        let mut bench = Bench::new();
        bench.tally.use_session(session(), Arm::Primary, bench.start);
        let call = bench.call(used, 404);
        bench.at(used, What::Unknown(session(), Box::new(call), end));
        assert_eq!(bench.settled(used), [(outcome, None)]);
        // The next request in it comes as no surprise.
        let call = bench.call(used, 404);
        bench.at(used + 1, What::Unknown(session(), Box::new(call), end));
        assert_eq!(bench.settled(used + 1), [(Outcome::ClientError, None)]);
    }
}

#[test]
fn memory_is_bounded_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.at(0, What::StreamOpened(session(), Brings::Answers));
    for number in 0..1000 {
        let call = bench.call(0, 202);
        bench
            .at(1, What::Awaits(id(number), Box::new(call), None))
            .at(1, What::Answer(id(9999), OK));
    }
    let settled = bench.settled(1).len();
    assert_eq!(settled + bench.join.pending(), 1000);
    assert!(bench.join.pending() <= PER_SESSION_MAX);
    bench.at(2, What::StreamEnded(session(), Brings::Answers, StreamEnd::ByClient));
    assert_eq!(settled + bench.settled(2).len(), 1000);
    assert_eq!(bench.settled(20), []);
    assert!(bench.join.sessions.is_empty());
}

#[test]
fn a_session_that_has_ended_is_not_in_use_again() {
    // An HTTP+SSE session whose last answer came in the second in which its client left.
    let mut bench = Bench::new();
    let (one, other) = (bench.call(1, 202), bench.call(1, 202));
    bench.tally.use_session(session(), Arm::Primary, bench.start);
    bench
        .at(0, What::StreamOpened(session(), Brings::Answers))
        .at(1, What::Awaits(id(1), Box::new(one), None))
        .at(1, What::Awaits(id(2), Box::new(other), None))
        .at(2, What::Answer(id(1), OK))
        .at(3, What::StreamEnded(session(), Brings::Answers, StreamEnd::ByClient))
        .at(3, What::Closed(session()));
    assert_eq!(bench.settled(4), [(Outcome::Ok, Some(1)), (Outcome::Cancelled, None)]);
    assert_eq!(bench.join.sessions(), PerArm::default());
}

#[test]
fn a_call_in_which_its_client_was_asked_is_use_of_the_session() {
    let mut bench = Bench::new();
    let end = End::Head { status: 200, heard: answered(OK), close: Close::Complete };
    let (call, asks) = (bench.call(1, 200), vec![(id(7), bench.start)]);
    bench.at(2, What::Asked(Box::new(call), end, asks));
    bench.settled(2);
    assert_eq!(bench.join.sessions(), PerArm { primary: 1, secondary: 0 });
}

#[test]
fn no_server_makes_a_call_wait_for_ever() {
    // By the longest `retry` that is read.
    let mut bench = Bench::new();
    let (call, retry) = (bench.call(1, 200), Duration::from_millis(9_999_999_999_999_999));
    bench.at(2, What::Awaits(id(1), Box::new(call), Some(retry)));
    assert_eq!(bench.settled(3600), []);
    assert_eq!(bench.settled(3700), [(Outcome::Transport, None)]);

    // By a stream that was open before, which nobody resumes the call on.
    let mut bench = Bench::new();
    let call = bench.call(1, 200);
    bench
        .at(0, What::StreamOpened(session(), Brings::Answers))
        .at(2, What::Awaits(id(1), Box::new(call), Some(SECOND)));
    assert_eq!(bench.settled(62), []);
    assert_eq!(bench.settled(63), [(Outcome::Transport, None)]);
}

#[test]
fn an_old_session_still_tells_the_time() {
    let mut bench = Bench::new();
    bench.at(0, What::StreamOpened(session(), Brings::Answers));
    // Never replied to, before any call.
    bench.at(1, What::Ask(id(9999)));
    for ping in 0..1000 {
        bench.at(2 + ping, What::Ask(id(ping))).at(2 + ping, What::Reply(id(ping)));
    }
    let call = bench.call(2000, 202);
    bench
        .at(2000, What::Awaits(id(1), Box::new(call), None))
        .at(2002, What::Ask(id(7)))
        .at(2042, What::Reply(id(7)))
        .at(2045, What::Answer(id(1), OK));
    assert_eq!(bench.settled(2045), [(Outcome::Ok, Some(5))]);

    // The reply to an earlier request with the same id is not the reply to this one.
    let end = End::Head { status: 200, heard: answered(OK), close: Close::Complete };
    let (call, asks) = (bench.call(3010, 200), vec![(id(7), bench.start + SECOND * 3012)]);
    bench.at(3045, What::Asked(Box::new(call), end, asks));
    assert_eq!(bench.settled(3045), []);
    bench.at(3042, What::Reply(id(7)));
    assert_eq!(bench.settled(3046), [(Outcome::Ok, Some(5))]);
}

#[test]
fn sessions_that_are_done_make_room() {
    let mut bench = Bench::new();
    for number in 0..SESSIONS_MAX {
        let session = SessionKey::of(&number.to_be_bytes());
        bench.at(0, What::Reply(CallKey { session, id: 1 }));
    }
    assert_eq!(bench.settled(1), []);
    assert_eq!(bench.settled(100), []);
    let call = bench.call(101, 202);
    bench
        .at(101, What::StreamOpened(session(), Brings::Answers))
        .at(101, What::Awaits(id(1), Box::new(call), None))
        .at(103, What::Answer(id(1), OK));
    assert_eq!(bench.settled(104), [(Outcome::Ok, Some(2))]);
}

#[test]
fn the_end_of_a_stream_is_never_lost() {
    let mut bench = Bench::new();
    let call = bench.call(1, 202);
    bench
        .at(0, What::StreamOpened(session(), Brings::Answers))
        .at(1, What::Awaits(id(1), Box::new(call), None));
    let at = bench.start + SECOND;
    while bench.tally.cross(Crossing { at, what: What::Answer(id(2), OK) }).is_none() {}
    bench.at(2, What::StreamEnded(session(), Brings::Answers, StreamEnd::ByClient));
    assert_eq!(bench.settled(3), [(Outcome::Cancelled, None)]);
    assert_eq!(bench.join.pending(), 0);
}

#[test]
fn calls_that_wait_in_many_sessions_are_bounded_too() {
    assert!(WAITING_MAX * (size_of::<Exchange>() + size_of::<(u64, Waiting)>()) < 32 << 20);
    let mut bench = Bench::new();
    let mut settled = 0;
    for number in 0..500_u64 {
        let session = SessionKey::of(&number.to_be_bytes());
        bench.at(0, What::StreamOpened(session, Brings::Answers));
        for id in 0..250 {
            let call = bench.call(0, 202);
            bench.at(1, What::Awaits(CallKey { session, id }, Box::new(call), None));
        }
        settled += bench.settled(1).len();
    }
    assert_eq!((bench.join.pending(), settled), (WAITING_MAX, 25_000));
}

#[test]
fn pauses_may_overlap() {
    let start = Instant::now();
    let at = |second| start + SECOND * second;
    let pauses = vec![(at(5), at(8)), (at(2), at(4)), (at(3), at(6)), (at(20), at(30))];
    assert_eq!(without(at(1), at(25), pauses), SECOND * 13);
    assert_eq!(without(at(3), at(1), Vec::new()), Duration::ZERO);
}
