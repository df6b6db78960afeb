//! Streams of every kind, at every time of an end, on a clock that stands still.

use std::sync::Arc;

use tokio::time::advance;

use super::*;
use crate::names::Arm;
use crate::observe::session::SessionKey;
use crate::observe::tally::Tally;

const S: Duration = Duration::from_secs(1);

/// An end of 30 s, in which streams without a call end after 4 to 5 s.
fn begin(parting: &Parting) {
    let now = Instant::now();
    parting.begin(Times { from: now + 4 * S, by: now + 5 * S, over: now + 30 * S });
}

/// What is told of a stream at each of these seconds.
async fn course<const N: usize>(stay: &mut Stay, seconds: [u64; N]) -> [Option<Last>; N] {
    let (begun, mut told) = (Instant::now(), [None; N]);
    for (told, second) in told.iter_mut().zip(seconds) {
        advance(begun + Duration::from_secs(second) - Instant::now()).await;
        *told = stay.last();
    }
    told
}

#[tokio::test(start_paused = true)]
async fn each_kind_has_its_end() {
    let end = Some(Last::End);
    for (carries, id, want) in [
        (Carries::News, false, [None, end, end]),
        (Carries::Subscription, false, [None, Some(Last::Cut), Some(Last::Cut)]),
        (Carries::Answer, false, [None, None, None]),
        (Carries::Answer, true, [None, None, end]),
        // Nobody has said that it may.
        (Carries::Session(None), false, [None, None, end]),
    ] {
        let parting = Rc::default();
        let mut stay = Stay::new(&parting, carries);
        if id {
            stay.is_resumable();
        }
        assert_eq!(course(&mut stay, [60, 120]).await, [None, None], "there is no end");
        begin(&parting);
        assert_eq!(course(&mut stay, [3, 5, 30]).await, want, "{:?}", stay.carries);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nothing_is_awaited() {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let session = SessionKey::of(b"one");
    for (opened, waits, want) in
        [(true, true, None), (true, false, Some(Last::End)), (false, true, Some(Last::End))]
    {
        let parting = Rc::default();
        let stream = SessionStream::of_legacy(&tally, Arm::Primary);
        if opened {
            stream.open_session(session);
        }
        let mut stay = Stay::new(&parting, Carries::Session(Some(stream)));
        begin(&parting);
        parting.hear(Arc::new(waits.then_some(session).into_iter().collect()));
        assert_eq!(course(&mut stay, [3, 5]).await, [None, want]);
        parting.hear(Arc::default());
        assert_eq!(stay.last(), Some(Last::End));
    }
}

#[tokio::test(start_paused = true)]
async fn the_ends_are_spread_and_each_wakes_its_stream() {
    let parting = Rc::<Parting>::default();
    let start = Instant::now();
    let streams = (0..100).map(|_| {
        let mut stay = Stay::new(&parting, Carries::News);
        async move {
            std::future::poll_fn(|cx| match stay.last() {
                Some(_) => Poll::Ready(()),
                None => stay.poll(cx),
            })
            .await;
            assert_eq!(stay.last(), Some(Last::End));
            start.elapsed().as_millis() / 100
        }
    });
    let streams: Vec<_> = {
        let local = tokio::task::LocalSet::new();
        let all: Vec<_> = streams.map(|it| local.spawn_local(it)).collect();
        local
            .run_until(async {
                tokio::task::yield_now().await;
                begin(&parting);
                let mut ends = Vec::new();
                for one in all {
                    ends.push(one.await.unwrap());
                }
                ends
            })
            .await
    };
    let of = |tenth: u128| streams.iter().filter(|end| **end == tenth).count();
    assert!((40..=50).all(|tenth| of(tenth) < 40), "{streams:?}");
    assert!((40..50).filter(|tenth| of(*tenth) > 0).count() > 5, "{streams:?}");
    assert!(parting.asleep.borrow().is_empty());
}
